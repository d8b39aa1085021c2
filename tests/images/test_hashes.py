import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from imgmine.images.hashes import Hashes, Pdq, dhash, distance, mirrored_pdq, pdq, pdq_distance
from imgmine.images.previews import preview_jpeg, reduced
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


SIZES = [(640, 427), (1280, 853), (1999, 1333), (129, 700), (4096, 130), (300, 200), (128, 128)]


def hazy() -> Image.Image:
    return Image.blend(photograph(), Image.new("RGB", photograph().size, "white"), 0.9)


def asked_of_the_reference() -> dict[str, Image.Image]:
    """Return the pictures of which `data/pdq_reference.json` has what the reference implementation says."""
    asked = {f"{number} {size}": photograph(number).resize(size) for number in (0, 1) for size in SIZES}
    return {**asked, "mirrored": photograph().transpose(Image.Transpose.FLIP_LEFT_RIGHT), "hazy": hazy()}


def reference(name: str) -> Pdq:
    """Return what the reference implementation made of a picture."""
    hashed, quality = json.loads((Path(__file__).parent / "data" / "pdq_reference.json").read_text())[name]
    return Pdq(bytes.fromhex(hashed), quality)


# The reference's authors call right what stays within 10 bits of it.
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("number", [0, 1])
def test_pdq_of_the_previews_pixels_is_the_references_of_the_original(number: int, size: tuple[int, int]) -> None:
    original = photograph(number).resize(size)
    wanted = reference(f"{number} {size}")
    assert wanted.quality == 100
    for found in (pdq(original), pdq(reduced(original), size), pdq(reopened(preview_jpeg(reduced(original))), size)):
        assert pdq_distance(found.hash, wanted.hash) <= 6
        assert found.quality == wanted.quality


def test_pdq_says_what_it_is_worth() -> None:
    assert pdq(Image.new("RGB", (300, 200), (90, 120, 30))).quality == 0
    assert 0 < pdq(hazy()).quality == reference("hazy").quality < 50


@given(st.integers(128, 1500), st.integers(128, 1500), st.integers(1, 100))
def test_every_window_of_pdq_is_a_mean(full_width: int, full_height: int, percent: int) -> None:
    small = (max(1, full_width * percent // 100), max(1, full_height * percent // 100))
    white = pdq(Image.new("L", small, 255), (full_width, full_height))
    assert white.quality == 0


def test_the_mirrored_hash_is_near_the_hash_of_the_mirrored_picture() -> None:
    hashed, mirrored = pdq(photograph()).hash, reference("mirrored").hash
    assert pdq_distance(mirrored_pdq(hashed), mirrored) <= 20
    assert pdq_distance(hashed, mirrored) > 60


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**64 - 1), st.integers(0, 100))
def test_hashes_come_back_from_what_json_holds(hashed: bytes, known: int, quality: int) -> None:
    hashes = Hashes(known, Pdq(hashed, quality))
    assert Hashes.from_plain(json.loads(json.dumps(hashes.plain()))) == hashes
