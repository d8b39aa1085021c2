"""Bytes of picture and video files, sound and hostile, each with what the gate should say of it.

The expectation is written down here by whoever makes the file, never asked of imgmine's own gate; what is in the
picture is not decided here.
"""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageFilter, ImageOps

VIDEOS = Path(__file__).parent / "videos"
REMOVED_SIZE = 503


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate should say of a file; for a video, of its still. None stands for what Pillow refuses to say."""

    decision: str
    width: int | None
    height: int | None
    mode: str | None
    format: str | None
    frames: int | None = 1
    exif_copyright: str | None = None


@dataclass(frozen=True, slots=True)
class Payload:
    """The bytes of a body, their media type, and what the gate should say; None for both where they are no media."""

    body: bytes
    media_type: str | None
    gate: Gate | None


def _kept(image: Image.Image, kind: str, **more: object) -> Gate:
    gate = Gate("kept", image.width, image.height, image.mode, kind)
    return replace(gate, **more)  # type: ignore[arg-type]


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _jpeg_bytes(image: Image.Image, rng: Random, **options: object) -> bytes:
    return _saved(image, "JPEG", quality=rng.randrange(72, 93), progressive=rng.random() < 0.3, **options)


def jpeg(image: Image.Image, rng: Random) -> Payload:
    """Return a JPEG, sometimes progressive."""
    return Payload(_jpeg_bytes(image, rng), "image/jpeg", _kept(image, "JPEG"))


def jpeg_exif(image: Image.Image, rng: Random) -> Payload:
    """Return a JPEG with a camera's EXIF: a copyright and an orientation."""
    owner = (
        f"(c) {rng.choice(('Anneke Vos', 'M. Okafor', 'Studio Kestrel', 'J. Lindqvist'))} {rng.randrange(2009, 2023)}"
    )
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112], exif[0x8298] = "Demo", "Model 1", rng.choice((1, 3, 6, 8)), owner
    body = _jpeg_bytes(image, rng, exif=exif)
    return Payload(body, "image/jpeg", _kept(image, "JPEG", exif_copyright=owner))


def jpeg_grey(image: Image.Image, rng: Random) -> Payload:
    """Return a JPEG of one channel."""
    grey = image.convert("L")
    return Payload(_jpeg_bytes(grey, rng), "image/jpeg", _kept(grey, "JPEG", decision="mode"))


def jpeg_cmyk(image: Image.Image, rng: Random) -> Payload:
    """Return a JPEG of four channels, as print shops make them."""
    cmyk = image.convert("CMYK")
    return Payload(_jpeg_bytes(cmyk, rng), "image/jpeg", _kept(cmyk, "JPEG", decision="mode"))


def _small(image: Image.Image, rng: Random) -> Image.Image:
    return ImageOps.fit(image, rng.choice(((64, 64), (100, 100), (120, 90), (300, 80), (90, 400), (127, 300))))


def jpeg_small(image: Image.Image, rng: Random) -> Payload:
    """Return a JPEG with a side under 128 pixels: an avatar, a banner."""
    small = _small(image, rng)
    return Payload(_jpeg_bytes(small, rng), "image/jpeg", _kept(small, "JPEG", decision="size"))


def jpeg_edge(image: Image.Image, rng: Random) -> Payload:
    """Return a JPEG with a side of exactly 128 pixels, which passes."""
    edge = ImageOps.fit(image, (128, rng.randrange(128, 300)))
    return Payload(_jpeg_bytes(edge, rng), "image/jpeg", _kept(edge, "JPEG"))


def jpeg_no_end(image: Image.Image, rng: Random) -> Payload:
    """Return a JPEG that decodes to its last row but lost its end marker."""
    body = _jpeg_bytes(image, rng)
    return Payload(body[:-2], "image/jpeg", _kept(image, "JPEG", decision="truncated"))


def jpeg_cut(image: Image.Image, rng: Random) -> Payload:
    """Return the first part of a JPEG that the server itself held no more of."""
    body = _saved(image, "JPEG", quality=85)
    return Payload(
        body[: int(len(body) * rng.uniform(0.55, 0.9))], "image/jpeg", _kept(image, "JPEG", decision="truncated")
    )


