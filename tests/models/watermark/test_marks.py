"""Marks that are drawn, and the examples made of them."""

from itertools import islice
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageChops

from imgmine.models.watermark.examples import Amounts, Example, Part, make_examples
from imgmine.models.watermark.marks import MarkKind, draw_mark, fonts

GREY = Image.new("RGB", (400, 300), (120, 130, 110))


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return list(make_examples(3, Amounts(training=2, validation=2, test=2, memes=0, screens=5)))


@pytest.mark.parametrize("seed", range(40))
def test_a_mark_can_be_seen_where_it_says_it_is(seed: int) -> None:
    marked, mark = draw_mark(GREY, Random(seed), fonts()[0])
    changed = np.asarray(ImageChops.difference(marked, GREY)).max(axis=2) > 2
    assert marked.size == GREY.size
    assert changed.any()
    assert sum(mark.quadrants) == pytest.approx(1)
    halves = [part for rows in np.split(changed, 2) for part in np.split(rows, 2, axis=1)]
    for share, part in zip(mark.quadrants, halves, strict=True):
        assert part.any() or share < 0.02
    if mark.kind is MarkKind.TILING:
        assert all(part.any() for part in halves)


def test_the_same_seed_draws_the_same_mark_and_others_draw_others() -> None:
    drawn = [draw_mark(GREY, Random(seed), fonts()[0]) for seed in (1, 1, 2)]
    assert drawn[0][0].tobytes() == drawn[1][0].tobytes()
    assert drawn[0][1] == drawn[1][1]
    assert drawn[0][0].tobytes() != drawn[2][0].tobytes()


def test_a_mark_on_its_own_colour_is_turned_round() -> None:
    white = Image.new("RGB", (400, 300), "white")
    for seed in range(20):
        marked, _ = draw_mark(white, Random(seed), fonts()[0])
        assert np.asarray(marked).min() < 245


def test_fonts_to_test_with_are_not_those_to_train_with() -> None:
    training, testing = fonts()
    assert not {*training} & {*testing}
    assert all(path.is_file() for path in (*training, *testing))


def test_half_of_each_photographs_pictures_have_marks_and_no_photograph_is_in_two_parts(
    examples: list[Example],
) -> None:
    photographs = [example for example in examples if example.subject == "photograph"]
    assert sum(example.mark is not None for example in photographs) * 2 == len(photographs)
    for first, second in zip(photographs[:79], photographs[79:], strict=True):
        assert first.part is second.part
        assert (first.mark is None) != (second.mark is None)
    assert {example.part for example in examples} == set(Part)
    assert all(example.mark is None for example in examples if example.subject == "screen")


def test_the_same_seed_makes_the_same_examples() -> None:
    first, again, other = ([each.data for each in islice(make_examples(seed, Amounts()), 6)] for seed in (1, 1, 2))
    assert first == again
    assert first != other
