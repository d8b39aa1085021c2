"""Groups of near-duplicates: who stands for whom. The rule alone; pictures and tables are others' business.

Images come in order of rank. Each is laid beside those that stand for groups already, the first in rank first, and
joins the first that shows the same picture; else it stands for itself. So every member was compared with the kept one,
and no chain of small steps joins pictures that are not alike.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imgmine.dataset.candidates import Pairs
from imgmine.dataset.verdicts import Verdict


class Member(NamedTuple):
    """An image that is not kept, the one that is kept for it, both by rank, and what was found of the two."""

    rank: int
    kept: int
    verdict: Verdict


Judge = Callable[[Sequence[tuple[int, int]]], list[Verdict]]
"""From pairs (kept, later) to their verdicts, in the same order. May look at them all at once."""


def members(kept: npt.NDArray[np.uint32], candidates: Iterable[Pairs], judge: Judge) -> Iterator[Member]:
    """Yield every image that is a near-duplicate of an earlier one.

    `kept` has each image's own rank at first, and afterwards the rank of the one that is kept for it. `candidates` are
    pairs in order of the later image, all of an image's in one array; an image is compared with those that are kept
    for its candidates. In which arrays they come changes nothing.
    """
    for pairs in candidates:
        waiting = _candidates_of(pairs)
        while waiting:
            # The candidates of a first image are all settled, so there is always one that is ready.
            ready = [later for later, earlier in waiting.items() if waiting.keys().isdisjoint(earlier)]
            targets = {later: sorted({int(kept[rank]) for rank in waiting.pop(later)}) for later in ready}
            yield from _settle(kept, targets, judge)


def _candidates_of(pairs: Pairs) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for later, earlier in zip(pairs["later"].tolist(), pairs["earlier"].tolist(), strict=True):
        found.setdefault(later, []).append(earlier)
    return found


def _settle(kept: npt.NDArray[np.uint32], targets: dict[int, list[int]], judge: Judge) -> Iterator[Member]:
    """Compare each image with its targets, one after the other; those of different images together."""
    while targets:
        asked = [(first, later) for later, (first, *_) in targets.items()]
        for (first, later), verdict in zip(asked, judge(asked), strict=True):
            if verdict.same:
                kept[later] = first
                yield Member(later, first, verdict)
        targets = {later: rest for later, (_, *rest) in targets.items() if rest and kept[later] == later}
