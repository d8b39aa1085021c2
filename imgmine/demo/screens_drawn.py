"""Drawn pictures of screens: games, chats, web pages, pages of text.

What is drawn but is no screen (comics, memes, plots, pixel art) is in `pictures_drawn`.
"""

import math
from random import Random

from PIL import Image, ImageDraw, ImageFont

_VOCABULARY = """
the a of and to in is that it was for on are with as his they at be this from have or by one had not but what
all were when we there can an your which their said if do will each about how up out them then she many some
so these would other into has more her two like him see time could no make than first been its who now people
my made over did down only way find use may water long little very after words called just where most know
archive upload album gallery image link thread post reply server patch boss level loot quest update driver
frame cable solder bread sourdough bicycle gearbox orchid kitten
"""
WORDS = tuple(_VOCABULARY.split())
NAMES = ("mira", "ovid_77", "kestrel", "tuba", "anneke", "dr_fox", "PaulE", "north", "sumi", "ilex", "bram", "zofia")
Colour = tuple[int, int, int]


def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that Pillow embeds, `size` pixels high."""
    return ImageFont.load_default(size)


def sentence(rng: Random, words: int) -> str:
    """Return a sentence of about `words` words."""
    text = " ".join(rng.choice(WORDS) for _ in range(max(1, words)))
    return text[0].upper() + text[1:] + rng.choice((".", ".", ".", "?", "!"))


def wrap(text: str, width: int) -> list[str]:
    """Break `text` into lines of at most `width` characters."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]


def gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    """Return a picture whose rows go from one colour to another."""
    ramp = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), ramp)


