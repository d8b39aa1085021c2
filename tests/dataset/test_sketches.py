"""Sketches: codes of vectors, and what of an archive's tables is in them."""

import numpy as np
import pytest

from imgmine.dataset.sketches import vector_codes


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("cosine", [0.95, 0.8, 0.5])
def test_bits_differ_by_the_angle(cosine: float) -> None:
    rng = np.random.default_rng(0)
    one = unit(rng.normal(size=(50, 768)))
    across = rng.normal(size=(50, 768))
    across = unit(across - (across * one).sum(axis=1, keepdims=True) * one)
    other = np.asarray(cosine * one + np.sqrt(1 - cosine**2) * across, np.float32)
    centre = np.zeros(768, np.float32)
    apart = np.bitwise_count(vector_codes(one, centre) ^ vector_codes(other, centre)).sum(axis=1)
    assert apart.mean() / 256 == pytest.approx(np.arccos(cosine) / np.pi, abs=0.01)


def test_codes_do_not_depend_on_what_else_is_coded() -> None:
    vectors = unit(np.random.default_rng(1).normal(size=(40, 96)))
    centre = vectors.mean(axis=0)
    alone = np.concatenate([vector_codes(row[None], centre) for row in vectors])
    assert np.array_equal(vector_codes(vectors, centre), alone)
