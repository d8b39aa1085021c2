"""Drawn pictures that are no screens (comics, memes, plots, pixel art), and the list of all subjects of the demo.

How a picture becomes bytes is in `encodings`; which archive holds which picture is in `plan`.
"""

import math
from functools import lru_cache
from random import Random

from PIL import Image, ImageDraw

from imgmine.demo.photographs import photograph_size, take_photograph
from imgmine.demo.screens_drawn import draw_chat, draw_game, draw_text_page, draw_website, font, sentence, wrap

# Shares of what people put on an image host: photographs first, then screens, then what was drawn.
SUBJECTS: dict[str, float] = {
    "photograph": 0.56,
    "game": 0.12,
    "website": 0.06,
    "chat": 0.06,
    "meme": 0.08,
    "comic": 0.04,
    "text": 0.04,
    "plot": 0.02,
    "pixel_art": 0.02,
}


@lru_cache(maxsize=4)
def draw(subject: str, seed: str, scale: float) -> Image.Image:
    """Return the picture of `subject` that `seed` names, RGB; do not change it, the next caller gets the same object.

    `scale` 1 gives sides of 256 to 640 pixels; larger scales give more, and photographs the grain of a camera.
    """
    rng = Random(f"{seed}/{subject}")
    if subject == "photograph":
        return take_photograph(rng, photograph_size(rng, scale), grain=scale > 1.5)
    if subject == "meme":
        return draw_meme(rng, take_photograph(rng, photograph_size(rng, scale), grain=scale > 1.5))
    size = _screen_size(rng, subject, scale)
    if subject == "game":
        return draw_game(rng, size)
    if subject == "chat":
        return draw_chat(rng, size)
    if subject == "website":
        return draw_website(rng, size, take_photograph(rng, (400, 240), grain=False))
    if subject == "text":
        return draw_text_page(rng, size)
    if subject == "comic":
        return draw_comic(rng, size)
    if subject == "plot":
        return draw_plot(rng, size)
    if subject == "pixel_art":
        return draw_pixel_art(rng, size)
    raise ValueError(f"no subject called {subject!r}; there are {', '.join(SUBJECTS)}")


def _screen_size(rng: Random, subject: str, scale: float) -> tuple[int, int]:
    width, height = {
        "game": (640, 360),
        "website": (600, 420),
        "chat": (300, 533),
        "text": (420, 480),
        "comic": (600, 300),
        "plot": (480, 360),
        "pixel_art": (256, 256),
    }[subject]
    factor = scale * rng.choice((0.8, 0.9, 1.0))
    return int(width * factor), int(height * factor)


def draw_meme(rng: Random, photograph: Image.Image) -> Image.Image:
    """Put white capitals with a black rim over and under a photograph."""
    image = photograph.copy()
    pen = ImageDraw.Draw(image)
    letter = image.width / 13
    for at_top in (True, False):
        lines = wrap(sentence(rng, rng.randrange(3, 7)).upper(), 18)
        y = letter * 0.3 if at_top else image.height - letter * (1.25 * len(lines) + 0.3)
        for line in lines:
            place = (image.width / 2, y)
            pen.text(
                place,
                line,
                fill="white",
                font=font(letter),
                anchor="ma",
                stroke_width=max(1, int(letter / 11)),
                stroke_fill="black",
            )
            y += letter * 1.25
    return image


