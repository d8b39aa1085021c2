"""Pictures that the tests of `imgmine.images` are made of: photographs, drawn ones, and broken ones."""

import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images


@cache
def photograph(number: int = 0, size: tuple[int, int] = (640, 427)) -> Image.Image:
    """Return one of scikit-learn's two photographs. Not to be changed in place."""
    return Image.fromarray(load_sample_images().images[number]).resize(size)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def jpeg(size: tuple[int, int] = (640, 427), **options: Any) -> bytes:
    return encoded(photograph(size=size), "JPEG", **options)


def noise(size: tuple[int, int]) -> Image.Image:
    """Return a picture that hardly compresses."""
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def moving(kind: str, frames: int, **options: Any) -> bytes:
    pictures = [Image.new("RGB", (160, 140), (number * 5 % 256, 40, 90)) for number in range(frames)]
    return encoded(pictures[0], kind, save_all=True, append_images=pictures[1:], **options)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, pixels: bytes = b"") -> bytes:
    """Return an RGB PNG whose header claims this size, whatever pixels follow."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(pixels))
        + png_chunk(b"IEND", b"")
    )


def webp_of(width: int, height: int) -> bytes:
    """Return a WebP whose canvas claims this size, with one lossless pixel in it."""
    canvas = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", len(canvas)) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body
