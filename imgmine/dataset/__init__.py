"""Across archives: who owns each file, what was counted, and the whole story of one picture.

Everything here reads the published tables where they lie; nothing here reads a WARC, a shard or a pixel.
"""
