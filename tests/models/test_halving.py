"""Half a picture, bit for bit as Pillow makes it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imgmine.images.previews import reduced
from imgmine.models.halving import halved_window
from tests.models.photographs import photographs


def windows_are_equal(picture: Image.Image, window: tuple[int, int, int, int]) -> bool:
    by_pillow = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC).crop(window)
    ours = halved_window(picture, window)
    return ours.size == by_pillow.size and ours.tobytes() == by_pillow.tobytes()


@pytest.mark.parametrize("levels", [(0, 255), (0, 128, 255), tuple(range(256))])
@given(st.integers(1, 90), st.integers(1, 90), st.data())
@settings(max_examples=60, deadline=None)
def test_any_window_of_any_picture(levels: tuple[int, ...], width: int, height: int, data: st.DataObject) -> None:
    height = min(height, 2 * width)
    seed = data.draw(st.integers(0, 2**32 - 1))
    pixels = np.random.default_rng(seed).choice(np.array(levels, np.uint8), (2 * height, 2 * width, 3))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    window = (left, top, data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height)))
    assert windows_are_equal(Image.fromarray(pixels), window)


def test_the_middle_of_photographs() -> None:
    for picture in photographs().values():
        small = reduced(picture)
        even = small.crop((0, 0, small.width // 2 * 2, small.height // 2 * 2))
        left, top = (even.width // 2 - 150) // 2, (even.height // 2 - 150) // 2
        assert windows_are_equal(even, (left, top, left + 150, top + 150))
        assert windows_are_equal(even, (0, 0, even.width // 2, even.height // 2))
