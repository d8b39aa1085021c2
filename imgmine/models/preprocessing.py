"""From a picture to a model's input: the one preprocessing for training, batches, search and server.

It follows the model's card and equals the image processors of `transformers`; what the model makes of the input is not
known here.
"""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, UnidentifiedImageError

from imgmine.errors import ImgmineError
from imgmine.images.gate import FORMATS
from imgmine.models.cards import Crop, Framing, Interpolation
from imgmine.models.halving import halved_window
from imgmine.models.windowed_resize import resize_window

FILTERS = {
    Interpolation.BILINEAR: Image.Resampling.BILINEAR,
    Interpolation.BICUBIC: Image.Resampling.BICUBIC,
    Interpolation.LANCZOS: Image.Resampling.LANCZOS,
}
# A strip whose short side is enlarged to the model's would be a picture of gigabytes: where it is longer than this many
# squares, only the part that is kept is computed, which is slower for common shapes.
_LONGEST_RATIO = 16


class UnreadablePicture(ImgmineError):
    """These bytes are no picture that can be loaded whole."""


def read_picture(data: bytes, least: int | None = None) -> Image.Image:
    """Decode a picture to RGB, without applying its EXIF orientation (as previews are). Raises `UnreadablePicture`.

    With `least`, a JPEG is decoded at the smallest of its half, quarter or eighth whose sides are no shorter than that.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if least is not None:
                picture.draft("RGB", (least, least))
            picture.load()
            return picture if picture.mode == "RGB" else picture.convert("RGB")
    except UnidentifiedImageError as error:  # what it says names an object in memory
        raise UnreadablePicture("not a picture that Pillow can load: of no format that imgmine reads") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadablePicture(f"not a picture that Pillow can load: {error}") from error


def preprocess(picture: Image.Image, card: Framing, out: np.ndarray | None = None) -> np.ndarray:
    """Return a picture as the model's input: float32 (3, size, size), channels R, G, B.

    `out`, where given, is an array of that shape and type that is filled and returned.
    """
    square = np.asarray(_square(picture if picture.mode == "RGB" else picture.convert("RGB"), card))
    if out is None:
        out = np.empty((3, card.size, card.size), np.float32)
    scale, shift = _scale_and_shift(card.value_range, card.mean, card.std)
    np.multiply(square.transpose(2, 0, 1), scale, out=out)
    out += shift
    return out


@lru_cache(maxsize=8)
def _scale_and_shift(
    value_range: float, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    scale = (value_range / 255 / np.array(std)).astype(np.float32)
    shift = (-np.array(mean) / np.array(std)).astype(np.float32)
    return scale[:, None, None], shift[:, None, None]


def _square(picture: Image.Image, card: Framing) -> Image.Image:
    resample = FILTERS[card.interpolation]
    if card.crop is Crop.SQUASH:
        return picture.resize((card.size, card.size), resample)
    size, (width, height) = card.size, picture.size
    # The long side is rounded down and an odd margin is cut on the left and above, as in the models' own processors.
    if width <= height:
        new_width, new_height = card.resize, card.resize * height // width
    else:
        new_width, new_height = card.resize * width // height, card.resize
    left, top = (new_width - size) // 2, (new_height - size) // 2
    is_half = (width, height) == (2 * new_width, 2 * new_height)
    if is_half and height <= 2 * width and card.interpolation is Interpolation.BICUBIC:
        return halved_window(picture, (left, top, left + size, top + size))
    if min(width, height) < card.resize and max(new_width, new_height) > _LONGEST_RATIO * size:
        return resize_window(picture, (new_width, new_height), (left, top, size, size), card.interpolation)
    # Resizing only the wanted part, by `box`, would save a third of this, but differs by a grey level here and there.
    resized = picture.resize((new_width, new_height), resample)
    return resized.crop((left, top, left + size, top + size))
