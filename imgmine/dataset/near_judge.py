"""Laying pairs of images beside each other by their previews, on several threads, and what is known of pairs already.

Which pairs are asked for is `near_groups`' rule; how two pictures are compared is `imgmine.images.same_picture`'s.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import cv2

from imgmine.dataset.near_items import Items
from imgmine.dataset.verdicts import Verdict, Verdicts
from imgmine.errors import ImgmineError
from imgmine.images import same_picture
from imgmine.images.same_picture import UnreadablePreview, View, likeness, view
from imgmine.in_order import in_order
from imgmine.store.base import NotInStore, Store

JUDGE_VERSION = f"{same_picture.CODE_VERSION} {cv2.__version__}"
"""Of the code that judges: what was found by another one counts for nothing."""

# Kept ones are asked for again and again; a view takes 0.2 MB.
_VIEWS = 512


class NearDuplicateError(ImgmineError):
    """A preview that the tables name cannot be read or decoded."""


class PixelJudge:
    """Tells of pairs (kept, later), by rank, whether they show the same picture."""

    def __init__(self, store: Store, items: Items, verdicts: Verdicts, sure_radius: int, threads: int) -> None:
        """`sure_radius`: within so many bits of PDQ it is known whether one is mirrored, and only that is tried."""
        self._store = store
        self._items = items
        self._verdicts = verdicts
        self._sure_radius = sure_radius
        self._threads = threads
        self._view = lru_cache(_VIEWS)(self._read)

    def __call__(self, pairs: Sequence[tuple[int, int]]) -> list[Verdict]:
        """Return the verdicts in the pairs' order; those that an earlier run found are not looked for again."""
        names = [self._verdicts.pair(*map(self._named, pair)) for pair in pairs]
        verdicts = [self._verdicts.get(name) for name in names]
        unknown = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict is None]
        with _one_thread_each():
            found = in_order(self._look, unknown, self._threads)
            for number, verdict in enumerate(verdicts):
                if verdict is None:
                    verdicts[number] = new = next(found)
                    self._verdicts.put(names[number], new)
        return [verdict for verdict in verdicts if verdict is not None]

    def _named(self, rank: int) -> tuple[bytes, int]:
        return self._items.digest(rank), self._items.place(rank).size

    def _look(self, pair: tuple[int, int]) -> Verdict:
        one, other = self._view(pair[0]), self._view(pair[1])
        for mirrored in self._ways(*pair):
            found = likeness(one, other.mirrored() if mirrored else other)
            if found is not None:
                return Verdict(found.agreement, mirrored)
        return Verdict(0.0, False)

    def _ways(self, one: int, other: int) -> Sequence[bool]:
        """Return in which ways to try a pair: as it is, mirrored, or one after the other."""
        direct = self._items.pdq_distance(one, other)
        mirrored = self._items.pdq_distance(one, other, mirrored=True)
        if direct is None or mirrored is None:
            return (False, True)
        if min(direct, mirrored) <= self._sure_radius:
            return (mirrored < direct,)
        return (mirrored < direct, mirrored >= direct)

    def _read(self, rank: int) -> View:
        place = self._items.place(rank)
        again = "Materialize the images of its archive again, if they are not being made just now; then try again."
        try:
            return view(self._store.get_range(place.shard, place.offset, place.size))
        except NotInStore as error:
            raise NearDuplicateError(f"{place.shard} is gone, and the tables name it. {again}") from error
        except UnreadablePreview as error:
            raise NearDuplicateError(
                f"The preview of {self._items.digest(rank).hex()} ({place.shard}, {place.size} bytes from "
                f"{place.offset}) is damaged: {error}. {again}"
            ) from error


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Have OpenCV use the calling thread alone: pairs are what is worked on at once."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
