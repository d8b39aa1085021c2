"""The hashes that lists of files from outside use. How files are named here (BLAKE2b) is not this module's."""

import hashlib
from collections.abc import Collection, Mapping
from typing import BinaryIO, NamedTuple

_CHUNK = 1 << 20
_NONE: Mapping[str, bytes] = {}


class ListHashes(NamedTuple):
    """A file's MD5, SHA-1 and SHA-256 as bytes; the fields are columns of `files`."""

    md5: bytes
    sha1: bytes
    sha256: bytes


def hash_for_lists(source: BinaryIO, size: int, known: Mapping[str, bytes] = _NONE) -> ListHashes:
    """Return the hashes of the next `size` bytes of a stream; those `known` are not made again.

    hashlib gives up the GIL for chunks of this size, so that a thread of its own costs the others nothing but a core.
    Raises `EOFError` where the stream ends early.
    """
    making = {name: hashlib.new(name, usedforsecurity=False) for name in ListHashes._fields if name not in known}
    left = size if making else 0
    while left:
        chunk = source.read(min(_CHUNK, left))
        if not chunk:
            raise EOFError(f"the source ended {left} bytes early")
        for each in making.values():
            each.update(chunk)
        left -= len(chunk)
    return ListHashes(**{**known, **{name: made.digest() for name, made in making.items()}})


def some_hashes(payload: bytes | memoryview, names: Collection[str]) -> dict[str, bytes]:
    """Return those of a payload's hashes that are named, of the fields of `ListHashes`."""
    return {
        name: hashlib.new(name, payload, usedforsecurity=False).digest() for name in ListHashes._fields if name in names
    }
