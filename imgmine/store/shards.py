"""Tar shards in WebDataset's layout: writing them to local files with known offsets.

A shard's name carries the digest of its content, so it is known only once the shard is closed; until then a member
is known by the shard's number. Publishing is not done here.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from imgmine.errors import ImgmineError

_BLOCK = 512
_NUL_BLOCK = b"\0" * _BLOCK
_CHUNK = 1 << 20

SHARD_BYTES = 1 << 30
"""What a shard may grow to, unless it is said otherwise."""

END_BYTES = 2 * _BLOCK
"""What a shard has after its last member."""


class ShardDamaged(ImgmineError):
    """A shard does not hold what was written into it."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A finished shard: its key in the store, and the local file that holds its bytes."""

    key: str
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Member:
    """Where a payload went: the shard's number, and the offset of the payload's first byte in it."""

    shard: int
    offset: int


def tar_header(name: str, size: int) -> bytes:
    """Return the 512-byte ustar header (POSIX.1-1988) of a regular file without owner or time.

    `name` is ASCII, without NUL, and of 1 to 100 bytes; `size` is under 8 GiB: ustar's limits. Raises `ValueError`.
    """
    encoded = name.encode("ascii")
    if not 1 <= len(encoded) <= 100 or b"\0" in encoded or not 0 <= size < 8 << 30:
        raise ValueError(f"does not fit a ustar header: {name!r}, {size} bytes")
    fields = (
        encoded.ljust(100, b"\0")
        + b"0000644\0" + b"0000000\0" + b"0000000\0"
        + b"%011o\0" % size
        + b"00000000000\0"
        + b" " * 8
        + b"0"
        + b"\0" * 100
        + b"ustar\x0000"
        + b"\0" * 64
        + b"0000000\0" + b"0000000\0"
    ).ljust(_BLOCK, b"\0")  # fmt: skip
    checksum = b"%06o\0 " % sum(fields)
    return fields[:148] + checksum + fields[156:]


def member_size(size: int) -> int:
    """Return how many bytes a payload of this size takes in a shard: its header, itself, and what fills its block."""
    return _BLOCK + -(-size // _BLOCK) * _BLOCK


class ShardWriter:
    """Writes payloads, in the order given, into `<folder>/<number>.tar`; a new shard begins before `limit` is passed.

    The same payloads in the same order give the same shards, byte for byte; a payload that passes the limit by itself
    has a shard of its own. Shards are numbered from `first` on. Use as a context manager: `shards` is complete once it
    has been left. After an error the open shard holds a part of a payload: leave the writer, and begin again.
    """

    def __init__(self, folder: Path, prefix: str, limit: int = SHARD_BYTES, first: int = 0) -> None:
        self._folder = folder
        self._prefix = prefix
        self._limit = limit
        self._first = first
        self._stream: BinaryIO | None = None
        self._hash = hashlib.blake2b(digest_size=16)
        self._offset = 0
        self.shards: list[Shard] = []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, payload: bytes | memoryview) -> Member:
        """Append one payload and return where it is."""
        member = self._begin(name, len(payload))
        self._write(payload)
        self._pad(len(payload))
        return member

    def add_from(self, name: str, source: BinaryIO, size: int) -> Member:
        """Append the next `size` bytes of a stream and return where they are. Raises `EOFError` where it ends early."""
        member = self._begin(name, size)
        left = size
        while left:
            chunk = source.read(min(_CHUNK, left))
            if not chunk:
                raise EOFError(f"{name}: the source ended {left} bytes early")
            self._write(chunk)
            left -= len(chunk)
        self._pad(size)
        return member

    def _begin(self, name: str, size: int) -> Member:
        header = tar_header(name, size)
        if self._stream is not None and self._offset + member_size(size) + END_BYTES > self._limit:
            self._close_shard()
        if self._stream is None:
            self._stream = self._path.open("wb")
            self._hash = hashlib.blake2b(digest_size=16)
            self._offset = 0
        self._write(header)
        return Member(self._number, self._offset)

    @property
    def _number(self) -> int:
        return self._first + len(self.shards)

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._number:05d}.tar"

    def _write(self, data: bytes | memoryview) -> None:
        assert self._stream is not None
        self._stream.write(data)
        self._hash.update(data)
        self._offset += len(data)

    def _pad(self, size: int) -> None:
        self._write(_NUL_BLOCK[: -size % _BLOCK])

    def _close_shard(self) -> None:
        if self._stream is None:
            return
        self._write(bytes(END_BYTES))
        self._stream.close()
        self._stream = None
        key = f"{self._prefix}/{self._number:05d}-{self._hash.hexdigest()}.tar"
        self.shards.append(Shard(key, self._path, self._offset))

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._close_shard()
        elif self._stream is not None:
            self._stream.close()


def shard_members(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset of the first byte, and size of every member of a local shard that a `ShardWriter` wrote.

    Raises `ShardDamaged` where a header is not as it was written, or the end is missing.
    """
    with path.open("rb") as stream:
        while (header := stream.read(_BLOCK)) != _NUL_BLOCK:
            name, size = _member(header, path, stream.tell() - len(header))
            yield name, stream.tell(), size
            stream.seek(-(-size // _BLOCK) * _BLOCK, 1)


def _member(header: bytes, path: Path, offset: int) -> tuple[str, int]:
    try:
        name = header[:100].rstrip(b"\0").decode("ascii")
        size = int(header[124:135], 8)
        as_written = tar_header(name, size) == header
    except ValueError:
        as_written = False
    if not as_written:
        raise ShardDamaged(f"{path}: no member's header at byte {offset}: the shard is cut short or was altered.")
    return name, size