def draw_comic(rng: Random, size: tuple[int, int]) -> Image.Image:
    """Draw a strip of panels in which stick people talk."""
    width, height = size
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    panels = rng.choice((2, 3, 3, 4))
    gap, letter = 8, max(10, height // 22)
    panel_w = (width - gap * (panels + 1)) / panels
    mood = tuple(rng.randrange(170, 250) for _ in range(3))
    for panel in range(panels):
        left, top = gap + panel * (panel_w + gap), gap
        right, bottom = left + panel_w, height - gap
        pen.rectangle(
            (left, top, right, bottom), fill=mood if rng.random() < 0.5 else "white", outline="black", width=3
        )
        pen.line((left, bottom - height * 0.12, right, bottom - height * 0.12), fill="black", width=2)
        for who in range(rng.choice((1, 2, 2))):
            x = left + panel_w * (0.3 + 0.4 * who)
            _draw_stick_person(pen, rng, x, bottom - height * 0.12, height * rng.uniform(0.3, 0.4))
        lines = wrap(sentence(rng, rng.randrange(4, 10)), max(8, int(panel_w / letter / 0.58)))
        box = (left + 6, top + 6, right - 6, top + 12 + len(lines) * letter * 1.2)
        pen.rounded_rectangle(box, 10, fill="white", outline="black", width=2)
        pen.line((left + panel_w * 0.4, box[3], left + panel_w * 0.34, box[3] + letter * 1.4), fill="black", width=2)
        for row, line in enumerate(lines):
            pen.text(
                (left + panel_w / 2, top + 8 + row * letter * 1.2), line, fill="black", font=font(letter), anchor="ma"
            )
    return image


def _draw_stick_person(pen: ImageDraw.ImageDraw, rng: Random, x: float, y: float, tall: float) -> None:
    head, hip = tall * 0.14, y - tall * 0.4
    shirt = tuple(rng.randrange(30, 230) for _ in range(3))
    pen.ellipse((x - head, y - tall, x + head, y - tall + 2 * head), fill=(250, 224, 196), outline="black", width=3)
    pen.polygon([(x, y - tall + 2 * head), (x - head * 1.2, hip), (x + head * 1.2, hip)], fill=shirt, outline="black")
    for side in (-1, 1):
        pen.line((x, hip, x + side * tall * 0.12, y), fill="black", width=3)
        pen.line(
            (x, y - tall * 0.64, x + side * tall * rng.uniform(0.14, 0.26), y - tall * rng.uniform(0.4, 0.8)),
            fill="black",
            width=3,
        )
        pen.ellipse(
            (x + side * head * 0.4 - 2, y - tall + head * 0.8, x + side * head * 0.4 + 2, y - tall + head * 0.8 + 4),
            fill="black",
        )


def draw_plot(rng: Random, size: tuple[int, int]) -> Image.Image:
    """Draw a diagram with axes: curves, bars or points, and a legend."""
    width, height = size
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    left, top, right, bottom = width * 0.12, height * 0.12, width * 0.95, height * 0.86
    small = font(max(9, height // 34))
    for tick in range(6):
        y = bottom - (bottom - top) * tick / 5
        pen.line((left, y, right, y), fill=(224, 224, 224))
        pen.text((left - 6, y), str(tick * 20), fill="black", font=small, anchor="rm")
        pen.text(
            (left + (right - left) * tick / 5, bottom + 6), str(2018 + tick), fill="black", font=small, anchor="ma"
        )
    kind = rng.choice(("curves", "bars", "points"))
    for series, colour in enumerate(((31, 119, 180), (255, 127, 14), (44, 160, 44))):
        level, sway, phase = rng.uniform(0.2, 0.8), rng.uniform(0.05, 0.2), rng.uniform(0, 6)
        values = [
            min(1.0, max(0.02, level + sway * math.sin(phase + i / 3) + rng.uniform(-0.05, 0.05))) for i in range(24)
        ]
        points = [(left + (right - left) * i / 23, bottom - (bottom - top) * v) for i, v in enumerate(values)]
        if kind == "curves":
            pen.line(points, fill=colour, width=3)
        elif kind == "points":
            for x, y in points:
                pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour)
        else:
            for x, y in points[series::4]:
                pen.rectangle((x, y, x + (right - left) / 28, bottom), fill=colour)
        pen.text((left + 10 + series * width * 0.25, top - 4), sentence(rng, 1), fill=colour, font=small, anchor="ls")
    pen.line((left, top, left, bottom, right, bottom), fill="black", width=2)
    pen.text((width / 2, height * 0.02), sentence(rng, 4), fill="black", font=font(max(11, height // 24)), anchor="ma")
    return image


def draw_pixel_art(rng: Random, size: tuple[int, int]) -> Image.Image:
    """Draw a mirrored creature of a few large pixels, as an avatar."""
    cells = rng.choice((12, 16, 20))
    colours = [tuple(rng.randrange(256) for _ in range(3)) for _ in range(4)]
    ground = tuple(rng.randrange(256) for _ in range(3))
    small = Image.new("RGB", (cells, cells), ground)
    for y in range(1, cells - 1):
        for x in range(cells // 2):
            centre = 1 - math.hypot((x - cells / 2) / cells, (y - cells / 2) / cells) * 1.6
            if rng.random() < centre:
                colour = rng.choice(colours)
                small.putpixel((x, y), colour)
                small.putpixel((cells - 1 - x, y), colour)
    for side in (cells // 2 - 3, cells // 2 + 2):
        small.putpixel((side, cells // 3), (255, 255, 255))
    return small.resize(size, Image.Resampling.NEAREST)
