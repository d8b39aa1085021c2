"""Every body that a record of the demo can carry, named by three words so that it can be made again, byte for byte.

How a body is framed in HTTP is in `http_heads`; which record carries which is in `plan`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from PIL import Image

from imgmine.demo import encodings
from imgmine.demo.encodings import Payload
from imgmine.demo.pictures_drawn import draw
from imgmine.demo.screens_drawn import sentence

Maker = Callable[[Image.Image, Random], Payload]

# The forms in which a picture is an original of the host.
ORIGINALS: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        encodings.jpeg,
        encodings.jpeg_exif,
        encodings.jpeg_grey,
        encodings.jpeg_cmyk,
        encodings.jpeg_small,
        encodings.jpeg_edge,
        encodings.jpeg_no_end,
        encodings.jpeg_cut,
        encodings.jpeg_cut_with_thumbnail,
        encodings.jpeg_trailing,
        encodings.png,
        encodings.png_rgba,
        encodings.png_palette,
        encodings.png_grey,
        encodings.png_small,
        encodings.png_animated,
        encodings.png_16_bit_grey,
        encodings.png_16_bit_rgb,
        encodings.png_corrupt,
        encodings.png_bad_header,
        encodings.png_bomb,
        encodings.png_large_bomb,
        encodings.png_of_503_bytes,
        encodings.gif,
        encodings.gif_still,
        encodings.gif_bomb,
        encodings.webp,
        encodings.webp_alpha,
        encodings.webp_animated,
        encodings.mp4,
        encodings.webm,
    )
}
_OTHERS: dict[str, Maker] = {
    "first_frame": encodings.first_frame,
    "lesser_mp4": encodings.lesser_mp4,
    "scaled_webp": encodings.scaled("WEBP"),
    "scaled_png": encodings.scaled("PNG"),
    **{f"thumbnail_{letter}": encodings.thumbnail(letter) for letter in encodings.THUMBNAILS},
}
# Forms that show no drawn picture: nothing is drawn for them.
_BLIND = frozenset({"mp4", "webm", "lesser_mp4", "png_bad_header", "png_bomb", "png_large_bomb", "gif_bomb"})
_NOTHING = Image.new("RGB", (1, 1))


@dataclass(frozen=True, slots=True)
class Body:
    """A body to be made: what it shows, the seed that names it among its like, and the form of its bytes."""

    subject: str
    seed: str
    form: str

    def derived(self, form: str) -> "Body":
        """Return the same picture in another form."""
        return Body(self.subject, self.seed, form)


@lru_cache(maxsize=64)
def make(body: Body, scale: float) -> Payload:
    """Return the payload of `body`; the same body gives the same bytes. `scale` enlarges pictures."""
    rng = Random(f"{body.seed}/{body.subject}/{body.form}")
    if body.form in _TEXTS:
        return Payload(_TEXTS[body.form](rng, body.seed).encode(), None, None)
    if body.form == "removed":
        return Payload(encodings.removed_picture(), "image/png", None)
    if body.form == "nothing":
        return Payload(b"", None, None)
    maker = ORIGINALS.get(body.form) or _OTHERS[body.form]
    image = _NOTHING if body.form in _BLIND else draw(body.subject, body.seed, scale)
    return maker(image, rng)


def _page(rng: Random, seed: str) -> str:
    title = sentence(rng, 4)
    scripts = "".join(
        f'<script src="https://s.imgur.com/desktop-assets/js/{rng.randbytes(10).hex()}.js" defer></script>'
        for _ in range(5)
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title} - Imgur</title>'
        f'<meta property="og:site_name" content="Imgur"><meta property="og:title" content="{title}">'
        f'<meta property="og:image" content="https://i.imgur.com/{seed}.jpg?fb">'
        '<meta property="og:type" content="article">'
        '<meta name="twitter:card" content="summary_large_image"><meta name="robots" content="noindex">'
        f"{scripts}</head>"
        f'<body><div id="root"></div><script>window.postDataJSON="{{\\"id\\":\\"{seed}\\",\\"title\\":\\"{title}\\",'
        f'\\"description\\":\\"{sentence(rng, rng.randrange(20, 160))}\\"}}"</script></body></html>\n'
    )


def _album(rng: Random, seed: str) -> str:
    items = "".join(
        f'<div class="Gallery-Content"><img alt="" src="https://i.imgur.com/{rng.randbytes(5).hex()[:7]}.png">'
        f"<p>{sentence(rng, 14)}</p></div>"
        for _ in range(rng.randrange(3, 12))
    )
    return _page(rng, seed).replace('<div id="root"></div>', f'<div id="root">{items}</div>')


def _api_answer(rng: Random, seed: str) -> str:
    media = [
        {
            "id": seed,
            "mime_type": "image/jpeg",
            "type": "image",
            "url": f"https://i.imgur.com/{seed}.jpeg",
            "ext": "jpeg",
        }
    ]
    return json.dumps(
        {"id": seed, "account_id": 0, "title": sentence(rng, 4), "view_count": rng.randrange(9000), "media": media}
    )


def _sorry(rng: Random, seed: str) -> str:
    return (
        "<!DOCTYPE html><html><head><title>Imgur: The magic of the Internet</title></head><body>"
        f"<h1>Zoinks! You've taken a wrong turn.</h1><p>{sentence(rng, 20)}</p><!-- {seed} --></body></html>\n"
    )


def _moved(rng: Random, seed: str) -> str:
    title = "302 Found"
    body = f"<body><center><h1>{title}</h1></center></body>"
    return f"<html>\r\n<head><title>{title}</title></head>\r\n{body}\r\n</html>\r\n"


_TEXTS: dict[str, Callable[[Random, str], str]] = {
    "page": _page,
    "album": _album,
    "api": _api_answer,
    "sorry": _sorry,
    "moved": _moved,
}
