"""Which of many PDQ hashes a picture's is near to: of a million, in about a millisecond.

What a hash is, and how near two are, is `hashes`' business.
"""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imgmine.images.hashes import Pdq

# What the authors say to begin with (github.com/facebook/ThreatExchange, pdq/README.md): hashes of at most 31 different
# bits match, and one whose quality is 49 or less says nothing.
MOST_BITS = 31
LEAST_QUALITY = 50

_WORDS = 16  # of 16 bits: where at most 31 bits differ, at most one does in some word
_BUCKETS = 1 << 16
_MOST_COMPARED = 1 << 19
_FLIPS = np.concatenate([[0], 1 << np.arange(16)]).astype(np.uint16)


class Near(NamedTuple):
    """A hash of the index, and how many bits of it another one differs in."""

    hash: bytes
    bits: int


class PdqIndex:
    """Hashes, `n` × 32 bytes, found by their words of 16 bits; it takes 96 bytes a hash and 4 MiB.

    After Norouzi, Punjani and Fleet 2012, "Fast Search in Hamming Space with Multi-Index Hashing".
    """

    def __init__(self, hashes: npt.NDArray[np.uint8]) -> None:
        self._hashes = np.ascontiguousarray(hashes).view(np.uint64).reshape(-1, 4)

    def __len__(self) -> int:
        return len(self._hashes)

    @cached_property
    def _buckets(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """Of each word, the rows by its value, and where each value's rows begin."""
        words = self._hashes.view(np.uint16)
        rows = np.empty((_WORDS, len(words)), np.uint32)
        starts = np.zeros((_WORDS, _BUCKETS + 1), np.uint32)
        for word in range(_WORDS):
            rows[word] = np.argsort(words[:, word], kind="stable")
            starts[word, 1:] = np.cumsum(np.bincount(words[:, word], minlength=_BUCKETS))
        return rows, starts

    def nearest(self, picture: Pdq) -> Near | None:
        """Return the hash that is nearest, of several the first, where one matches; None for a picture that says
        nothing.
        """
        [row], [bits] = self.nearest_of(np.frombuffer(picture.hash, np.uint8)[None], np.array([picture.quality]))
        return None if row < 0 else Near(self._hashes[row].tobytes(), int(bits))

    def nearest_of(
        self, hashes: npt.NDArray[np.uint8], qualities: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return what `nearest` does of many pictures, `n` × 32 bytes: the row of the index, or -1, and the bits."""
        rows, bits = np.full(len(hashes), -1), np.zeros(len(hashes), np.int64)
        asked = np.flatnonzero(qualities >= LEAST_QUALITY) if len(self) else np.empty(0, np.intp)
        wanted = np.ascontiguousarray(hashes[asked]).view(np.uint64).reshape(-1, 4)
        # So many that what is compared at a time takes some 32 MiB.
        step = max(1, _MOST_COMPARED // (_WORDS * len(_FLIPS) * (1 + len(self) // _BUCKETS)))
        for start in range(0, len(asked), step):
            part = slice(start, start + step)
            found, pictures, differing = self._matches(wanted[part])
            # The last of equal pictures wins: so the nearest comes last, and of those the first row.
            order = np.lexsort((-found, -differing))
            rows[asked[part][pictures[order]]] = found[order]
            bits[asked[part][pictures[order]]] = differing[order]
        return rows, bits

    def _matches(
        self, wanted: npt.NDArray[np.uint64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp], npt.NDArray[np.int64]]:
        """Return all pairs that match, some several times: the row, the place in `wanted`, and the bits."""
        rows, starts = self._buckets
        values = wanted.view(np.uint16)[:, :, None] ^ _FLIPS
        words = np.arange(_WORDS)[:, None]
        begin = starts[words, values].astype(np.intp)
        counts = (starts[words, values.astype(np.intp) + 1] - begin).ravel()
        begin += words * len(self)
        # Rows whose word differs in one bit at most: those of each bucket, one bucket after the other.
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        found = rows.ravel()[np.repeat(begin.ravel(), counts) + within]
        pictures = np.repeat(np.arange(len(wanted)), counts.reshape(len(wanted), -1).sum(axis=1))
        differing = np.bitwise_count(self._hashes[found] ^ wanted[pictures]).sum(axis=1, dtype=np.int64)
        near = differing <= MOST_BITS
        return found[near].astype(np.int64), pictures[near], differing[near]
