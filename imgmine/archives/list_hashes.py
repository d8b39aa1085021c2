"""The hashes that lists of files from outside use. How files are named here (BLAKE2b) is not this module's."""

import hashlib
from typing import BinaryIO, NamedTuple

_CHUNK = 1 << 20


class ListHashes(NamedTuple):
    """A file's MD5, SHA-1 and SHA-256 as bytes; the fields are columns of `files`."""

    md5: bytes
    sha1: bytes
    sha256: bytes


def hash_for_lists(source: BinaryIO, size: int) -> ListHashes:
    """Return the hashes of the next `size` bytes of a stream. Raises `EOFError` where it ends early.

    hashlib gives up the GIL for chunks of this size, so that a thread of its own costs the others nothing but a core.
    """
    md5 = hashlib.md5(usedforsecurity=False)
    sha1 = hashlib.sha1(usedforsecurity=False)
    sha256 = hashlib.sha256(usedforsecurity=False)
    left = size
    while left:
        chunk = source.read(min(_CHUNK, left))
        if not chunk:
            raise EOFError(f"the source ended {left} bytes early")
        for each in (md5, sha1, sha256):
            each.update(chunk)
        left -= len(chunk)
    return ListHashes(md5.digest(), sha1.digest(), sha256.digest())
