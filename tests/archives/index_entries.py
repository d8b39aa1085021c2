"""Entries of an index, and URLs of an original, of a copy of it and of its page."""

from imgmine.archives.cdx import CdxEntry

ORIGINAL, COPY, PAGE = "https://i.imgur.com/abcde.png", "https://i.imgur.com/abcdeb.png", "https://imgur.com/abcde"


def entry(offset, length, url=ORIGINAL, mime="image/png", status=200):
    return CdxEntry(offset, length, url, None, mime, status)
