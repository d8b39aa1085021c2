"""A small picture of whatever decodes, for a person to look at: of files that the gate dropped, too.

Not for models: see `previews`.
"""

import io
import warnings

from PIL import Image

from imgmine.images.gate import FORMATS, MOST_PIXELS

_QUALITY = 80
_GROUND = (128, 128, 128)


def thumbnail(payload: bytes, side: int) -> bytes | None:
    """Return a JPEG of at most `side` × `side` pixels, or None where the file is a bomb or does not decode.

    Transparent parts show grey.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(payload), formats=FORMATS) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    return None
                small = _opaque(picture)
        except MemoryError:
            raise
        except Exception:  # Pillow's readers raise nearly every type on hostile bytes
            return None
    small.thumbnail((side, side))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=_QUALITY, comment=b"")
    return out.getvalue()


def _opaque(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layered = Image.new("RGBA", picture.size, (*_GROUND, 255))
    layered.alpha_composite(picture.convert("RGBA"))
    return layered.convert("RGB")
