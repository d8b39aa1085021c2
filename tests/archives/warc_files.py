"""WARC files of any shape for tests, with a list of what was written where: written by the book, not by our code."""

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from random import Random
from typing import NamedTuple

import zstandard

from imgmine.archives.pieces import Damage
from imgmine.archives.records import WarcRecord
from imgmine.archives.warc import read_warc

EVERY_TYPE = frozenset({"warcinfo", "request", "response", "revisit", "metadata", "resource", "conversion"})
DICTIONARY_ID = 1_700_000_001


class Kind(StrEnum):
    """How a file is compressed."""

    DICTIONARY = "dictionary, compressed"
    RAW_DICTIONARY = "dictionary, as it is"
    CONTENT_DICTIONARY = "dictionary of mere content"
    ZSTD = "zstd"
    GZIP = "gzip"
    PLAIN = "plain"

    @property
    def is_zstd(self) -> bool:
        return self not in (Kind.GZIP, Kind.PLAIN)


class Record(NamedTuple):
    """A record to be written."""

    record_type: str
    record_id: str
    block: bytes
    url: str | None = None
    more: tuple[str, ...] = ()
    declared: int | None = None

    def __repr__(self) -> str:
        return f"<{self.record_type} {self.record_id}: {len(self.block)} bytes, {self.block[:20]!r}>"

    def stored(self) -> bytes:
        lines = ["WARC/1.1", f"WARC-Type: {self.record_type}", f"WARC-Record-ID: <{self.record_id}>"]
        if self.url is not None:
            lines.append(f"WARC-Target-URI: {self.url}")
        lines += ["WARC-Date: 2023-05-03T12:34:56Z", *self.more]
        lines.append(f"Content-Length: {len(self.block) if self.declared is None else self.declared}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.block + b"\r\n\r\n"


class Written(NamedTuple):
    """A record as it was written, and where."""

    offset: int
    length: int
    record_type: str
    record_id: str
    url: str | None
    block: bytes

    def __repr__(self) -> str:
        return f"<{self.record_type} {self.record_id} at {self.offset}+{self.length}: {len(self.block)} bytes>"


def samples() -> Iterator[bytes]:
    rng = Random(7)
    for number in range(400):
        yield example(number, rng.randbytes(rng.randrange(100))).stored()


def example(number: int, body: bytes = b"some bytes", record_type: str = "response") -> Record:
    """Return a response with these bytes as its body, or a record of another type with the same block."""
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\nServer: cat factory 1.0\r\n\r\n"
    )
    url = f"https://i.imgur.com/x{number:06d}.jpg"
    return Record(record_type, f"urn:uuid:00000000-0000-4000-8000-{number:012x}", head.encode() + body, url)


DICTIONARY = zstandard.train_dictionary(2048, list(samples()), dict_id=DICTIONARY_ID)
CONTENT_DICTIONARY = b"".join(samples())[:2000]


