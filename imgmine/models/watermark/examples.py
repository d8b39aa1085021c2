"""Examples to learn watermarks from: pieces of the demo's photographs with marks and without, and text that is none.

Which photographs are learned from and which are kept to test with is decided here, by photograph.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from PIL import Image, ImageEnhance, ImageOps

from imgmine.demo.photographs import reference_photographs
from imgmine.demo.pictures_drawn import draw, draw_meme
from imgmine.models.watermark.marks import Mark, draw_mark, fonts

_SCREENS = ("game", "website", "chat", "text", "comic")


class Part(StrEnum):
    """What an example is for. No photograph, font or text of one part is in another, but for fonts in the first two."""

    TRAINING = "training"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Example:
    """A picture as a JPEG, what it is for, and what of: `photograph`, `meme` or `screen`. None: without a mark."""

    data: bytes
    part: Part
    subject: str
    mark: Mark | None


@dataclass(frozen=True, slots=True)
class Amounts:
    """Pictures of each photograph, by part: each second one is the same as the one before it, with a mark."""

    training: int = 72
    validation: int = 16
    test: int = 24
    memes: int = 1
    screens: int = 80

    def of(self, part: Part) -> int:
        """Return the number of pictures that a photograph of this part gives."""
        return {Part.TRAINING: self.training, Part.VALIDATION: self.validation, Part.TEST: self.test}[part]


def make_examples(seed: int, amounts: Amounts) -> Iterator[Example]:
    """Yield the examples that the seed names; the first ones are of as many photographs as can be."""
    training_fonts, test_fonts = fonts()
    parts = _parts(seed)
    for turn in range(max(amounts.of(part) for part in Part)):
        for number, part in enumerate(parts):
            if turn >= amounts.of(part):
                continue
            # A picture and the one with a mark are cut alike, and compressed alike.
            rng = Random(f"watermark {seed} {number} {turn // 2}")
            picture, quality, mark = _piece(number, rng), rng.randrange(45, 96), None
            if turn % 2:
                picture, mark = draw_mark(picture, rng, test_fonts if part is Part.TEST else training_fonts)
            yield Example(_jpeg(picture, quality), part, "photograph", mark)
    for turn in range(amounts.memes):
        for number, part in enumerate(parts):
            rng = Random(f"watermark meme {seed} {number} {turn}")
            yield Example(_jpeg(draw_meme(rng, _piece(number, rng)), rng.randrange(45, 96)), part, "meme", None)
    for number in range(amounts.screens):
        rng = Random(f"watermark screen {seed} {number}")
        part = (Part.TRAINING, Part.TRAINING, Part.VALIDATION, Part.TEST)[number // len(_SCREENS) % 4]
        screen = draw(_SCREENS[number % len(_SCREENS)], f"watermark {seed} {number}", 1.4)
        yield Example(_jpeg(screen, rng.randrange(45, 96)), part, "screen", None)


def _parts(seed: int) -> list[Part]:
    """Say of each photograph what it is for: a quarter for the test, 15% for the validation."""
    count = len(reference_photographs())
    order = list(range(count))
    Random(f"watermark parts {seed}").shuffle(order)
    tests, validations = count // 4, round(count * 0.15)
    parts = [Part.TRAINING] * count
    for place, number in enumerate(order):
        if place < tests:
            parts[number] = Part.TEST
        elif place < tests + validations:
            parts[number] = Part.VALIDATION
    return parts


def _piece(number: int, rng: Random) -> Image.Image:
    """Cut a piece of a photograph at its own scale or smaller, with a short side of 256 pixels or more where it can."""
    with Image.open(reference_photographs()[number]) as image:
        source = image.convert("RGB")
    ratio = rng.choice((3 / 2, 4 / 3, 1.0, 16 / 9, 3 / 4, 2 / 3))
    share = rng.uniform(0.6, 1.0)
    width, height = min(source.width, source.height * ratio) * share, min(source.height, source.width / ratio) * share
    left, top = rng.uniform(0, source.width - width), rng.uniform(0, source.height - height)
    least = min(1.0, 256 / min(width, height))
    scale = rng.uniform(least, 1.0) if rng.random() < 0.5 else 1.0
    size = (round(width * scale), round(height * scale))
    piece = source.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    if rng.random() < 0.5:
        piece = ImageOps.mirror(piece)
    return ImageEnhance.Brightness(piece).enhance(rng.uniform(0.8, 1.2))


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()
