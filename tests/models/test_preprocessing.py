"""One preprocessing: what the card says, for pictures of any shape."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imgmine.models.cards import Crop, Interpolation, ModelCard, find_model, load_card
from imgmine.models.preprocessing import UnreadablePicture, preprocess, read_picture
from tests.models.photographs import photographs, preview

LITE = load_card(find_model("efficientnet-lite0"))
CLIP = replace(
    LITE, value_range=1.0, mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)
)


def plain(picture: Image.Image, card: ModelCard) -> np.ndarray:
    """The same by other means: sizes in floating point, one resize, one crop, arithmetic in double precision."""
    size, short = card.size, card.resize
    width, height = picture.size
    if card.crop is Crop.SQUASH:
        width = height = size
    elif width <= height:
        width, height = short, int(short * height / width)
    else:
        width, height = int(short * width / height), short
    resized = picture.resize((width, height), Image.Resampling[card.interpolation.name])
    left, top = (width - size) // 2, (height - size) // 2
    pixels = np.asarray(resized.crop((left, top, left + size, top + size)), np.float64)
    values = (pixels * card.value_range / 255 - np.array(card.mean)) / np.array(card.std)
    return values.transpose(2, 0, 1)


@pytest.mark.parametrize("card", [LITE, CLIP, replace(CLIP, crop=Crop.SQUASH), replace(CLIP, resize=248)])
@pytest.mark.parametrize("interpolation", Interpolation)
def test_photographs_come_out_as_the_card_says(card: ModelCard, interpolation: Interpolation) -> None:
    card = replace(card, interpolation=interpolation)
    for picture in photographs().values():
        small = read_picture(preview(picture))
        np.testing.assert_allclose(preprocess(small, card), plain(small, card), atol=1e-5)


@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_any_shape_comes_out_as_the_card_says(width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if max(width, height) > 50 * min(width, height):
        pixels = pixels[:50, :50]
    picture = Image.fromarray(pixels)
    np.testing.assert_allclose(preprocess(picture, CLIP), plain(picture, CLIP), atol=1e-5)


def test_black_and_white_are_the_ends_of_the_range() -> None:
    for level, expected in ((0, -127 / 128), (255, 1.0)):
        values = preprocess(Image.new("RGB", (300, 200), (level, level, level)), LITE)
        assert values.shape == (3, 224, 224)
        assert values.dtype == np.float32
        assert (values == np.float32(expected)).all()


def test_channels_are_red_green_blue() -> None:
    values = preprocess(Image.new("RGB", (256, 256), (255, 127, 0)), LITE)
    assert [float(channel.mean()) for channel in values] == [1.0, 0.0, -127 / 128]


def test_the_result_goes_where_the_caller_wants_it() -> None:
    out = np.full((3, 224, 224), np.nan, np.float32)
    picture = photographs()["coffee"]
    assert preprocess(picture, LITE, out) is out
    np.testing.assert_array_equal(out, preprocess(picture, LITE))


def test_other_modes_become_rgb() -> None:
    assert preprocess(Image.new("L", (256, 256), 255), LITE).max() == 1.0


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff\xe0 not a JPEG", b"<html></html>"])
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    with pytest.raises(UnreadablePicture):
        read_picture(data)


def test_half_a_picture_is_refused() -> None:
    data = preview(photographs()["coffee"])
    with pytest.raises(UnreadablePicture, match="truncated"):
        read_picture(data[: len(data) // 2])
