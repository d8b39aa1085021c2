"""Pictures that resemble one another are of one group, unless all of them would be."""

import numpy as np

from imgmine.models.alike import group_alike, group_strangers
from imgmine.models.vectors import normalise


def test_pictures_are_alike_by_way_of_others() -> None:
    angles = np.arccos(0.96) * np.arange(4)
    chain = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert len(np.unique(group_alike(chain))) == 1
    assert len(np.unique(group_alike(chain[[0, 2]]))) == 2


def crops(pictures: int, of_each: int, spread: float, dimension: int = 400) -> np.ndarray:
    """Vectors of crops: near their picture's own, and each picture a stranger to the others."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(pictures * of_each, dimension)) * spread
    return normalise(np.repeat(rng.normal(size=(pictures, dimension)), of_each, axis=0) + noise)


def test_crops_of_a_picture_are_one_group() -> None:
    groups, cosine = group_strangers(crops(50, 4, 0.35))
    assert cosine == 0.85
    assert np.array_equal(groups, np.repeat(groups[::4], 4))
    assert len(np.unique(groups)) == 50


def test_where_everything_is_somewhat_alike_only_copies_are_grouped() -> None:
    own = crops(60, 2, 0.1)
    alike = normalise(own + 3 * own.mean(axis=0) / np.linalg.norm(own.mean(axis=0)))
    groups, cosine = group_strangers(alike)
    assert cosine > 0.85
    assert len(np.unique(groups)) == 60


def test_nothing_and_one_picture_have_groups() -> None:
    assert len(group_strangers(np.empty((0, 0), np.float32))[0]) == 0
    assert group_strangers(np.ones((5, 1), np.float32))[0].tolist() == [0] * 5
