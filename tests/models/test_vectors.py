"""Vectors keep their rows, and bad ones are found."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from imgmine.models.vectors import VectorError, embeddings_table, invalid_rows, normalise, vectors_of


def test_rows_are_sorted_with_their_vectors() -> None:
    names = [hashlib.blake2b(bytes([n]), digest_size=32).digest() for n in range(20)]
    table = embeddings_table(names, normalise(np.random.default_rng(0).normal(size=(20, 8))))
    order = sorted(range(20), key=lambda row: names[row])
    assert table["blake2b"].to_pylist() == [names[row] for row in order]
    shuffled = normalise(np.random.default_rng(0).normal(size=(20, 8)))[order]
    np.testing.assert_array_equal(vectors_of(table), shuffled.astype(np.float16).astype(np.float32))


def test_slices_and_chunks_are_read_right() -> None:
    names = [bytes([n]) * 32 for n in range(9)]
    vectors = normalise(np.random.default_rng(0).normal(size=(9, 5)))
    table = embeddings_table(names, vectors)
    expected = vectors.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(vectors_of(table.slice(3, 4)), expected[3:7])
    np.testing.assert_array_equal(
        vectors_of(pa.concat_tables([table.slice(6), table.slice(0, 2)])), expected[[6, 7, 8, 0, 1]]
    )


def test_vectors_that_are_not_of_norm_1_or_not_finite_are_found() -> None:
    vectors = normalise(np.random.default_rng(0).normal(size=(6, 5)))
    vectors[1] *= 1.01
    vectors[3] = 0
    vectors[4, 2] = np.nan
    vectors[5, 0] = np.inf
    assert invalid_rows(vectors).tolist() == [1, 3, 4, 5]


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_vector_without_direction_cannot_be_normalised(value: float) -> None:
    with pytest.raises(VectorError):
        normalise(np.full((2, 3), value, np.float32))
