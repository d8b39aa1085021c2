"""The rule of groups, with pictures that are numbers: two are the same if they are not far from each other."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imgmine.dataset.candidates import PAIR, nearest
from imgmine.dataset.near_groups import members
from imgmine.dataset.verdicts import Verdict


def groups(
    values: list[int], edges: list[tuple[int, int]], images_at_once: int
) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the rank that each value's group is kept by, and which pairs were looked at."""
    looked: list[tuple[int, int]] = []

    def judge(pairs: Sequence[tuple[int, int]]) -> list[Verdict]:
        looked.extend(pairs)
        return [Verdict(float(abs(values[one] - values[other]) <= 1), False) for one, other in pairs]

    pairs = nearest(np.array([(later, earlier, 1, 0) for earlier, later in edges], PAIR), 100)
    _, starts = np.unique(pairs["later"], return_index=True)
    kept = np.arange(len(values), dtype=np.uint32)
    found = list(members(kept, np.split(pairs, starts[images_at_once::images_at_once]), judge))
    assert {member.rank: member.kept for member in found} == {
        rank: int(keeper) for rank, keeper in enumerate(kept) if rank != keeper
    }
    return kept.tolist(), looked


def test_a_chain_of_small_steps_does_not_join_what_is_not_alike() -> None:
    every_pair = [(one, other) for other in range(4) for one in range(other)]
    assert groups([10, 11, 12, 13], every_pair, 10)[0] == [0, 0, 2, 2]


def test_a_copy_meets_the_kept_one_through_another_copy() -> None:
    # The third was near the second alone; it is the first that it is laid beside.
    assert groups([10, 10, 10], [(0, 1), (1, 2)], 10) == ([0, 0, 0], [(0, 1), (0, 2)])


@given(st.data())
def test_every_member_is_like_the_kept_one_and_no_chunk_changes_that(data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, 8), min_size=2, max_size=20))
    possible = [(one, other) for other in range(len(values)) for one in range(other)]
    edges = data.draw(st.lists(st.sampled_from(possible), min_size=1, unique=True))
    kept, looked = groups(values, edges, data.draw(st.integers(1, 20)))
    assert kept == groups(values, edges, len(values))[0]
    assert len(looked) == len(set(looked))
    for rank, keeper in enumerate(kept):
        assert abs(values[rank] - values[keeper]) <= 1
        assert kept[keeper] == keeper
    for one, other in edges:
        # What is near a kept one joins it, or an earlier one that it is like as well.
        if kept[one] == one and abs(values[one] - values[other]) <= 1:
            assert kept[other] <= one
