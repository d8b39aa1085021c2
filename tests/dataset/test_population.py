from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmine.dataset.population import Incidence, chao2, coverage, distinct_in, expected_distinct, schnabel

FILES = 8000
MINED = 25
ALL = 60


def collection(seed: int, likelihood: np.ndarray) -> np.ndarray:
    """Return which of all archives (rows) have which files: each by itself, as likely as `likelihood` says."""
    return np.random.default_rng(seed).random((ALL, FILES)) < likelihood


def mined(has: np.ndarray) -> Incidence:
    copies = has[:MINED].sum(axis=0)
    return Incidence(MINED, {k: n for k, n in Counter(copies.tolist()).items() if k})


EVEN = np.full(FILES, 0.02)


def test_where_all_files_are_equally_likely_the_intervals_hold_the_truth() -> None:
    everything = further = marked = 0
    for seed in range(60):
        has = collection(seed, EVEN)
        incidence = mined(has)
        everything += within(chao2(incidence), FILES)
        further += within(distinct_in(incidence, ALL), int(has.any(axis=0).sum()))
        held = has[:MINED].sum(axis=1)
        seen = np.cumsum(has[:MINED], axis=0) > 0
        owned = np.diff(seen.sum(axis=1), prepend=0)
        marked += within(schnabel(held.tolist(), owned.tolist()), FILES)
    # 95 of 100 are meant; of 60, fewer than 52 would come by chance once in 10,000 times.
    assert everything >= 52
    assert further >= 52
    assert marked >= 52


def within(estimate: tuple[float, float, float], truth: int) -> bool:
    value, low, high = estimate
    assert low <= value <= high
    return low <= truth <= high


def test_where_some_files_are_likelier_the_estimates_are_too_low_and_above_what_was_seen() -> None:
    uneven = np.minimum(np.random.default_rng(0).lognormal(-5, 1.5, FILES), 1)
    for seed in range(5):
        has = collection(seed, uneven)
        incidence = mined(has)
        assert incidence.distinct < chao2(incidence).value < FILES
        # Further archives of the same kind, twice and more: somewhat too low, and far better than no estimate.
        truth = int(has.any(axis=0).sum())
        assert 0.85 * truth < distinct_in(incidence, ALL).value < 1.02 * truth


def test_archives_that_share_more_with_their_neighbours_make_it_too_low() -> None:
    has = collection(1, EVEN)
    has[1:] |= has[:-1] & (np.random.default_rng(2).random((ALL - 1, FILES)) < 0.5)
    assert chao2(mined(has)).value < 0.9 * FILES


def test_coverage_is_the_chance_that_a_further_file_was_seen() -> None:
    told, true = [], []
    for seed in range(10):
        has = collection(seed, EVEN)
        told.append(coverage(mined(has)))
        seen = has[:MINED].any(axis=0)
        true.append(has[MINED:][:, seen].sum() / has[MINED:].sum())
    assert np.mean(told) == pytest.approx(np.mean(true), abs=0.01)


ARCHIVES = st.lists(st.sets(st.integers(0, 12), max_size=8), min_size=1, max_size=6)


@given(archives=ARCHIVES)
def test_what_is_expected_is_the_mean_over_every_choice_of_archives(archives: list[set[int]]) -> None:
    copies = Counter(file for archive in archives for file in archive)
    incidence = Incidence(len(archives), Counter(copies.values()))
    numbers = list(range(len(archives) + 1))
    means = [
        np.mean([len(set().union(*chosen)) for chosen in combinations(archives, number)]) if number else 0
        for number in numbers
    ]
    assert expected_distinct(incidence, numbers) == pytest.approx(means, abs=1e-9)
    assert incidence.files == sum(map(len, archives))


@given(archives=st.lists(st.sets(st.integers(0, 12), max_size=8), min_size=2, max_size=6), more=st.integers(0, 1000))
def test_more_archives_have_never_fewer_files(archives: list[set[int]], more: int) -> None:
    copies = Counter(file for archive in archives for file in archive)
    incidence = Incidence(len(archives), Counter(copies.values()))
    estimate = distinct_in(incidence, len(archives) + more)
    assert incidence.distinct <= estimate.low <= estimate.value <= estimate.high
    assert estimate.value == pytest.approx(expected_distinct(incidence, [len(archives) + more])[0])
    assert estimate.value <= chao2(incidence).value + 1e-6
    assert 0 <= coverage(incidence) <= 1


def test_one_archive_tells_nothing_of_others() -> None:
    alone = Incidence(1, {1: 5})
    for ask in (lambda: chao2(alone), lambda: distinct_in(alone, 9), lambda: schnabel([5], [5])):
        with pytest.raises(ValueError, match="two archives"):
            ask()
    assert expected_distinct(alone, [0, 1]).tolist() == [0, 5]


def test_an_estimate_is_never_below_what_was_seen() -> None:
    assert schnabel([2, 5], [2, 4]) == (6, 6, pytest.approx(10 / 1.05, rel=0.2))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="no file can be in"):
        Incidence(3, {4: 1})
    with pytest.raises(ValueError, match="3 archives were mined"):
        distinct_in(Incidence(3, {1: 5}), 2)
