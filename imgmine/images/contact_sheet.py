"""Contact sheets: many small pictures and their captions in one, small enough to stand in a page's metadata.

Which pictures are shown is chosen in `samples`.
"""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

MOST_BYTES = 45_000

_QUALITIES = (75, 60, 45, 30, 15)
_GAP = 4
_CAPTION = 14
_FONT_SIZE = 10
_PAPER = (250, 250, 250)
_INK = (60, 60, 60)
_EMPTY = (225, 225, 225)


def contact_sheet(pictures: Sequence[tuple[bytes | None, str]], columns: int = 8, cell: int = 96) -> bytes:
    """Return a WebP of at most 45,000 bytes with the pictures in rows of `columns`, each above its caption.

    A picture is the bytes of an image, which is fitted into `cell` × `cell` pixels; a crossed cell stands for None and
    for what does not decode. Captions are best in ASCII: the font, Pillow's own, has little more. Too large a sheet is
    compressed more, and then made smaller. Raises `ValueError` where there is no picture.
    """
    if not pictures:
        raise ValueError("a contact sheet of no pictures")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    width, height = cell + _GAP, cell + _GAP + _CAPTION
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_SIZE)
    for number, (payload, caption) in enumerate(pictures):
        left, top = number % columns * width + _GAP, number // columns * height + _GAP
        small = _fitted(payload, cell)
        if small is None:
            _cross(draw, left, top, cell)
        else:
            sheet.paste(small, (left + (cell - small.width) // 2, top + (cell - small.height) // 2))
        draw.text((left, top + cell + 1), _cut(caption, font, cell), _INK, font)
    return _encoded(sheet)


def _fitted(payload: bytes | None, cell: int) -> Image.Image | None:
    if payload is None:
        return None
    try:
        with Image.open(io.BytesIO(payload), formats=("JPEG", "PNG")) as picture:
            picture.draft("RGB", (cell, cell))
            small = picture.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return None
    small.thumbnail((cell, cell))
    return small


def _cross(draw: ImageDraw.ImageDraw, left: int, top: int, cell: int) -> None:
    right, bottom = left + cell - 1, top + cell - 1
    draw.rectangle((left, top, right, bottom), fill=_EMPTY)
    draw.line((left, top, right, bottom), _PAPER, 2)
    draw.line((left, bottom, right, top), _PAPER, 2)


def _cut(caption: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont", width: int) -> str:
    if font.getlength(caption) <= width:
        return caption
    while caption and font.getlength(caption + "…") > width:
        caption = caption[:-1]
    return caption + "…"


def _encoded(sheet: Image.Image) -> bytes:
    while True:
        for quality in _QUALITIES:
            out = io.BytesIO()
            sheet.save(out, "WEBP", quality=quality, method=6)
            if out.tell() <= MOST_BYTES:
                return out.getvalue()
        sheet = sheet.resize((max(1, sheet.width * 3 // 4), max(1, sheet.height * 3 // 4)))
