"""The photographs that the demo ships (see photographs/CREDITS.md) and pictures cut from them.

What is drawn rather than photographed is in `screens_drawn` and `pictures_drawn`; bytes of file formats in `encodings`.
"""

from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

FOLDER = Path(__file__).parent / "photographs"


def reference_photographs() -> list[Path]:
    """Return the photographs of the demo as files (RGB JPEG, at most 896 pixels on a side), in order of their names."""
    return sorted(FOLDER.glob("*.jpg"))


@lru_cache(maxsize=12)
def _photograph(index: int) -> Image.Image:
    with Image.open(reference_photographs()[index]) as image:
        return image.convert("RGB")


@lru_cache(maxsize=1)
def _grain() -> np.ndarray:
    """Grain of a camera sensor, 2048 by 2048, from which each picture takes a piece."""
    return np.random.default_rng(20230427).normal(0.0, 5.0, (2048, 2048)).astype(np.int16)


def photograph_size(rng: Random, scale: float) -> tuple[int, int]:
    """Return a width and height as cameras and telephones make them; `scale` 1 gives small pictures."""
    long_side = int(rng.choice([320, 400, 480, 560, 640]) * scale)
    ratio = rng.choice([3 / 4, 2 / 3, 9 / 16, 1.0, 0.8])
    short_side = int(long_side * ratio)
    return (long_side, short_side) if rng.random() < 0.65 else (short_side, long_side)


def take_photograph(rng: Random, size: tuple[int, int], *, grain: bool) -> Image.Image:
    """Cut one photograph of `size` from those that the demo ships.

    Each call cuts elsewhere, may mirror, and changes light and colour a little. With `grain` the result is as hard to
    compress as what a camera writes, which a photograph that was enlarged is not.
    """
    source = _photograph(rng.randrange(len(reference_photographs())))
    ratio = size[0] / size[1]
    share = rng.uniform(0.6, 1.0)
    width, height = min(source.width, source.height * ratio) * share, min(source.height, source.width / ratio) * share
    left, top = rng.uniform(0, source.width - width), rng.uniform(0, source.height - height)
    image = source.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.85, 1.15))
    image = ImageEnhance.Color(image).enhance(rng.uniform(0.8, 1.2))
    return _grained(image, rng) if grain else image


def _grained(image: Image.Image, rng: Random) -> Image.Image:
    field = _grain()
    top, left = rng.randrange(field.shape[0]), rng.randrange(field.shape[1])
    rows = (np.arange(image.height) + top) % field.shape[0]
    columns = (np.arange(image.width) + left) % field.shape[1]
    pixels = np.asarray(image, dtype=np.int16) + field[np.ix_(rows, columns)][:, :, None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")
