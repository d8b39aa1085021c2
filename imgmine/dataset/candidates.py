"""Pairs of images that may be near-duplicates: gathered on disk, each later image with its nearest earlier ones.

Images are known by their rank in the order of precedence. What makes a pair is `near_pairs`'; which pairs are
near-duplicates, `near_groups`'.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

PAIR = np.dtype([("later", "<u4"), ("earlier", "<u4"), ("distance", "u1"), ("kind", "u1")])
"""Two images, how many bits of their codes differ, and by which codes."""

Pairs = npt.NDArray[np.void]

NO_PAIRS: Pairs = np.empty(0, PAIR)

_WRITE_ROWS = 1 << 20
_COMPACT_ROWS = 1 << 22


def nearest(pairs: Pairs, most: int) -> Pairs:
    """Return each pair once, and of each later image the `most` nearest of each kind, then the earliest.

    A pair of several kinds is of the least. The result is in order of the later image, then kind and distance.
    """
    order = np.lexsort((pairs["distance"], pairs["kind"], pairs["earlier"], pairs["later"]))
    pairs = pairs[order]
    new = np.ones(len(pairs), bool)
    new[1:] = (pairs["later"][1:] != pairs["later"][:-1]) | (pairs["earlier"][1:] != pairs["earlier"][:-1])
    pairs = pairs[new]
    pairs = pairs[np.lexsort((pairs["earlier"], pairs["distance"], pairs["kind"], pairs["later"]))]
    fresh = np.ones(len(pairs), bool)
    fresh[1:] = (pairs["later"][1:] != pairs["later"][:-1]) | (pairs["kind"][1:] != pairs["kind"][:-1])
    starts = np.flatnonzero(fresh)
    place = np.arange(len(pairs)) - np.repeat(starts, np.diff(starts, append=len(pairs)))
    return pairs[place < most]


class CandidateSpool:
    """Pairs on disk, by the later image: each file has those of `span` images and stays bounded."""

    def __init__(self, folder: Path, most: int, span: int = 1 << 18) -> None:
        """`most` is how many earlier images an image keeps of each kind; `folder` is for this spool alone."""
        folder.mkdir(parents=True)
        self._folder = folder
        self._most = most
        self._span = span
        self._waiting: list[Pairs] = []
        self._waiting_rows = 0

    def add(self, pairs: Pairs) -> None:
        self._waiting.append(pairs)
        self._waiting_rows += len(pairs)
        if self._waiting_rows >= _WRITE_ROWS:
            self._flush()

    def _flush(self) -> None:
        pairs = np.concatenate([NO_PAIRS, *self._waiting])
        self._waiting, self._waiting_rows = [], 0
        if not len(pairs):
            return
        parts = pairs["later"] // self._span
        order = np.argsort(parts, kind="stable")
        numbers, starts = np.unique(parts[order], return_index=True)
        for number, rows in zip(numbers, np.split(pairs[order], starts[1:]), strict=True):
            path = self._folder / f"{number:06d}"
            with path.open("ab") as out:
                out.write(rows.data)
                written = out.tell() // PAIR.itemsize
            if written > _COMPACT_ROWS:
                nearest(np.fromfile(path, PAIR), self._most).tofile(path)

    def by_image(self, images: int) -> Iterator[Pairs]:
        """Yield the candidates in order of the later image, those of some `images` images at a time."""
        self._flush()
        for path in sorted(self._folder.iterdir()):
            pairs = nearest(np.fromfile(path, PAIR), self._most)
            _, starts = np.unique(pairs["later"], return_index=True)
            cuts = starts[images::images]
            yield from np.split(pairs, cuts)
            path.unlink()
