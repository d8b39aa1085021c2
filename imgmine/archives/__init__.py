"""What an archive is made of: the item on the Internet Archive, its WARC files and records, and a source's rules."""