@dataclass
class WarcFile:
    """A file that grows record by record.

    Attributes:
        written: every record, in order.
        others: offset and length of what is no record and no damage: dictionary, skippable and empty frames.
    """

    kind: Kind
    checksum: bool = True
    content_size: bool = False
    written: list[Written] = field(default_factory=list)
    others: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._out = bytearray()
        prepared = {
            Kind.DICTIONARY: DICTIONARY,
            Kind.RAW_DICTIONARY: DICTIONARY,
            Kind.CONTENT_DICTIONARY: zstandard.ZstdCompressionDict(CONTENT_DICTIONARY),
        }.get(self.kind)
        self._compressor = zstandard.ZstdCompressor(
            3, dict_data=prepared, write_checksum=self.checksum, write_content_size=self.content_size
        )
        if prepared is not None:
            stored = prepared.as_bytes()
            if self.kind is Kind.DICTIONARY:
                stored = zstandard.ZstdCompressor(9, write_checksum=True).compress(stored)
            self.add_skippable(stored)

    @property
    def data(self) -> bytes:
        return bytes(self._out)

    def frame(self, content: bytes, flush_at: Iterable[int] = ()) -> bytes:
        """Compress as one frame or member; blocks are ended at `flush_at`."""
        if self.kind is Kind.PLAIN:
            return content
        if self.kind is Kind.GZIP:
            return gzip.compress(content, mtime=0)
        compressor = self._compressor.compressobj(size=len(content) if self.content_size else -1)
        stored, begin = b"", 0
        for end in sorted(flush_at):
            stored += compressor.compress(content[begin:end])
            stored += compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
            begin = end
        return stored + compressor.compress(content[begin:]) + compressor.flush()

    def add(self, *records: Record, cuts: Iterable[int] = (), flush_at: Iterable[int] = ()) -> None:
        """Write records, in one frame together, or (cut at these places) in several."""
        content = b"".join(record.stored() for record in records)
        edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(content)}), len(content)]
        starts, ends = [], []
        for begin, end in pairwise(edges):
            starts.append(len(self._out))
            self._out += self.frame(content[begin:end], [at - begin for at in flush_at if begin < at < end])
            ends.append(len(self._out))
        at = 0
        for record in records:
            length = len(record.stored())
            if self.kind is Kind.PLAIN:
                first, last = starts[0] + at, starts[0] + at + length
            else:
                first = max(start for edge, start in zip(edges, starts, strict=False) if edge <= at)
                last = min(end for edge, end in zip(edges[1:], ends, strict=False) if edge >= at + length)
            written = Written(first, last - first, record.record_type, record.record_id, record.url, record.block)
            self.written.append(written)
            at += length

    def add_skippable(self, content: bytes, nibble: int = 0xD) -> None:
        self._add_other(bytes((0x50 | nibble,)) + b"\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content)

    def add_empty(self) -> None:
        self._add_other(self.frame(b""))

    def add_raw(self, data: bytes) -> tuple[int, int]:
        """Write bytes of any kind; returns their offset and length."""
        self._out += data
        return len(self._out) - len(data), len(data)

    def _add_other(self, data: bytes) -> None:
        self.others.append(self.add_raw(data))


class Trickle(io.RawIOBase):
    """A stream that cannot seek and gives as much as it likes, as a socket does."""

    def __init__(self, data: bytes, seed: int = 0) -> None:
        self._data = data
        self._at = 0
        self._random = Random(seed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        size = min(len(buffer), len(self._data) - self._at, self._random.choice((1, 7, 100, 5000, 1 << 20)))
        buffer[:size] = self._data[self._at : self._at + size]
        self._at += size
        return size


class OnlyReads:
    """A stream that has nothing but `read`."""

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


def read(data: bytes, **options) -> list[WarcRecord | Damage]:  # type: ignore[no-untyped-def]
    """Read a file with records of every type, unless told otherwise."""
    return list(read_warc(io.BytesIO(data), **{"wanted": EVERY_TYPE, **options}))


def records_of(found: Iterable[WarcRecord | Damage]) -> list[Written]:
    """Return the records among what was read, to compare with what was written."""
    return [
        Written(item.offset, item.length, item.record_type, item.record_id, item.url, bytes(item.block))
        for item in found
        if isinstance(item, WarcRecord)
    ]


def damages_of(found: Iterable[WarcRecord | Damage]) -> list[Damage]:
    return [item for item in found if isinstance(item, Damage)]


def uncovered(size: int, found: Iterable[WarcRecord | Damage], others: Iterable[tuple[int, int]]) -> list[int]:
    """Return the bytes of a file that belong neither to a record nor to damage nor to `others`."""
    covered = bytearray(size)
    for offset, length in [*((item.offset, item.length) for item in found), *others]:
        covered[offset : offset + length] = b"\1" * len(covered[offset : offset + length])
    return [at for at, mark in enumerate(covered) if not mark]


def gzip_members(data: bytes) -> Iterator[tuple[int, int]]:
    """Return offset and length of each member, found the slow way."""
    at = 0
    while at < len(data):
        inflate = zlib.decompressobj(31)
        inflate.decompress(data[at:])
        end = len(data) - len(inflate.unused_data)
        yield at, end - at
        at = end
