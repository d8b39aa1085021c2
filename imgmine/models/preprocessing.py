"""From a picture to a model's input: the one preprocessing for training, batches, search and server.

It follows the model's card; what the model makes of the input is not known here.
"""

import io

import numpy as np
from PIL import Image

from imgmine.errors import ImgmineError
from imgmine.images.gate import FORMATS
from imgmine.models.cards import Crop, Interpolation, ModelCard

_FILTERS = {
    Interpolation.BILINEAR: Image.Resampling.BILINEAR,
    Interpolation.BICUBIC: Image.Resampling.BICUBIC,
    Interpolation.LANCZOS: Image.Resampling.LANCZOS,
}


class UnreadablePicture(ImgmineError):
    """These bytes are no picture that can be loaded whole."""


def read_picture(data: bytes) -> Image.Image:
    """Decode a picture to RGB, without applying its EXIF orientation (as previews are). Raises `UnreadablePicture`."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadablePicture(f"not a picture that Pillow can load: {error}") from error


def preprocess(picture: Image.Image, card: ModelCard, out: np.ndarray | None = None) -> np.ndarray:
    """Return a picture as the model's input: float32 (3, size, size), channels R, G, B.

    `out`, where given, is an array of that shape and type that is filled and returned.
    """
    square = np.asarray(_square(picture if picture.mode == "RGB" else picture.convert("RGB"), card))
    if out is None:
        out = np.empty((3, card.size, card.size), np.float32)
    std = np.array(card.std)
    scale = (card.value_range / 255 / std).astype(np.float32)
    shift = (-np.array(card.mean) / std).astype(np.float32)
    np.multiply(square.transpose(2, 0, 1), scale[:, None, None], out=out)
    out += shift[:, None, None]
    return out


def _square(picture: Image.Image, card: ModelCard) -> Image.Image:
    resample = _FILTERS[card.interpolation]
    if card.crop is Crop.SQUASH:
        return picture.resize((card.size, card.size), resample)
    width, height = picture.size
    # The long side is rounded down and an odd margin is cut on the left and above, as in the models' own processors.
    if width <= height:
        new_width, new_height = card.resize, card.resize * height // width
    else:
        new_width, new_height = card.resize * width // height, card.resize
    left, top = (new_width - card.size) // 2, (new_height - card.size) // 2
    # Resizing only the wanted part, by `box`, would save a third of this, but differs by a grey level here and there.
    resized = picture.resize((new_width, new_height), resample)
    return resized.crop((left, top, left + card.size, top + card.size))
