"""Pairs of near codes: what is found among planted ones, and that the work's division changes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgmine.dataset.candidates import CandidateSpool, Pairs
from imgmine.dataset.near_pairs import CODE, Measure, find_pairs

MIRROR = np.array([0, 0, 2**64 - 1, 2**64 - 1], np.uint64)


def planted(seed: int, count: int, copies: int, flipped: int, *, mirrored: bool = False) -> np.ndarray:
    """Return random codes of which the last `copies` are earlier ones with so many bits changed."""
    rng = np.random.default_rng(seed)
    codes = np.zeros(count, CODE)
    codes["rank"] = np.arange(count)
    words = rng.integers(0, 2**64 - 1, (count, 4), np.uint64, endpoint=True)
    bits = np.unpackbits(words[:copies].view(np.uint8), axis=1)
    for row in bits:
        row[rng.choice(256, flipped, replace=False)] ^= 1
    if copies:
        words[-copies:] = np.packbits(bits, axis=1).view(np.uint64)
    if mirrored:
        words[-copies:] ^= MIRROR
    codes["words"] = words
    return codes


def found(folder: Path, codes: np.ndarray, measure: Measure, **options: Any) -> Pairs:
    """Return all candidates; `span` and `images` are the spool's, what else is given is for `find_pairs`."""
    folder.mkdir(parents=True, exist_ok=True)
    codes.tofile(folder / "codes")
    most = options.pop("most", 8)
    spool = CandidateSpool(folder / "spool", most, options.pop("span", 1 << 18))
    images = options.pop("images", 100)
    for pairs in find_pairs(folder / "codes", measure, folder, most=most, **options):
        spool.add(pairs)
    parts = list(spool.by_image(images))
    laters = [rank for part in parts for rank in set(part["later"].tolist())]
    assert len(laters) == len(set(laters)), "an image's candidates come together"
    return np.concatenate([np.empty(0, parts[0].dtype), *parts]) if parts else np.empty(0)


@pytest.mark.parametrize("mirrored", [False, True])
def test_copies_within_the_radius_are_found_and_nothing_else(tmp_path: Path, mirrored: bool) -> None:
    measure = Measure("test", kind=0, radius=31, tables=48, mirrored=True)
    pairs = found(tmp_path, planted(1, 2000, 200, 20, mirrored=mirrored), measure)
    expected = {(1800 + copy, copy) for copy in range(200)}
    hit = set(zip(pairs["later"].tolist(), pairs["earlier"].tolist(), strict=True))
    assert hit <= expected
    assert len(hit) >= 190
    assert set(pairs["distance"].tolist()) == {20}
    assert set(pairs["kind"].tolist()) == {int(mirrored)}


def test_codes_beyond_the_radius_are_no_pair(tmp_path: Path) -> None:
    measure = Measure("test", kind=2, radius=19, tables=32)
    assert len(found(tmp_path, planted(1, 500, 100, 20), measure)) == 0


@settings(max_examples=12)
@given(
    seed=st.integers(0, 100),
    count=st.integers(2, 300),
    few=st.integers(0, 12),
    mirrored=st.booleans(),
    part_rows=st.sampled_from([1, 7, 64]),
    span=st.integers(1, 50),
    images=st.integers(1, 50),
)
def test_no_division_of_the_work_changes_the_pairs(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    count: int,
    few: int,
    mirrored: bool,
    part_rows: int,
    span: int,
    images: int,
) -> None:
    measure = Measure("test", kind=0, radius=31, tables=4, mirrored=mirrored)
    codes = planted(seed, count, min(few, count // 2), 12)
    codes["words"][: count // 3] = codes["words"][0]  # very many that are all alike
    folder = tmp_path_factory.mktemp("pairs")
    whole = found(folder / "whole", codes, measure, most=3)
    parts = found(folder / "parts", codes, measure, most=3, part_rows=part_rows, span=span, images=images)
    assert whole.tobytes() == parts.tobytes()


def test_each_image_keeps_its_nearest_candidates(tmp_path: Path) -> None:
    codes = planted(2, 6, 0, 0)
    codes["words"][1:] = codes["words"][0]
    codes["words"][1:, 3] ^= np.array([1, 3, 7, 15, 31], np.uint64)  # the later, the farther from the first
    measure = Measure("test", kind=2, radius=10, tables=64)
    pairs = found(tmp_path, codes, measure, most=2)
    of_last = pairs[pairs["later"] == 5]
    assert of_last["earlier"].tolist() == [4, 3]
    assert of_last["distance"].tolist() == [1, 2]


def test_what_is_all_alike_does_not_take_the_square_of_it(tmp_path: Path) -> None:
    codes = planted(3, 20_000, 0, 0)
    codes["words"] = codes["words"][0]
    pairs = found(tmp_path, codes, Measure("test", kind=2, radius=10, tables=1), most=2, window=8)
    # Each has some before it; which images a long chain leads to is for the groups to say.
    assert len(np.unique(pairs["later"])) == 19_999
