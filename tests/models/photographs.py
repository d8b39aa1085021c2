"""Real photographs that scikit-learn and scikit-image ship in their wheels, as pictures and as previews."""

from functools import cache
from pathlib import Path

import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_images

from imgmine.images.previews import preview_jpeg, reduced

_NAMES = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png", "hubble_deep_field.jpg")


@cache
def photographs() -> dict[str, Image.Image]:
    folder = Path(skimage.data.__file__).parent
    shipped = {name.partition(".")[0]: Image.open(folder / name).convert("RGB") for name in _NAMES}
    samples = load_sample_images()
    return shipped | {
        Path(name).stem: Image.fromarray(pixels) for name, pixels in zip(samples.filenames, samples.images, strict=True)
    }


def preview(picture: Image.Image) -> bytes:
    return preview_jpeg(reduced(picture))


def left_and_right(picture: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Two crops of one photograph that share half of it."""
    width, height = picture.size
    part = width * 2 // 3
    return picture.crop((0, 0, part, height)), picture.crop((width - part, 0, width, height))
