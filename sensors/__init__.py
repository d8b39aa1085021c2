"""What starts runs by itself: new archives on the Internet Archive, statistics by the clock, the daily look at failures."""