def jpeg_cut_with_thumbnail(image: Image.Image, rng: Random) -> Payload:
    """Return a cut JPEG in whose EXIF a whole small JPEG lies: the only end marker is the small one's."""
    small = image.copy()
    small.thumbnail((96, 96))
    preview = _saved(small, "JPEG", quality=70)
    # A little-endian TIFF: an empty first directory, then a second that says where the small picture lies.
    tiff = b"II*\x00" + struct.pack("<IHIH", 8, 0, 14, 2)
    offset = 14 + 2 + 2 * 12 + 4
    tiff += (
        struct.pack("<HHII", 0x0201, 4, 1, offset)
        + struct.pack("<HHII", 0x0202, 4, 1, len(preview))
        + b"\x00" * 4
        + preview
    )
    body = _saved(image, "JPEG", quality=85, exif=b"Exif\x00\x00" + tiff)
    return Payload(body[: int(len(body) * 0.8)], "image/jpeg", _kept(image, "JPEG", decision="truncated"))


def jpeg_trailing(image: Image.Image, rng: Random) -> Payload:
    """Return a JPEG with bytes after its end marker, as some telephones write."""
    body = _jpeg_bytes(image, rng) + b"SEFH" + rng.randbytes(rng.randrange(40, 400)) + b"SEFT"
    return Payload(body, "image/jpeg", _kept(image, "JPEG"))


def png(image: Image.Image, rng: Random) -> Payload:
    """Return a PNG, RGB."""
    return Payload(_saved(image, "PNG", compress_level=rng.choice((4, 6))), "image/png", _kept(image, "PNG"))


