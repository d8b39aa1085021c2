"""Two previews of one picture, and two pictures that look alike."""

from collections.abc import Callable
from random import Random

import pytest
from PIL import Image

from imgmine.demo import copies
from imgmine.demo.photographs import reference_photographs
from imgmine.demo.screens_drawn import draw_text_page
from imgmine.images.previews import preview_jpeg, reduced
from imgmine.images.same_picture import Likeness, UnreadablePreview, likeness, view


def photograph(name: str) -> Image.Image:
    [path] = [path for path in reference_photographs() if path.stem == name]
    with Image.open(path) as picture:
        return picture.convert("RGB")


def compared(one: Image.Image, other: Image.Image) -> Likeness | None:
    return likeness(*(view(preview_jpeg(reduced(picture))) for picture in (one, other)))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "recompressed": lambda picture: copies.recompressed(picture, 30),
    "resized": lambda picture: copies.resized(picture, 0.3),
    "cropped": lambda picture: copies.cropped(picture, 0.1, Random(0)),
    "captioned": lambda picture: copies.captioned(picture, Random(0)),
    "below a bar": lambda picture: copies.under_a_caption(picture, 0.2, Random(0)),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_the_same_picture(kind: str) -> None:
    picture = photograph("owl")
    found = compared(picture, COPIES[kind](picture))
    assert found is not None
    assert found.agreement > 0.9


def test_what_the_two_have_in_common_is_told() -> None:
    picture = photograph("owl")
    found = compared(picture, picture.crop((0, 0, round(picture.width * 0.9), picture.height)))
    assert found is not None
    assert found.common == pytest.approx(0.9, abs=0.01)


def test_a_mirrored_copy_is_the_same_once_it_is_turned_round() -> None:
    picture = photograph("owl")
    one, other = (view(preview_jpeg(reduced(each))) for each in (picture, copies.mirrored(picture)))
    assert likeness(one, other) is None
    assert likeness(one, other.mirrored()) is not None


def test_other_pictures_of_a_series_are_not_the_same() -> None:
    rng = Random(1)
    place, subject = photograph("petra"), photograph("camels")
    one, other = (copies.another_of_a_series(place, subject, rng) for _ in range(2))
    assert compared(one, other) is None
    assert compared(place, one) is None
    width, height = place.size
    assert (
        compared(place.crop((0, 0, width * 6 // 10, height)), place.crop((width * 4 // 10, 0, width, height))) is None
    )


def test_pages_of_one_layout_are_not_the_same() -> None:
    assert compared(*(draw_text_page(Random(seed), (480, 640)).convert("RGB") for seed in (1, 2))) is None


def test_another_colour_is_another_picture() -> None:
    picture = photograph("owl")
    red, green, blue = picture.split()
    assert compared(picture, Image.merge("RGB", (blue, red, green))) is None


def test_blank_pictures_are_not_the_same() -> None:
    blank = Image.new("RGB", (400, 300), "white")
    assert compared(blank, blank) is None


def test_bytes_that_are_no_picture_are_told() -> None:
    for data in (b"", b"no picture"):
        with pytest.raises(UnreadablePreview):
            view(data)
