"""The CDX reader: raises nothing but its own error, sorts what it reads, and has no record twice."""

import gzip

from fuzz.target import Target, promise
from imgmine.archives.cdx import IndexUnusable, read_cdx

_HEADER = b" CDX N b a m s k r M S V g\n"
_LINE = b"com,imgur,i)/a.jpg 20230503120000 https://i.imgur.com/a.jpg image/jpeg 200 ABC - - 1234 5678 x.warc.zst\n"
_REVISIT = b"com,imgur,i)/b 20230503 https://i.imgur.com/b warc/revisit - ABC - - 55 60 x.warc.zst\n"


def _seeds() -> list[bytes]:
    index = _HEADER + _LINE + _REVISIT
    long_numbers = _HEADER + _LINE.replace(b"5678", b"9" * 5000) + _LINE.replace(b" 200 ", b" %s " % (b"9" * 5000))
    stored = gzip.compress(index, mtime=0)
    return [index, long_numbers, _HEADER, stored, stored[:-9], b" CDX a b m s S V g\n"]


def _check(data: bytes) -> None:
    try:
        files = read_cdx(data)
    except IndexUnusable:
        return
    for name, entries in files.items():
        promise(" " not in name and bool(entries), "a file has a name and entries")
        offsets = [entry.offset for entry in entries]
        promise(offsets == sorted(offsets) and offsets[0] >= 0, "entries are sorted by offset")
        promise(len({entry[:5] for entry in entries}) == len(entries), "no record is there twice")
        for entry in entries:
            promise(entry.length >= 0 and isinstance(entry.is_revisit, bool), "no length is negative")
            promise(entry.captured_at is None or entry.captured_at.utcoffset() is not None, "times are UTC")


TARGET = Target(
    "cdx",
    _seeds,
    _check,
    tokens=(
        _HEADER,
        _LINE,
        b" ",
        b"\n",
        b"9" * 40,
        "\u0663".encode(),
        b"20230503120000",
        b"\x1f\x8b\x08\0",
    ),
    longest=8192,
)
