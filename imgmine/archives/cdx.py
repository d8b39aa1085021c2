"""A CDX index: what an item's derived index says of the records in its WARC files.

Which of them are wanted is `selection`'s.
"""

import base64
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from imgmine.errors import ImgmineError

_REVISIT = "warc/revisit"
_GZIP_MAGIC = b"\x1f\x8b"
_LONGEST_LINE = 1 << 20
_NUMBER = re.compile("[0-9]{1,18}")
# The whole of a SHA-1. One that was cut at its first zero byte is shorter, or padded.
_SHA1 = re.compile("[A-Z2-7]{32}")
# The letters of the header that are gone by; each is a column. Without a digest an index is as good.
_WANTED = {"b": "time", "a": "url", "m": "mime", "s": "status", "S": "length", "V": "offset", "g": "file"}
_COLUMNS = {**_WANTED, "k": "sha1"}


class IndexUnusable(ImgmineError):
    """A CDX cannot be read, or what it says is not so."""


class CdxEntry(NamedTuple):
    """One record: `offset` and `length` in bytes of the compressed file, `captured_at` in UTC.

    `status` and `captured_at` are None where the index has none that can be read; `sha1`, of the payload, where there
    is no whole one. It is what the crawler said, and not always true. `known_as` is the BLAKE2b of the file that the
    entry need not be fetched for, which no index says.
    """

    offset: int
    length: int
    url: str
    captured_at: datetime | None
    mime: str
    status: int | None
    sha1: bytes | None = None
    known_as: bytes | None = None

    @property
    def is_revisit(self) -> bool:
        """Whether it is a revisit record, of which the index says nothing else."""
        return self.mime == _REVISIT


def read_cdx(data: bytes) -> Mapping[str, list[CdxEntry]]:
    """Return the entries of each WARC file, by offset. `data` is the index, gzip or not. Raises `IndexUnusable`.

    Lines of the same place, URL, time and type are one entry: an index may list its lines twice.
    """
    entries: dict[str, dict[tuple[object, ...], CdxEntry]] = {}
    lines = _lines(data)
    header = next(lines, "").split()
    if header[:1] != ["CDX"] or not _WANTED.keys() <= set(header[1:]):
        raise IndexUnusable(
            f"This is no CDX with the columns {' '.join(_WANTED)}: its header is {' '.join(header)[:200]!r}."
        )
    columns = {_COLUMNS[letter]: number for number, letter in enumerate(header[1:]) if letter in _COLUMNS}
    for line in lines:
        fields = line.split(" ")
        if len(fields) != len(header) - 1 or not _NUMBER.fullmatch(fields[columns["offset"]]):
            raise IndexUnusable(f"A line of the CDX is not as its header says: {line[:200]!r}")
        length, status = fields[columns["length"]], fields[columns["status"]]
        if not _NUMBER.fullmatch(length):
            raise IndexUnusable(f"A line of the CDX does not say how long the record is: {line[:200]!r}")
        sha1 = fields[columns["sha1"]] if "sha1" in columns else ""
        entry = CdxEntry(
            int(fields[columns["offset"]]),
            int(length),
            fields[columns["url"]],
            _time(fields[columns["time"]]),
            fields[columns["mime"]],
            int(status) if _NUMBER.fullmatch(status) else None,
            base64.b32decode(sha1) if _SHA1.fullmatch(sha1) else None,
        )
        of_file = entries.setdefault(fields[columns["file"]], {})
        record = entry[:5]
        of_file[record] = _agreed(of_file[record], entry) if record in of_file else entry
    return {name: sorted(found.values(), key=lambda entry: entry[:2]) for name, found in entries.items()}


def _agreed(one: CdxEntry, other: CdxEntry) -> CdxEntry:
    """Return what two lines of one record say. Where they differ nothing is known, so that nothing is left out."""
    return one._replace(
        status=one.status if one.status == other.status else None,
        sha1=one.sha1 if one.sha1 == other.sha1 else None,
    )


def _lines(data: bytes) -> Iterator[str]:
    raw = io.BytesIO(data)
    try:
        with gzip.open(raw) if data.startswith(_GZIP_MAGIC) else raw as stream:
            while line := stream.readline(_LONGEST_LINE):
                if len(line) == _LONGEST_LINE:
                    raise IndexUnusable(f"A line of the CDX is longer than {_LONGEST_LINE} bytes: {line[:200]!r}")
                yield line.decode("utf-8", "replace").rstrip("\r\n")
    except (EOFError, OSError, zlib.error) as error:
        raise IndexUnusable(f"The CDX does not decompress: {error}") from error


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
