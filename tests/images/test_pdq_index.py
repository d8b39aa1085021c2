"""What is near to a hash among many: all that is, and nothing else."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmine.images.hashes import Pdq, pdq_distance
from imgmine.images.pdq_index import MOST_BITS, Near, PdqIndex

CHANCE = random.Random(0)
HASHES = [CHANCE.randbytes(32) for _ in range(500)]


def index_of(hashes: list[bytes]) -> PdqIndex:
    return PdqIndex(np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32))


INDEX = index_of(HASHES)


def flipped(hashed: bytes, bits: list[int]) -> bytes:
    changed = int.from_bytes(hashed)
    for bit in bits:
        changed ^= 1 << bit
    return changed.to_bytes(32)


@given(st.sampled_from(HASHES), st.lists(st.integers(0, 255), unique=True, max_size=60))
def test_a_hash_is_found_up_to_31_bits_away_wherever_they_are(hashed, bits):
    asked = flipped(hashed, bits)
    near = INDEX.nearest(Pdq(asked, 100))
    best = min(HASHES, key=lambda other: pdq_distance(asked, other))
    wanted = Near(best, pdq_distance(asked, best))
    assert near == (wanted if wanted.bits <= MOST_BITS else None)


@pytest.mark.parametrize("start", range(16))
def test_bits_spread_over_all_words_are_found_too(start):
    bits = [16 * word + (start + word) % 16 for word in range(16)] + [
        16 * word + (start + word + 5) % 16 for word in range(15)
    ]
    assert len(bits) == MOST_BITS
    assert INDEX.nearest(Pdq(flipped(HASHES[3], bits), 50)) == Near(HASHES[3], MOST_BITS)


def test_a_picture_that_says_nothing_is_near_to_nothing():
    assert INDEX.nearest(Pdq(HASHES[0], 49)) is None
    assert index_of([]).nearest(Pdq(HASHES[0], 100)) is None
    assert (len(index_of([])), len(INDEX)) == (0, 500)


@given(st.lists(st.tuples(st.sampled_from(HASHES), st.lists(st.integers(0, 255), max_size=45), st.integers(0, 100))))
def test_many_at_once_are_told_what_each_alone_is(asked):
    pictures = [Pdq(flipped(hashed, bits), quality) for hashed, bits, quality in asked]
    hashes = np.frombuffer(b"".join(each.hash for each in pictures), np.uint8).reshape(-1, 32)
    rows, bits = INDEX.nearest_of(hashes, np.array([each.quality for each in pictures], np.uint8))
    alone = [INDEX.nearest(each) for each in pictures]
    assert [None if row < 0 else Near(HASHES[row], bit) for row, bit in zip(rows, bits, strict=True)] == alone
