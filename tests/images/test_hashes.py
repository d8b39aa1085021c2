import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from imgmine.images.hashes import dhash, distance
from imgmine.images.previews import reduced
from tests.images.made_pictures import encoded, photograph

NEAR = 6  # of 64 bits


def reopened(payload: bytes) -> Image.Image:
    return Image.open(io.BytesIO(payload)).convert("RGB")


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    "change",
    [
        lambda picture: reopened(encoded(picture, "JPEG", quality=75)),
        lambda picture: reopened(encoded(picture, "JPEG", quality=20)),
        lambda picture: reopened(encoded(picture, "WEBP", quality=50)),
        lambda picture: picture.resize((320, 213)),
        lambda picture: picture.resize((160, 107)),
        lambda picture: picture.resize((1280, 854)),
        lambda picture: picture.resize((500, 500)),
        lambda picture: picture.convert("L").convert("RGB"),
        lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    ],
    ids=["jpeg 75", "jpeg 20", "webp 50", "half", "quarter", "double", "squeezed", "grey", "brighter"],
)
def test_a_changed_photograph_keeps_a_near_hash(number: int, change) -> None:
    original = photograph(number)
    assert distance(dhash(reduced(original)), dhash(reduced(change(original)))) <= NEAR


def test_other_pictures_have_far_hashes() -> None:
    one, other = dhash(photograph(0)), dhash(photograph(1))
    mirrored = dhash(photograph(0).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert distance(one, other) > 16
    assert distance(one, mirrored) > 16


def test_each_bit_says_whether_the_right_pixel_is_brighter() -> None:
    rising = Image.new("L", (9, 8))
    rising.putdata([20 * column for _ in range(8) for column in range(9)])
    assert dhash(rising) == 2**64 - 1
    assert dhash(rising.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) == 0
    one = Image.new("L", (9, 8), 10)
    one.putpixel((1, 0), 11)
    assert dhash(one) == 1 << 63
    one.putpixel((8, 7), 11)
    assert dhash(one) == 1 << 63 | 1


def test_the_hash_of_the_preview_is_near_the_hash_of_the_original() -> None:
    assert distance(dhash(photograph()), dhash(reduced(photograph()))) <= 2


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_distance_counts_bits(one: int, other: int) -> None:
    assert distance(one, other) == bin(one ^ other).count("1") == distance(other, one)
