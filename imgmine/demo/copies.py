"""Copies of a picture as people make them: recompressed, resized, cropped a little, mirrored, captioned.

What tests and benches plant to see whether near-duplicates are found; and what looks alike and is none.
"""

import io
from random import Random

from PIL import Image, ImageDraw, ImageOps

from imgmine.demo.screens_drawn import font, sentence


def recompressed(picture: Image.Image, quality: int) -> Image.Image:
    """Return the picture as a JPEG of this quality shows it."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    with Image.open(io.BytesIO(out.getvalue())) as copy:
        return copy.convert("RGB")


def resized(picture: Image.Image, scale: float) -> Image.Image:
    """Return the picture at `scale` times its sides."""
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)


def cropped(picture: Image.Image, share: float, rng: Random) -> Image.Image:
    """Return the picture without this share of its width and of its height."""
    width, height = round(picture.width * (1 - share)), round(picture.height * (1 - share))
    left, top = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
    return picture.crop((left, top, left + width, top + height))


def mirrored(picture: Image.Image) -> Image.Image:
    """Return the picture as a mirror shows it."""
    return ImageOps.mirror(picture)


def captioned(picture: Image.Image, rng: Random) -> Image.Image:
    """Return the picture with a line of outlined text across its top or its bottom."""
    copy = picture.copy()
    top = copy.height * rng.choice((0.03, 0.86))
    ImageDraw.Draw(copy).text(
        (copy.width * 0.05, top),
        sentence(rng, 4).upper(),
        "white",
        font(max(12, copy.width // 14)),
        stroke_width=3,
        stroke_fill="black",
    )
    return copy


def under_a_caption(picture: Image.Image, share: float, rng: Random) -> Image.Image:
    """Return the picture below a white bar with text; the bar is this share of the picture's height."""
    bar = round(picture.height * share)
    copy = Image.new("RGB", (picture.width, picture.height + bar), "white")
    copy.paste(picture, (0, bar))
    ImageDraw.Draw(copy).text((10, bar * 0.2), sentence(rng, 5), "black", font(max(12, bar // 3)))
    return copy


def another_of_a_series(picture: Image.Image, subject: Image.Image, rng: Random) -> Image.Image:
    """Return the picture with a subject somewhere in it: two of them are two pictures of one place."""
    width, height = round(picture.width * 0.45), round(picture.height * 0.45)
    mask = Image.new("L", (width, height), 0)
    ImageDraw.Draw(mask).ellipse((0, 0, width - 1, height - 1), 255)
    copy = picture.copy()
    left, top = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
    copy.paste(ImageOps.fit(subject, (width, height)), (left, top), mask)
    return copy
