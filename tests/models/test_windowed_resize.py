"""A part of an enlarged picture is what Pillow's whole has there, value for value."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imgmine.models.cards import CARD_FILE, Interpolation, read_card, shipped_card
from imgmine.models.preprocessing import preprocess
from imgmine.models.windowed_resize import resize_window


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_window_is_the_part_of_the_whole(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 200))
    size = (data.draw(st.integers(max(width, 40), 400)), data.draw(st.integers(max(height, 40), 400)))
    left, top = data.draw(st.integers(0, size[0] - 32)), data.draw(st.integers(0, size[1] - 32))
    kind = data.draw(st.sampled_from(Interpolation))
    noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    whole = picture.resize(size, Image.Resampling[kind.name]).crop((left, top, left + 32, top + 32))
    np.testing.assert_array_equal(resize_window(picture, size, (left, top, 32, 32), kind), np.asarray(whole))


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000)])
def test_a_strip_needs_no_picture_of_gigabytes(size: tuple[int, int]) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    values = preprocess(picture, read_card(shipped_card("clip-vit-b-32") / CARD_FILE))  # whole: 9 GB
    assert np.isfinite(values).all()
    assert values.std() > 0
