"""Drawing watermarks over clean photographs: texts, logos and tilings, as people put them on pictures.

Which photographs are marked, and what is learned from them, is in `examples` and `train`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps, ImageStat

_SYLLABLES = ("ka", "mi", "ro", "sen", "tal", "vor", "lu", "pix", "sho", "gra", "neo", "fi", "del", "bra", "qui", "zan")
_PHRASES = ("SAMPLE", "PREVIEW", "STOCK PHOTO", "DO NOT COPY", "All rights reserved", "PROOF", "COPYRIGHT")
_COLOURS = ((255, 255, 255), (255, 255, 255), (255, 255, 255), (0, 0, 0), (0, 0, 0), (210, 40, 40), (250, 210, 60))
_VISIBLE = 9.0
_FAINT = 0.3
_SMALL = 0.15


class MarkKind(StrEnum):
    """What a mark is."""

    TEXT = "text"
    LOGO = "logo"
    TILING = "tiling"


@dataclass(frozen=True, slots=True)
class Mark:
    """How a mark was drawn: `opacity` 0 to 1, `width` as a share of the picture's, `blur` in pixels.

    `quadrants` is how much of it lies in each quarter of the picture, in `views.quadrants`' order; they sum to 1.
    """

    kind: MarkKind
    corner: bool
    opacity: float
    width: float
    rotated: bool
    blur: float
    quadrants: tuple[float, float, float, float]

    @property
    def traits(self) -> tuple[str, ...]:
        """The groups that the mark counts in: its kind, and what makes it hard to see."""
        found = {
            "corner": self.corner,
            f"opacity below {_FAINT:g}": self.opacity < _FAINT,
            f"narrower than {_SMALL:.0%} of the picture": self.width < _SMALL,
            "rotated": self.rotated,
            "blurred": self.blur > 0,
        }
        return (self.kind.value, *(name for name, holds in found.items() if holds))


def fonts() -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the font files to train with, and others to test with: those that come with matplotlib."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    training = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "STIXGeneral")
    testing = ("DejaVuSerif-BoldItalic", "DejaVuSansMono-Bold", "STIXGeneralBol", "STIXGeneralItalic")
    return tuple(folder / f"{name}.ttf" for name in training), tuple(folder / f"{name}.ttf" for name in testing)


def draw_mark(picture: Image.Image, rng: Random, typefaces: Sequence[Path]) -> tuple[Image.Image, Mark]:
    """Return an RGB picture with one mark over it, and what the mark is. The same `rng` draws the same mark."""
    kind = rng.choice((MarkKind.TEXT, MarkKind.TEXT, MarkKind.LOGO, MarkKind.TILING))
    corner = kind is not MarkKind.TILING and rng.random() < 0.7
    opacity = rng.uniform(0.3, 0.95) if corner else rng.uniform(0.12, 0.6)
    angle = rng.choice((-45, -30, -20, 20, 30, 45)) if not corner and rng.random() < 0.6 else 0
    blur = rng.uniform(0.4, 1.1) if rng.random() < 0.2 else 0.0
    if kind is MarkKind.LOGO:
        share = rng.uniform(0.08, 0.2) if corner else rng.uniform(0.2, 0.45)
    else:
        share = rng.uniform(0.12, 0.4) if corner else rng.uniform(0.4, 0.9)
    if kind is MarkKind.TILING:
        share = rng.uniform(0.12, 0.35)
    stamp = _logo(rng, typefaces) if kind is MarkKind.LOGO else _text(rng, typefaces)
    # What is not legible at all is no mark that anybody sees, or puts there: at least 8 pixels high.
    width = max(round(share * picture.width), math.ceil(8 * stamp.width / stamp.height))
    width = min(width, picture.width)
    stamp = stamp.resize((width, max(6, round(width * stamp.height / stamp.width))), Image.Resampling.LANCZOS)
    if kind is MarkKind.TILING:
        layer = _tiled(stamp, picture.size, angle, rng)
    else:
        layer = _placed(stamp, picture.size, angle, corner, rng)
    if blur:
        layer = layer.filter(ImageFilter.GaussianBlur(blur))
    marked = _laid_over(picture, layer, opacity)
    if _contrast(picture, marked, layer) < _VISIBLE:
        inverted = ImageOps.invert(layer.convert("RGB"))
        inverted.putalpha(layer.getchannel("A"))
        marked = _laid_over(picture, inverted, opacity)
    return marked, Mark(kind, corner, opacity, width / picture.width, angle != 0, blur, _spread(layer))


def _laid_over(picture: Image.Image, layer: Image.Image, opacity: float) -> Image.Image:
    marked = picture.copy()
    alpha = layer.getchannel("A").point([round(value * opacity) for value in range(256)])
    marked.paste(layer.convert("RGB"), (0, 0), alpha)
    return marked


def _spread(layer: Image.Image) -> tuple[float, float, float, float]:
    """How much of a mark lies in each quarter of the picture."""
    (width, height), drawn = layer.size, layer.getchannel("A")
    across, down = (0, width // 2, width), (0, height // 2, height)
    found = [
        sum(ImageStat.Stat(drawn.crop((across[column], down[row], across[column + 1], down[row + 1]))).sum)
        for row in range(2)
        for column in range(2)
    ]
    first, second, third, fourth = (amount / max(1.0, sum(found)) for amount in found)
    return first, second, third, fourth


def _contrast(picture: Image.Image, marked: Image.Image, layer: Image.Image) -> float:
    """Grey levels by which the mark differs from what it covers, on average: black on black is no mark."""
    covered = layer.getchannel("A").point([0] * 128 + [255] * 128)
    return float(ImageStat.Stat(ImageChops.difference(picture, marked).convert("L"), covered).mean[0])


def _name(rng: Random) -> str:
    return "".join(rng.choice(_SYLLABLES) for _ in range(rng.randrange(2, 5)))


def _words(rng: Random) -> str:
    name = _name(rng)
    return rng.choice(
        (
            f"© {name.title()} {_name(rng).title()}",
            f"www.{name}.com",
            f"{name}.net",
            f"@{name}",
            f"{name.title()} Photography",
            f"© {rng.randrange(1998, 2024)} {name.title()}",
            name.upper(),
            rng.choice(_PHRASES),
        )
    )


def _text(rng: Random, typefaces: Sequence[Path]) -> Image.Image:
    """A line of text on nothing, 64 pixels high, some with a rim or a shadow in the opposite colour."""
    typeface = ImageFont.truetype(str(rng.choice(typefaces)), 64)
    words, colour = _words(rng), rng.choice(_COLOURS)
    other = (0, 0, 0) if sum(colour) > 300 else (255, 255, 255)
    rim = rng.choice((0, 0, 2, 3))
    left, top, right, bottom = typeface.getbbox(words, stroke_width=rim)
    stamp = Image.new("RGBA", (math.ceil(right - left) + 8, math.ceil(bottom - top) + 8), (*colour, 0))
    pen = ImageDraw.Draw(stamp)
    place = (2 - left, 2 - top)
    if not rim and rng.random() < 0.4:
        pen.text((place[0] + 3, place[1] + 3), words, (*other, 160), typeface)
    pen.text(place, words, (*colour, 255), typeface, stroke_width=rim, stroke_fill=(*other, 255) if rim else None)
    return stamp


def _logo(rng: Random, typefaces: Sequence[Path]) -> Image.Image:
    """A sign of 192 pixels: a ring, disc, shield, star or pair of bars, mostly with letters in it or beneath."""
    side, colour = 192, rng.choice(_COLOURS)
    stamp = Image.new("RGBA", (side, side), (*colour, 0))
    pen = ImageDraw.Draw(stamp)
    solid, clear = (*colour, 255), (*colour, 0)
    shape = rng.choice(("ring", "disc", "diamond", "star", "bars", "frame"))
    middle = side / 2
    if shape == "ring":
        pen.ellipse((6, 6, side - 6, side - 6), outline=solid, width=rng.randrange(6, 22))
    elif shape == "disc":
        pen.ellipse((6, 6, side - 6, side - 6), fill=solid)
    elif shape == "diamond":
        points = [(middle, 4), (side - 4, middle), (middle, side - 4), (4, middle)]
        pen.polygon(points, outline=solid, width=rng.randrange(6, 18))
    elif shape == "star":
        count, inner = rng.choice((5, 6, 8)), rng.uniform(0.4, 0.6)
        turns = [(math.pi * turn / count, 1.0 if turn % 2 == 0 else inner) for turn in range(2 * count)]
        pen.polygon(
            [(middle + 92 * far * math.sin(turn), middle - 92 * far * math.cos(turn)) for turn, far in turns],
            fill=solid,
        )
    elif shape == "bars":
        for bar in range(rng.randrange(2, 5)):
            pen.rectangle((20 + 42 * bar, rng.randrange(10, 110), 48 + 42 * bar, side - 20), fill=solid)
    else:
        pen.rounded_rectangle((8, 30, side - 8, side - 30), radius=24, outline=solid, width=rng.randrange(6, 18))
    if shape != "bars":
        letters = _name(rng)[: rng.randrange(1, 4)].upper()
        typeface = ImageFont.truetype(str(rng.choice(typefaces)), 130 // max(1, len(letters)) + 20)
        pen.text((middle, middle), letters, clear if shape in ("disc", "star") else solid, typeface, anchor="mm")
    return stamp


def _placed(stamp: Image.Image, size: tuple[int, int], angle: int, corner: bool, rng: Random) -> Image.Image:
    """The stamp in a corner (mostly one of the lower ones), or somewhere about the middle."""
    turned = stamp.rotate(angle, Image.Resampling.BICUBIC, expand=True) if angle else stamp
    room = (max(0, size[0] - turned.width), max(0, size[1] - turned.height))
    if corner:
        margins = [min(free, round(rng.uniform(0.0, 0.04) * side)) for free, side in zip(room, size, strict=True)]
        left = margins[0] if rng.random() < 0.35 else room[0] - margins[0]
        top = margins[1] if rng.random() < 0.25 else room[1] - margins[1]
    else:
        left, top = (round(free * rng.uniform(0.3, 0.7)) for free in room)
    layer = Image.new("RGBA", size, (*stamp.getpixel((0, 0))[:3], 0))  # type: ignore[index]
    layer.paste(turned, (left, top))
    return layer


def _tiled(stamp: Image.Image, size: tuple[int, int], angle: int, rng: Random) -> Image.Image:
    """The stamp over and over, in rows that are shifted against each other, the whole turned."""
    reach = math.ceil(math.hypot(*size))
    clear = (*stamp.getpixel((0, 0))[:3], 0)  # type: ignore[index]
    sheet = Image.new("RGBA", (reach, reach), clear)
    across, down = round(stamp.width * rng.uniform(1.15, 2.0)), round(stamp.height * rng.uniform(1.8, 5.0))
    for row, top in enumerate(range(0, reach, down)):
        for left in range(-(row % 2) * (across // 2), reach, across):
            sheet.paste(stamp, (left, top))
    turned = sheet.rotate(angle, Image.Resampling.BICUBIC, fillcolor=clear)
    left, top = (reach - size[0]) // 2, (reach - size[1]) // 2
    return turned.crop((left, top, left + size[0], top + size[1]))
