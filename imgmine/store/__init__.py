"""Where tables, shards and previews live: one layout, on a local folder or on S3.

`base` says what a store can do, `local` and `s3` do it, `tables` and `shards` are the two formats in it, and
`publish` puts an archive's outputs there so that they appear whole or not at all.
"""