def png_rgba(image: Image.Image, rng: Random) -> Payload:
    """Return a PNG with transparency."""
    mask = Image.new("L", image.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((4, 4, image.width - 5, image.height - 5), rng.randrange(8, 60), fill=255)
    picture = image.copy()
    picture.putalpha(mask.filter(ImageFilter.GaussianBlur(2)))
    return Payload(_saved(picture, "PNG"), "image/png", _kept(picture, "PNG", decision="mode"))


def png_palette(image: Image.Image, rng: Random) -> Payload:
    """Return a PNG with a palette."""
    picture = _with_palette(image, rng.choice((32, 64, 256)))
    return Payload(_saved(picture, "PNG"), "image/png", _kept(picture, "PNG", decision="mode"))


def png_grey(image: Image.Image, rng: Random) -> Payload:
    """Return a PNG of one channel, sometimes with transparency or with one bit a pixel."""
    picture = image.convert(rng.choice(("L", "LA", "1")))
    return Payload(_saved(picture, "PNG"), "image/png", _kept(picture, "PNG", decision="mode"))


def png_small(image: Image.Image, rng: Random) -> Payload:
    """Return a PNG with a side under 128 pixels."""
    small = _small(image, rng)
    return Payload(_saved(small, "PNG"), "image/png", _kept(small, "PNG", decision="size"))


def png_animated(image: Image.Image, rng: Random) -> Payload:
    """Return an animated PNG of three frames, RGB."""
    image = image.copy()
    image.thumbnail((320, 320))
    frames = _frames(image, 3)
    body = _saved(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=120)
    return Payload(body, "image/png", _kept(frames[0], "PNG", frames=3))


def png_16_bit_grey(image: Image.Image, rng: Random) -> Payload:
    """Return a PNG of one channel with 16 bits a pixel."""
    picture = image.convert("L").resize((240, 180))
    rows = [b"\x00" + b"".join(struct.pack(">H", value * 257) for value in row) for row in _rows(picture, 1)]
    body = png_file(240, 180, 16, 0, zlib.compress(b"".join(rows), 6))
    return Payload(body, "image/png", Gate("mode", 240, 180, "I;16", "PNG"))


def png_16_bit_rgb(image: Image.Image, rng: Random) -> Payload:
    """Return a PNG of three channels with 16 bits each, which Pillow reads as RGB."""
    picture = image.resize((240, 180))
    rows = [b"\x00" + b"".join(struct.pack(">H", value * 257) for value in row) for row in _rows(picture, 3)]
    body = png_file(240, 180, 16, 2, zlib.compress(b"".join(rows), 6))
    return Payload(body, "image/png", Gate("kept", 240, 180, "RGB", "PNG"))


def _rows(image: Image.Image, channels: int) -> list[bytes]:
    data, step = image.tobytes(), image.width * channels
    return [data[start : start + step] for start in range(0, len(data), step)]


def png_corrupt(image: Image.Image, rng: Random) -> Payload:
    """Return a PNG whose compressed pixels were overwritten in the middle, its checksums made right again."""
    picture = image.resize((240, 180))
    data = bytearray(zlib.compress(b"".join(b"\x00" + row for row in _rows(picture, 3)), 6))
    middle = len(data) // 3
    data[middle : middle + 400] = b"\xff" * 400
    return Payload(png_file(240, 180, 8, 2, bytes(data)), "image/png", Gate("undecodable", 240, 180, "RGB", "PNG"))


def png_bad_header(image: Image.Image, rng: Random) -> Payload:
    """Return a PNG whose header has a colour type that does not exist."""
    body = png_file(240, 180, 8, 7, zlib.compress(rng.randbytes(600)))
    return Payload(body, "image/png", Gate("undecodable", None, None, None, None, None))


def png_bomb(image: Image.Image, rng: Random) -> Payload:
    """Return a small PNG whose header speaks of 2.5 thousand million pixels."""
    body = png_file(50_000, 50_000, 8, 2, zlib.compress(bytes(200_000), 9))
    return Payload(body + rng.randbytes(8), "image/png", Gate("bomb", None, None, None, None, None))


def png_large_bomb(image: Image.Image, rng: Random) -> Payload:
    """Return a small PNG of 120 million pixels: too many for the gate, though Pillow only warns."""
    body = png_file(12_000, 10_000, 8, 2, zlib.compress(bytes(200_000), 9))
    return Payload(body + rng.randbytes(8), "image/png", Gate("bomb", 12_000, 10_000, "RGB", "PNG"))


def png_file(width: int, height: int, depth: int, colour_type: int, data: bytes, text: bytes = b"") -> bytes:
    """Return a PNG file around compressed rows, whatever they are; `text` goes into a tEXt chunk if there is any."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *([(b"tEXt", text)] if text else []), (b"IDAT", data), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part)) for name, part in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@lru_cache(maxsize=1)
def removed_picture() -> bytes:
    """Return the 503 bytes that stood for a removed picture: a small PNG that says so."""
    image = Image.new("L", (161, 81), 40)
    ImageDraw.Draw(image).text((6, 20), "The image you are\nrequesting does not\nexist.", fill=200)
    data = zlib.compress(b"".join(b"\x00" + bytes(v & 0xE0 for v in row[::3]) for row in _rows(image, 1)[::3]), 9)
    return _padded(png_file(54, 27, 8, 0, data), lambda text: png_file(54, 27, 8, 0, data, text))


def png_of_503_bytes(image: Image.Image, rng: Random) -> Payload:
    """Return a small picture that has, by chance, exactly as many bytes as the removed one."""
    data = zlib.compress(b"".join(b"\x00" + row for row in _rows(image.resize((9, 9)), 3)), 9)
    body = _padded(png_file(9, 9, 8, 2, data), lambda text: png_file(9, 9, 8, 2, data, text))
    return Payload(body, "image/png", Gate("size", 9, 9, "RGB", "PNG"))


def _padded(body: bytes, with_text: Callable[[bytes], bytes]) -> bytes:
    room = REMOVED_SIZE - len(body) - 12
    return with_text(b"Comment\x00".ljust(room, b".")[:room])


def gif(image: Image.Image, rng: Random) -> Payload:
    """Return an animated GIF of four frames."""
    image = image.copy()
    image.thumbnail((320, 320))
    frames = [_with_palette(frame, 64) for frame in _frames(image, 4)]
    body = _saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100, loop=0)
    return Payload(body, "image/gif", Gate("mode", image.width, image.height, "P", "GIF", frames=4))


def gif_still(image: Image.Image, rng: Random) -> Payload:
    """Return a GIF of one frame."""
    picture = _with_palette(image, 128)
    return Payload(_saved(picture, "GIF"), "image/gif", Gate("mode", image.width, image.height, "P", "GIF"))


def gif_bomb(image: Image.Image, rng: Random) -> Payload:
    """Return a GIF of a few bytes whose header speaks of four thousand million pixels."""
    size = struct.pack("<HH", 65_535, 65_535)
    body = (
        b"GIF89a"
        + size
        + b"\x80\x00\x00"
        + bytes(6)
        + b","
        + bytes(4)
        + size
        + b"\x00\x02\x02\x44\x01\x00;"
        + rng.randbytes(8)
    )
    return Payload(body, "image/gif", Gate("bomb", None, None, None, None, None))


def webp(image: Image.Image, rng: Random) -> Payload:
    """Return a WebP, RGB."""
    return Payload(_saved(image, "WEBP", quality=rng.randrange(70, 90), method=2), "image/webp", _kept(image, "WEBP"))


def webp_alpha(image: Image.Image, rng: Random) -> Payload:
    """Return a WebP with transparency."""
    picture = image.copy()
    picture.putalpha(ImageOps.invert(image.convert("L")))
    return Payload(_saved(picture, "WEBP", quality=80, method=2), "image/webp", _kept(picture, "WEBP", decision="mode"))


def webp_animated(image: Image.Image, rng: Random) -> Payload:
    """Return an animated WebP of three frames; what moves in it is transparent elsewhere, so it reads as RGBA."""
    frames = _frames(image, 3)
    body = _saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=120, quality=70, method=1)
    return Payload(body, "image/webp", Gate("mode", image.width, image.height, "RGBA", "WEBP", frames=3))


def _with_palette(image: Image.Image, colours: int) -> Image.Image:
    return image.quantize(colours, Image.Quantize.FASTOCTREE)


def _frames(image: Image.Image, count: int) -> list[Image.Image]:
    """Return a little film: the picture, and more and more of it from nearer."""
    width, height = image.size
    boxes = [(n * width / 40, n * height / 40, width - n * width / 40, height - n * height / 40) for n in range(count)]
    return [image.resize(image.size, Image.Resampling.BILINEAR, box=box) for box in boxes]


# Of each video, for the still: width, height.
_MP4 = {
    "bridge_pan": (480, 320),
    "butterfly_zoom": (400, 300),
    "coffee_zoom": (400, 400),
    "colosseum_zoom": (480, 300),
    "dandelions_pan": (384, 288),
    "dolphin_zoom": (480, 270),
    "kingfisher_pan": (480, 270),
    "kitten_zoom": (480, 270),
    "meerkats_pan": (480, 270),
    "panda_zoom": (426, 320),
    "picchu_pan": (480, 270),
    "reef_pan": (426, 240),
    "rocket_rise": (320, 480),
    "stream_pan": (384, 288),
    "sunset_zoom": (480, 320),
    "wall_pan": (480, 270),
}


@lru_cache(maxsize=16)
def _video(name: str) -> bytes:
    return (VIDEOS / name).read_bytes()


def mp4(image: Image.Image, rng: Random) -> Payload:
    """Return an H.264 film, made distinct by a box of free space at its end."""
    name = rng.choice(sorted(_MP4))
    filler = rng.randbytes(16)
    body = _video(f"{name}.mp4") + struct.pack(">I4s", 8 + len(filler), b"free") + filler
    width, height = _MP4[name]
    return Payload(body, "video/mp4", Gate("kept", width, height, "RGB", "PNG"))


def webm(image: Image.Image, rng: Random) -> Payload:
    """Return a VP8 film, made distinct by an EBML void at its end."""
    body = _video("sunset_zoom.webm") + b"\xec\x90" + rng.randbytes(16)
    return Payload(body, "video/webm", Gate("kept", 480, 320, "RGB", "PNG"))


def lesser_mp4(image: Image.Image, rng: Random) -> Payload:
    """Return the film that the host served as the low-quality copy of another."""
    body = _video("stream_pan.mp4") + struct.pack(">I4s", 16, b"free") + rng.randbytes(8)
    return Payload(body, "video/mp4", None)


def first_frame(image: Image.Image, rng: Random) -> Payload:
    """Return a JPEG that the host served beside a film."""
    small = image.copy()
    small.thumbnail((320, 320))
    return Payload(_saved(small, "JPEG", quality=75), "image/jpeg", _kept(small, "JPEG"))


# Longest side of each thumbnail of the host; those of `square` are cut, the others scaled whole.
THUMBNAILS = {"s": 90, "b": 160, "t": 160, "m": 320, "l": 640, "g": 680, "h": 1024, "r": 1280}
_SQUARE = frozenset("sb")


def thumbnail(letter: str) -> Callable[[Image.Image, Random], Payload]:
    """Return the maker of the thumbnail that a size letter names."""

    def make(image: Image.Image, rng: Random) -> Payload:
        side = THUMBNAILS[letter]
        if letter in _SQUARE:
            small = ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)
        else:
            small = image.copy()
            small.thumbnail((side, side), Image.Resampling.BILINEAR)
        return Payload(_saved(small, "JPEG", quality=70), "image/jpeg", None)

    return make


def scaled(kind: str) -> Callable[[Image.Image, Random], Payload]:
    """Return the maker of an `_d` copy, in the format `kind` ("WEBP" or "PNG")."""

    def make(image: Image.Image, rng: Random) -> Payload:
        small = image.copy()
        small.thumbnail((260, 260), Image.Resampling.BILINEAR)
        options = {"quality": 60, "method": 1} if kind == "WEBP" else {"compress_level": 1}
        return Payload(_saved(small, kind, **options), f"image/{kind.lower()}", None)

    return make
