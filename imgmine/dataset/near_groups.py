"""Groups of near-duplicates: who stands for whom, and the table that says so. How pictures are compared is not here.

Images come in order of rank. Each is laid beside those that stand for groups already, the first in rank first, and
joins the first that shows the same picture; else it stands for itself. So every member was compared with the kept one,
and no chain of small steps joins pictures that are not alike.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imgmine.dataset.candidates import Pairs
from imgmine.dataset.verdicts import Verdict
from imgmine.store.tables import DIGEST

NEAR_DUPLICATES = pa.schema(
    [
        pa.field("blake2b", DIGEST, nullable=False),
        pa.field("kept_blake2b", DIGEST, nullable=False),
        pa.field("how", pa.string(), nullable=False),
        pa.field("pdq_distance", pa.int16()),
        pa.field("vector_distance", pa.int16()),
        pa.field("agreement", pa.float32()),
    ]
)
HOWS = {
    "kept": "it stands for the group: the largest, then the earliest",
    "pdq": "its PDQ hash is within 31 bits of the kept one's",
    "mirrored": "it is the kept one as a mirror shows it",
    "embedding": "PDQ tells them apart; the vectors brought them together",
}
NOT_WHOLE = ""
"""What the table says that it was made of once a take-down took rows out: groups may lack the image kept for them."""


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
