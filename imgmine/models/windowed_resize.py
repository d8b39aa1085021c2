"""A part of an enlarged picture, value for value as Pillow enlarges the whole, without ever having the whole.

For strips that would become gigabytes; Pillow itself is faster for anything else.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from imgmine.models.cards import Interpolation

# Pillow's weights are whole numbers of 2^-22 for pictures of 8 bits.
_PRECISION = 22


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(x)))


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5."""
    x, a = np.abs(x), -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


_KERNELS: dict[Interpolation, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    Interpolation.BILINEAR: (_triangle, 1.0),
    Interpolation.BICUBIC: (_cubic, 2.0),
    Interpolation.LANCZOS: (_lanczos, 3.0),
}


def resize_window(
    picture: Image.Image, size: tuple[int, int], window: tuple[int, int, int, int], interpolation: Interpolation
) -> Image.Image:
    """Return the `window` (left, top, width, height) of an RGB picture enlarged to `size` (width, height).

    Rows first, then columns, with whole grey levels in between, as Pillow does where both sides grow.
    """
    left, top, width, height = window
    columns, column_weights = _taps(picture.width, size[0], left, width, interpolation)
    rows, row_weights = _taps(picture.height, size[1], top, height, interpolation)
    # Only the rows and columns that any tap touches are looked at.
    part = picture.crop((int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1))
    pixels = np.asarray(part)
    pixels = _weighted(pixels.transpose(1, 0, 2), columns - columns.min(), column_weights).transpose(1, 0, 2)
    return Image.fromarray(_weighted(pixels, rows - rows.min(), row_weights))


def _taps(
    length: int, resized: int, first: int, count: int, interpolation: Interpolation
) -> tuple[np.ndarray, np.ndarray]:
    """Return the source indices and whole-number weights (count, taps) of `count` resized places from `first` on."""
    kernel, reach = _KERNELS[interpolation]
    centres = (np.arange(first, first + count) + 0.5) * (length / resized)
    least = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    end = np.minimum((centres + reach + 0.5).astype(np.int64), length)
    taps = np.arange(int((end - least).max()))
    places = least[:, None] + taps
    weights = kernel(places - centres[:, None] + 0.5)
    weights[places >= end[:, None]] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    whole = np.trunc(weights * (1 << _PRECISION) + np.copysign(0.5, weights)).astype(np.int64)
    return np.minimum(places, length - 1), whole


def _weighted(pixels: np.ndarray, places: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted sums along the first axis: uint8 (len(places), …)."""
    total = np.full((len(places), *pixels.shape[1:]), 1 << (_PRECISION - 1), np.int64)
    for tap in range(places.shape[1]):
        total += pixels[places[:, tap]] * weights[:, tap, None, None]
    return np.asarray(np.clip(total >> _PRECISION, 0, 255), np.uint8)
