"""WARC/1.1 records as wget-at wrote them, and the `.megawarc.warc.zst` file around them.

What is in the records is not decided here.
"""

import base64
import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import BinaryIO

import zstandard

LEVEL = 9
_DICTIONARY_FRAME = 0x184D2A5D
_SKIPPABLE_FRAME = 0x184D2A50


class DictionaryKind(StrEnum):
    """How a file carries its dictionary: compressed in the leading frame, raw in it, or not at all."""

    COMPRESSED = "compressed"
    RAW = "raw"
    NONE = "none"


class Layout(StrEnum):
    """How the frames of a record lie in the file."""

    ONE_FRAME = "one_frame"
    SEVERAL_FRAMES = "several_frames"
    AFTER_EMPTY_FRAME = "after_empty_frame"
    AFTER_SKIPPABLE_FRAME = "after_skippable_frame"


@dataclass(frozen=True, slots=True)
class Span:
    """Where a record lies in the compressed file: `offset` of its first frame, `length` of all its frames."""

    offset: int
    length: int


def sha1_base32(data: bytes) -> str:
    """Return SHA-1 as WARC headers and CDX lines write it."""
    return base64.b32encode(hashlib.sha1(data).digest()).decode()


def sha1_base32_cut(data: bytes) -> str:
    """Return SHA-1 as a faulty crawler wrote it: cut at its first zero byte."""
    return base64.b32encode(hashlib.sha1(data).digest().split(b"\x00")[0]).decode()


def new_record_id(rng: Random) -> str:
    """Return an identifier of the form urn:uuid:…, without angle brackets."""
    digits = f"{rng.getrandbits(128):032x}"
    variant = f"{(int(digits[16], 16) & 3) | 8:x}"
    return f"urn:uuid:{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def record_bytes(headers: Sequence[tuple[str, str]], block: bytes) -> bytes:
    """Return one record: version, `headers` in their order, Content-Length, block, and the two empty lines after it."""
    lines = ["WARC/1.1", *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(block)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


def train_dictionary(samples: Iterable[bytes], dictionary_id: int) -> bytes:
    """Return a zstd dictionary of 16 KiB with the id `dictionary_id`, trained on heads and pages."""
    trained = zstandard.train_dictionary(16_384, list(samples), k=256, d=8, dict_id=dictionary_id)
    return trained.as_bytes()


class MegawarcWriter:
    """Writes one `.megawarc.warc.zst`: the dictionary's frame, then one frame for each record.

    Args:
        path: where the file goes; it must not exist.
        dictionary: bytes of a trained dictionary; ignored with `DictionaryKind.NONE`.
        kind: how the dictionary is carried.
        rng: for the content of skippable frames and the places where records are split.
    """

    def __init__(self, path: Path, dictionary: bytes, kind: DictionaryKind, rng: Random) -> None:
        self._file: BinaryIO = path.open("xb")
        self._rng = rng
        self._offset = 0
        carried = None if kind is DictionaryKind.NONE else zstandard.ZstdCompressionDict(dictionary)
        self._compressor = zstandard.ZstdCompressor(
            level=LEVEL, dict_data=carried, write_checksum=True, write_content_size=False, write_dict_id=True
        )
        if kind is DictionaryKind.COMPRESSED:
            packed = zstandard.ZstdCompressor(level=19, write_checksum=True).compress(dictionary)
            self._put(struct.pack("<II", _DICTIONARY_FRAME, len(packed)) + packed)
        elif kind is DictionaryKind.RAW:
            self._put(struct.pack("<II", _DICTIONARY_FRAME, len(dictionary)) + dictionary)

    @property
    def offset(self) -> int:
        """Bytes written so far: where the next frame begins."""
        return self._offset

    def write(self, record: bytes, layout: Layout = Layout.ONE_FRAME) -> Span:
        """Write one record and return where it lies."""
        if layout is Layout.AFTER_EMPTY_FRAME:
            self._put(self._compressor.compress(b""))
        elif layout is Layout.AFTER_SKIPPABLE_FRAME:
            filler = self._rng.randbytes(self._rng.randrange(1, 300))
            self._put(struct.pack("<II", _SKIPPABLE_FRAME + self._rng.randrange(13), len(filler)) + filler)
        start = self._offset
        if layout is Layout.SEVERAL_FRAMES:
            # The first cut falls inside the WARC head: a reader must not take a frame for a record.
            cuts = [0, self._rng.randrange(20, 200), *sorted(self._rng.sample(range(400, len(record)), 2)), len(record)]
            for left, right in pairwise(cuts):
                self._put(self._compressor.compress(record[left:right]))
        else:
            self._put(self._compressor.compress(record))
        return Span(start, self._offset - start)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._offset += len(data)
