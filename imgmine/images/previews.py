"""The preview: the picture that models, galleries and hashes read instead of decoding the original again.

448 pixels are twice what most models take: from 256, EfficientNet-Lite0's vectors are further from the originals' than
is wanted (`bench/previews.py`). Orientation and colour profile are as stored; nothing of the original's metadata is in
it.
"""

import io

from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer
from PIL import Image

SHORT_SIDE = 448
LONG_SIDE = 4096
QUALITY = 90

# Catmull and Rom's cubic is what Pillow calls bicubic.
BICUBIC = ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.catmull_rom), use_alpha=False)


def preview_size(width: int, height: int) -> tuple[int, int]:
    """Return width and height of the preview: 448 pixels on the short side, never more than the picture has.

    A strip whose long side would pass 4096 pixels is made smaller, so that a preview stays small and fits a JPEG. What
    is made smaller has even sides, rounded down: half of it has the size that a model makes of the original.
    """
    short, long = min(width, height), max(width, height)
    if short <= SHORT_SIDE and long <= LONG_SIDE:
        return width, height
    most, side = (SHORT_SIDE, short) if SHORT_SIDE * long <= LONG_SIDE * short else (LONG_SIDE, long)
    return max(1, width * most // (2 * side) * 2), max(1, height * most // (2 * side) * 2)


def reduced(picture: Image.Image, full_size: tuple[int, int] | None = None) -> Image.Image:
    """Return an RGB picture at its preview's size: bicubic, over all of its pixels.

    `full_size` is the size of the picture in full, where it was decoded smaller. The bytes are the same with AVX2,
    with SSE4.1, and with neither; they are 56 dB from Pillow's bicubic resize, which takes eight times as long.
    """
    size = preview_size(*(full_size or picture.size))
    if size == picture.size:
        return picture
    small = Image.new("RGB", size)
    Resizer().resize_pil(picture, small, BICUBIC)
    return small


def preview_jpeg(picture: Image.Image) -> bytes:
    """Return a `reduced` picture as a JPEG (quality 90)."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY, comment=b"")  # Pillow would write the original's comment again
    return out.getvalue()
