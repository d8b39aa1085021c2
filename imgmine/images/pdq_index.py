"""Which of many PDQ hashes a picture's is near to: of a million, in about a millisecond.

What a hash is, and how near two are, is `hashes`' business.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imgmine.images.hashes import Pdq

# What the authors say to begin with (github.com/facebook/ThreatExchange, pdq/README.md): hashes of at most 31 different
# bits match, and one whose quality is 49 or less says nothing.
MOST_BITS = 31
LEAST_QUALITY = 50

_WORDS = 16  # of 16 bits: where at most 31 bits differ, at most one does in some word
_BUCKETS = 1 << 16
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
        if not len(self) or picture.quality < LEAST_QUALITY:
            return None
        wanted = np.frombuffer(picture.hash, np.uint64)
        rows = self._near_rows(wanted)
        if not len(rows):
            return None
        bits = np.bitwise_count(self._hashes[rows] ^ wanted).sum(axis=1)
        best = int(np.lexsort((rows, bits))[0])
        if bits[best] > MOST_BITS:
            return None
        return Near(self._hashes[rows[best]].tobytes(), int(bits[best]))

    def _near_rows(self, wanted: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
        """Return the rows that differ in at most one bit of some word; a row may come several times."""
        rows, starts = self._buckets
        values = wanted.view(np.uint16)[:, None] ^ _FLIPS
        every = np.arange(_WORDS)[:, None]
        begin = starts[every, values].astype(np.intp)
        count = starts[every, values.astype(np.intp) + 1].astype(np.intp) - begin
        begin += every * len(self)
        counts = count.ravel()
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        found: npt.NDArray[np.uint32] = rows.ravel()[np.repeat(begin.ravel(), counts) + within]
        return found
