"""Hashes of files that are never to be kept, by the kind of hash: millions of them, and what is among them.

How they are read from files is `hash_lists`' business; what is done with a file that is among them, the caller's.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt


class HashKind(StrEnum):
    """A hash that lists use. Of several that know a file, the first of these is named."""

    BLAKE2B = "blake2b"
    """BLAKE2b-256, by which files are named here."""
    SHA256 = "sha256"
    SHA1 = "sha1"
    MD5 = "md5"
    PDQ = "pdq"
    """Perceptual: of pictures, and what is near counts too."""

    @property
    def size(self) -> int:
        """Bytes of such a hash."""
        return {HashKind.MD5: 16, HashKind.SHA1: 20}.get(self, 32)


# Those of the bytes of a file.
BYTE_KINDS = tuple(kind for kind in HashKind if kind is not HashKind.PDQ)

Digests = npt.NDArray[Any]


class Blocklist:
    """Hashes by kind, each kind a sorted array: as many bytes of memory as the hashes have."""

    def __init__(self, digests: Mapping[HashKind, Digests] | None = None) -> None:
        """Take arrays of `packed` digests, in any order, with repeats."""
        found = {kind: _sorted(digests[kind]) for kind in HashKind if digests is not None and kind in digests}
        self._digests = {kind: array for kind, array in found.items() if len(array)}

    @classmethod
    def of(cls, hashes: Iterable[tuple[HashKind, bytes]]) -> "Blocklist":
        """Return a list of these hashes. Raises `ValueError` where one has not the size of its kind."""
        parts: dict[HashKind, list[bytes]] = {}
        for kind, digest in hashes:
            parts.setdefault(kind, []).append(digest)
        return cls({kind: packed(kind, digests) for kind, digests in parts.items()})

    def __len__(self) -> int:
        return sum(map(len, self._digests.values()))

    def __or__(self, other: "Blocklist") -> "Blocklist":
        if not other or not self:
            return other or self
        both = {
            kind: [part for part in (self._digests.get(kind), other._digests.get(kind)) if part is not None]
            for kind in HashKind
        }
        return Blocklist({kind: np.concatenate(parts) for kind, parts in both.items() if parts})

    @property
    def counts(self) -> Mapping[HashKind, int]:
        """How many hashes there are of each kind that there is."""
        return {kind: len(array) for kind, array in self._digests.items()}

    @property
    def byte_kinds(self) -> tuple[HashKind, ...]:
        """The kinds of hashes of bytes that there are."""
        return tuple(kind for kind in BYTE_KINDS if kind in self._digests)

    @property
    def pdq(self) -> npt.NDArray[np.uint8]:
        """The PDQ hashes, sorted: n × 32."""
        array = self._digests.get(HashKind.PDQ)
        return np.empty((0, 32), np.uint8) if array is None else array.view(np.uint8).reshape(-1, 32)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the hashes take."""
        return sum(array.nbytes for array in self._digests.values())

    @property
    def digest(self) -> str:
        """One digest of all hashes, hexadecimal: the same for the same hashes, however they came."""
        whole = hashlib.blake2b(digest_size=16)
        for kind, array in self._digests.items():
            whole.update(f"{kind} {len(array)}\n".encode())
            whole.update(array.view(np.uint8).data)
        return whole.hexdigest()

    def names(self) -> Iterator[str]:
        """Yield each hash as text, `sha1:` and hexadecimal digits."""
        for kind, array in self._digests.items():
            yield from (named(kind, each.tobytes()) for each in array.view(np.uint8).reshape(-1, kind.size))

    def has(self, kind: HashKind, digest: bytes) -> bool:
        """Tell whether a hash is on the list, bit for bit."""
        array = self._digests.get(kind)
        return array is not None and bool(_among(array, packed(kind, [digest]))[0])

    def mask(self, kind: HashKind, digests: Digests) -> npt.NDArray[np.bool_]:
        """Tell of many hashes, `packed`, which are on the list."""
        array = self._digests.get(kind)
        return np.zeros(len(digests), np.bool_) if array is None else _among(array, digests)

    def find(self, hashes: Mapping[str, bytes]) -> str | None:
        """Return by which hash a file is on the list, as `sha1:` and hexadecimal digits; None where it is not."""
        for kind in self.byte_kinds:
            if (digest := hashes.get(kind)) is not None and self.has(kind, digest):
                return named(kind, digest)
        return None

    def still_blocks(self, name: str) -> bool:
        """Tell whether a hash is on the list that `find` gave, of this list or of another one."""
        kind, _, digits = name.partition(":")
        return kind in self._digests and self.has(HashKind(kind), bytes.fromhex(digits))


def named(kind: HashKind, digest: bytes) -> str:
    """Return a hash as text: `sha1:` and hexadecimal digits."""
    return f"{kind}:{digest.hex()}"


def packed(kind: HashKind, digests: Sequence[bytes]) -> Digests:
    """Return digests as an array. Raises `ValueError` where one has not the size of its kind."""
    for digest in digests:
        if len(digest) != kind.size:
            raise ValueError(f"{kind}: {len(digest)} bytes, where {kind.size} are wanted")
    return unpadded(kind, b"".join(digests))


def unpadded(kind: HashKind, joined: bytes | bytearray) -> Digests:
    """Return digests that lie end to end as an array."""
    return np.frombuffer(joined, f"S{kind.size}")


def _sorted(digests: Digests) -> Digests:
    """Return distinct digests in order. By their first eight bytes: an eighth of the time of comparing strings."""
    width = digests.dtype.itemsize
    words = digests.view(np.uint8).reshape(-1, width)[:, :8].copy().view(">u8").reshape(-1).astype(np.uint64)
    order = np.argsort(words)
    words = words[order]
    array = digests[order]
    del order
    repeats = words[1:] == words[:-1]
    if repeats.any():
        tied = np.zeros(len(words), np.bool_)
        tied[1:] |= repeats
        tied[:-1] |= repeats
        array[tied] = np.sort(array[tied])
        is_first = np.ones(len(array), np.bool_)
        is_first[1:] = array[1:] != array[:-1]
        array = array[is_first]
    return array


def _among(array: Digests, wanted: Digests) -> npt.NDArray[np.bool_]:
    places = np.minimum(np.searchsorted(array, wanted), len(array) - 1)
    found: npt.NDArray[np.bool_] = array[places] == wanted
    return found
