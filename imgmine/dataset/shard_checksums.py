"""Reading a shard whole, to see that its bytes are those its name tells of, and its members those that rows name."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

_NAME = re.compile(r"\d+-([0-9a-f]{32})\.tar")
_CHUNK = 1 << 20
_HEADER = 512


class Place(NamedTuple):
    """Where a row says that a file's bytes are in a shard; with `is_original`, they hash to its `blake2b`.

    A preview is named by the picture that it was made of: of one, the member's name is what is compared.
    """

    offset: int
    size: int
    blake2b: bytes
    is_original: bool


@dataclass(frozen=True, slots=True)
class ShardCheck:
    """Whether the bytes hash to the digest in the name, and the files whose rows name other bytes than theirs."""

    is_as_named: bool
    wrong: tuple[str, ...]


def digest_in(key: str) -> str | None:
    """Return the hexadecimal BLAKE2b-128 that a shard's key carries; None where it is no shard's key."""
    found = _NAME.fullmatch(key.rpartition("/")[2])
    return found.group(1) if found else None


def check_shard(
    path: Path, key: str, places: Sequence[Place], progress: Callable[[int], None] | None = None
) -> ShardCheck:
    """Read a local copy of the shard once, from its first byte to its last. `progress` is told bytes as they are read.

    A place that overlaps the one before it is wrong.
    """
    wrong: list[str] = []
    with path.open("rb") as stream:
        reader = _Reader(stream, progress)
        for place in sorted(places):
            if place.offset < reader.at + _HEADER:
                wrong.append(place.blake2b.hex())
                continue
            header = reader.pass_to(place.offset)
            found = reader.hash_of(place.size)
            if not _heads(header, place) or (place.is_original and found != place.blake2b):
                wrong.append(place.blake2b.hex())
        reader.pass_to(None)
    return ShardCheck(reader.digest() == digest_in(key), tuple(wrong))


def _heads(header: bytes, place: Place) -> bool:
    """Tell whether a member's header is one of a payload of the place's size and, of a preview, name."""
    try:
        size = int(header[124:135], 8)
    except ValueError:
        return False
    return size == place.size and (place.is_original or header.startswith(place.blake2b.hex().encode()))


class _Reader:
    def __init__(self, stream: BinaryIO, progress: Callable[[int], None] | None) -> None:
        self._stream = stream
        self._progress = progress
        self._hash = hashlib.blake2b(digest_size=16)
        self.at = 0

    def _read(self, most: int) -> bytes:
        data = self._stream.read(min(_CHUNK, most))
        self._hash.update(data)
        self.at += len(data)
        if self._progress is not None:
            self._progress(len(data))
        return data

    def pass_to(self, offset: int | None) -> bytes:
        """Read on to an offset, or to the end, and return the last 512 bytes before it."""
        tail = b""
        while offset is None or self.at < offset:
            data = self._read(_CHUNK if offset is None else offset - self.at)
            if not data:
                break
            tail = (tail + data)[-_HEADER:]
        return tail

    def hash_of(self, size: int) -> bytes:
        """Read on and return the BLAKE2b-256 of the next bytes; of fewer where the file ends."""
        found = hashlib.blake2b(digest_size=32)
        end = self.at + size
        while self.at < end and (data := self._read(end - self.at)):
            found.update(data)
        return found.digest()

    def digest(self) -> str:
        return self._hash.hexdigest()