def draw_game(rng: Random, size: tuple[int, int]) -> Image.Image:
    """Draw a screenshot of a game seen from behind its hero: sky, hills, towers, a road, and the displays over them."""
    width, height = size
    night = rng.random() < 0.4
    sky = ((14, 18, 48), (70, 52, 96)) if night else ((72, 132, 210), (216, 226, 232))
    image = gradient(size, *sky)
    pen = ImageDraw.Draw(image)
    horizon = int(height * rng.uniform(0.42, 0.58))
    for depth in range(3):
        shade = 60 + depth * 26
        phase, step = rng.uniform(0, 6), rng.uniform(0.006, 0.02)
        ridge = [
            (x, horizon - height * 0.16 / (depth + 1) * (1 + math.sin(phase + x * step) * math.cos(x * step * 0.37)))
            for x in range(0, width + 8, 8)
        ]
        colour = (shade // 2, shade, shade // 2 + 18) if not night else (shade // 3, shade // 3, shade // 2)
        pen.polygon([(0, height), *ridge, (width, height)], fill=colour)
    for _ in range(rng.randrange(3, 9)):
        left, tall = rng.randrange(width), rng.uniform(0.1, 0.34) * height
        broad = rng.uniform(0.03, 0.09) * width
        grey = rng.randrange(40, 120)
        pen.rectangle((left, horizon - tall, left + broad, horizon + 4), fill=(grey, grey, grey + 12))
        for row in range(int(tall / 12)):
            for column in range(int(broad / 9)):
                lit = (250, 220, 130) if rng.random() < (0.5 if night else 0.15) else (grey // 2, grey // 2, grey // 2)
                x, y = left + 3 + column * 9, horizon - tall + 4 + row * 12
                pen.rectangle((x, y, x + 4, y + 5), fill=lit)
    ground = (46, 44, 50) if night else (92, 122, 66)
    pen.rectangle((0, horizon, width, height), fill=ground)
    pen.polygon(
        [(width * 0.46, horizon), (width * 0.54, horizon), (width * 0.9, height), (width * 0.1, height)],
        fill=(70, 70, 74),
    )
    for stripe in range(6):
        t, u = (stripe / 6) ** 1.7, ((stripe + 0.5) / 6) ** 1.7
        y, z = horizon + t * (height - horizon), horizon + u * (height - horizon)
        pen.polygon(
            [
                (width / 2 - 2 - 8 * t, y),
                (width / 2 + 2 + 8 * t, y),
                (width / 2 + 2 + 8 * u, z),
                (width / 2 - 2 - 8 * u, z),
            ],
            fill=(224, 214, 150),
        )
    _draw_hero(pen, rng, width, height)
    _draw_displays(pen, rng, width, height)
    return image


def _draw_hero(pen: ImageDraw.ImageDraw, rng: Random, width: int, height: int) -> None:
    x, y, tall = width * rng.uniform(0.42, 0.58), height * 0.96, height * rng.uniform(0.24, 0.36)
    coat, skin, trousers = tuple(rng.randrange(40, 220) for _ in range(3)), (214, 170, 136), (44, 46, 66)
    pen.rectangle((x - tall * 0.13, y - tall * 0.4, x - tall * 0.02, y), fill=trousers)
    pen.rectangle((x + tall * 0.02, y - tall * 0.4, x + tall * 0.13, y), fill=trousers)
    pen.rounded_rectangle((x - tall * 0.18, y - tall * 0.8, x + tall * 0.18, y - tall * 0.36), tall * 0.07, fill=coat)
    pen.line(
        (x - tall * 0.2, y - tall * 0.74, x - tall * 0.3, y - tall * 0.4), fill=coat, width=max(2, int(tall * 0.08))
    )
    pen.line(
        (x + tall * 0.2, y - tall * 0.74, x + tall * 0.34, y - tall * 0.5), fill=coat, width=max(2, int(tall * 0.08))
    )
    pen.ellipse((x - tall * 0.1, y - tall, x + tall * 0.1, y - tall * 0.79), fill=skin)
    pen.pieslice((x - tall * 0.11, y - tall * 1.02, x + tall * 0.11, y - tall * 0.8), 180, 360, fill=(50, 34, 22))


def _draw_displays(pen: ImageDraw.ImageDraw, rng: Random, width: int, height: int) -> None:
    unit = max(8, height // 28)
    for row, colour in enumerate(((200, 40, 44), (58, 110, 220), (70, 180, 80))):
        top = unit + row * unit * 1.4
        pen.rectangle((unit, top, unit + width * 0.24, top + unit * 0.9), fill=(20, 20, 20), outline=(230, 230, 230))
        pen.rectangle(
            (unit + 2, top + 2, unit + width * 0.24 * rng.uniform(0.2, 0.98), top + unit * 0.9 - 2), fill=colour
        )
    radius = height * 0.11
    x, y = width - radius - unit, radius + unit
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(34, 60, 44), outline=(236, 236, 236), width=2)
    for _ in range(6):
        a, r = rng.uniform(0, 6.3), rng.uniform(0, radius * 0.8)
        pen.ellipse(
            (x + r * math.cos(a) - 2, y + r * math.sin(a) - 2, x + r * math.cos(a) + 2, y + r * math.sin(a) + 2),
            fill=(240, 70, 60),
        )
    slots, side = rng.randrange(4, 9), height * 0.075
    left = width / 2 - slots * side / 2
    for slot in range(slots):
        box = (left + slot * side, height - side - unit * 0.6, left + (slot + 0.92) * side, height - unit * 0.6)
        pen.rectangle(box, fill=(30, 30, 34), outline=(190, 180, 150))
        pen.ellipse(
            (box[0] + 4, box[1] + 4, box[2] - 4, box[3] - 4), fill=tuple(rng.randrange(40, 240) for _ in range(3))
        )
    pen.text(
        (unit, height - unit * 3),
        f"{rng.randrange(1, 99)}/{rng.randrange(100, 400)}",
        fill=(250, 250, 250),
        font=font(unit * 1.4),
    )
    pen.text((width * 0.36, unit), sentence(rng, 4), fill=(255, 240, 190), font=font(unit * 1.1))


def draw_chat(rng: Random, size: tuple[int, int]) -> Image.Image:
    """Draw a screenshot of a chat: bubbles left and right under a bar with a name."""
    width, height = size
    dark = rng.random() < 0.5
    paper, ink = ((24, 26, 30), (232, 232, 232)) if dark else ((240, 240, 244), (22, 22, 22))
    accent = rng.choice(((52, 120, 246), (52, 168, 83), (124, 77, 255), (0, 132, 137)))
    image = Image.new("RGB", size, paper)
    pen = ImageDraw.Draw(image)
    letter = max(11, width // 28)
    y = letter * 3.6
    while y < height - letter * 3:
        mine = rng.random() < 0.5
        lines = wrap(sentence(rng, rng.randrange(2, 18)), 24)
        bubble_w = max(len(line) for line in lines) * letter * 0.52 + letter * 1.6
        bubble_h = len(lines) * letter * 1.25 + letter * 0.9
        x = width - bubble_w - letter if mine else letter
        fill = accent if mine else ((52, 54, 60) if dark else (255, 255, 255))
        pen.rounded_rectangle((x, y, x + bubble_w, y + bubble_h), letter * 0.8, fill=fill)
        for row, line in enumerate(lines):
            place = (x + letter * 0.8, y + letter * 0.4 + row * letter * 1.25)
            pen.text(place, line, fill=(255, 255, 255) if mine else ink, font=font(letter))
        y += bubble_h + letter * rng.uniform(0.4, 1.3)
    pen.rectangle((0, 0, width, letter * 3), fill=accent if rng.random() < 0.5 else paper, outline=(128, 128, 128))
    pen.ellipse(
        (letter, letter * 0.6, letter * 2.8, letter * 2.4), fill=tuple(rng.randrange(60, 220) for _ in range(3))
    )
    pen.text(
        (letter * 3.6, letter * 0.8),
        rng.choice(NAMES),
        fill=(255, 255, 255) if dark else (20, 20, 20),
        font=font(letter * 1.3),
    )
    pen.rounded_rectangle(
        (letter, height - letter * 2.4, width - letter, height - letter * 0.5), letter, outline=(128, 128, 128)
    )
    return image


def draw_website(rng: Random, size: tuple[int, int], photograph: Image.Image) -> Image.Image:
    """Draw a screenshot of a web page in a browser: tabs, address, a menu, a picture, columns of text."""
    width, height = size
    image = Image.new("RGB", size, (255, 255, 255))
    pen = ImageDraw.Draw(image)
    letter = max(9, height // 42)
    pen.rectangle((0, 0, width, letter * 4.4), fill=(222, 225, 230))
    for tab in range(rng.randrange(1, 5)):
        left = letter + tab * letter * 10
        pen.rounded_rectangle(
            (left, letter * 0.4, left + letter * 9.5, letter * 3),
            6,
            fill=(255, 255, 255) if tab == 0 else (206, 210, 216),
        )
        pen.text((left + letter * 0.6, letter * 0.7), sentence(rng, 2)[:14], fill=(60, 60, 60), font=font(letter))
    pen.rounded_rectangle(
        (letter * 5, letter * 2.4, width - letter * 2, letter * 4), letter * 0.7, fill=(255, 255, 255)
    )
    address = f"https://{rng.choice(WORDS)}-{rng.choice(WORDS)}.example/{rng.choice(WORDS)}"
    pen.text((letter * 5.8, letter * 2.5), address, fill=(90, 90, 90), font=font(letter))
    brand = tuple(rng.randrange(20, 190) for _ in range(3))
    pen.rectangle((0, letter * 4.4, width, letter * 7.4), fill=brand)
    pen.text(
        (letter * 2, letter * 4.7),
        rng.choice(WORDS).title() + rng.choice(WORDS).title(),
        fill=(255, 255, 255),
        font=font(letter * 2),
    )
    for entry in range(4):
        place = (width * 0.5 + entry * letter * 6, letter * 5.3)
        pen.text(place, rng.choice(WORDS).title(), fill=(240, 240, 240), font=font(letter))
    main = int(width * 0.64)
    hero_h = int(height * rng.uniform(0.26, 0.4))
    image.paste(photograph.resize((main - letter * 3, hero_h)), (letter * 2, int(letter * 9)))
    pen.text((letter * 2, letter * 9.6 + hero_h), sentence(rng, 6), fill=(20, 20, 20), font=font(letter * 1.7))
    y = letter * 12.4 + hero_h
    while y < height:
        pen.text(
            (letter * 2, y),
            sentence(rng, 40)[: int((main - letter * 3) / letter / 0.5)],
            fill=(70, 70, 70),
            font=font(letter),
        )
        y += letter * 1.5
    y = letter * 9
    while y < height:
        pen.rectangle(
            (main + letter, y, width - letter * 2, y + letter * 6), fill=(244, 244, 240), outline=(214, 214, 214)
        )
        for row, line in enumerate(wrap(sentence(rng, 12), max(8, int((width - main) / letter / 0.62)))[:3]):
            pen.text((main + letter * 1.6, y + letter * (0.6 + row * 1.4)), line, fill=brand, font=font(letter))
        y += letter * 7
    return image


def draw_text_page(rng: Random, size: tuple[int, int]) -> Image.Image:
    """Draw a page of text: a scanned letter, a terminal, or a post copied as a picture."""
    width, height = size
    paper, ink = rng.choice(
        (((250, 248, 240), (30, 30, 30)), ((16, 18, 16), (120, 240, 130)), ((255, 255, 255), (10, 10, 60)))
    )
    image = Image.new("RGB", size, paper)
    pen = ImageDraw.Draw(image)
    letter = max(10, min(width, height) // 32)
    margin, y = letter * 2, letter * 2.0
    columns = int((width - 2 * margin) / (letter * 0.5))
    pen.text((margin, y), sentence(rng, 4), fill=ink, font=font(letter * 1.8))
    y += letter * 3
    while y < height - letter * 2:
        for line in wrap(sentence(rng, rng.randrange(18, 60)), columns):
            if y > height - letter * 2:
                break
            pen.text((margin, y), line, fill=ink, font=font(letter))
            y += letter * 1.35
        y += letter
    return image
