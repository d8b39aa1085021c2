"""Files that are small and ask for much: each gets its verdict within the limits of a worker, which lives on."""

import struct
import zlib
from pathlib import Path

import pytest

from imgmine.images.decoder_pool import DecoderPool, PictureRequest, PictureResult
from imgmine.images.gate import Verdict
from tests.images.made_pictures import encoded, jpeg, moving, photograph, png_chunk

MEMORY = 384 << 20
BOMB = zlib.compress(bytes(256 << 20), 9)
GOOD = jpeg()


def judged(payload: bytes, folder: Path, cpu_s: float = 30.0) -> Verdict:
    """Return a worker's verdict, once it has been seen that a good picture after it is kept."""
    path = folder / "spool"
    path.write_bytes(payload + GOOD)
    requests = [PictureRequest(path, 0, len(payload)), PictureRequest(path, len(payload), len(GOOD))]
    with DecoderPool(1, memory_bytes=MEMORY, cpu_s=cpu_s) as pool:
        result, after = pool.pictures(requests)
    assert isinstance(after, PictureResult)
    assert after.verdict.decision == "kept"
    return result.verdict


def png_with(kind: bytes, data: bytes, times: int = 1) -> bytes:
    """Return a good PNG with a chunk in front of its pixels."""
    whole = encoded(photograph(size=(200, 150)), "PNG")
    at = whole.index(b"IDAT") - 4
    return whole[:at] + png_chunk(kind, data) * times + whole[at:]


@pytest.mark.parametrize(
    "payload",
    [
        png_with(b"zTXt", b"Comment\0\0" + BOMB),
        png_with(b"iTXt", b"Comment\0\1\0\0\0" + BOMB),
        png_with(b"iCCP", b"profile\0\0" + BOMB),
        png_with(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 20)), times=200),
    ],
    ids=["zTXt", "iTXt", "iCCP", "many zTXt"],
)
def test_a_chunk_that_unpacks_to_very_much_is_refused_by_pillow(payload: bytes, tmp_path: Path) -> None:
    verdict = judged(payload, tmp_path)
    assert verdict.decision == "undecodable"
    assert "MAX_TEXT" in (verdict.detail or "")


@pytest.mark.parametrize("kind", [b"tEXt", b"eXIf"])
def test_a_chunk_that_is_long_itself_is_no_harm(kind: bytes, tmp_path: Path) -> None:
    verdict = judged(png_with(kind, b"c\0" + bytes(24 << 20)), tmp_path)
    assert (verdict.decision, verdict.exif_copyright) == ("kept", None)


def gif_of(frames: int) -> bytes:
    one = b"\x21\xf9\x04\0\0\0\0\0" + b"\x2c\0\0\0\0\1\0\1\0\0" + b"\2\2L\1\0"
    return b"GIF89a" + struct.pack("<HH", 200, 200) + b"\xf0\0\0" + b"\0\0\0\xff\xff\xff" + one * frames + b";"


def apng_of(frames: int) -> bytes:
    control = struct.pack(">IIIIHHBB", 160, 140, 0, 0, 1, 10, 0, 0)
    pixels = zlib.compress(bytes((160 * 3 + 1) * 140))
    chunks = [png_chunk(b"IHDR", struct.pack(">IIBBBBB", 160, 140, 8, 2, 0, 0, 0))]
    chunks.append(png_chunk(b"acTL", struct.pack(">II", frames, 0)))
    chunks += [png_chunk(b"fcTL", struct.pack(">I", 0) + control), png_chunk(b"IDAT", pixels)]
    for number in range(1, frames):
        chunks.append(png_chunk(b"fcTL", struct.pack(">I", 2 * number - 1) + control))
        chunks.append(png_chunk(b"fdAT", struct.pack(">I", 2 * number) + pixels))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("payload", "decision", "frames"),
    [
        (gif_of(90_000), "mode", 90_000),
        (gif_of(1_000_000), "mode", None),
        (apng_of(20_000), "kept", 20_000),
        (apng_of(1).replace(struct.pack(">II", 1, 0), struct.pack(">II", 2**31 - 1, 0), 1), "undecodable", None),
        (moving("WEBP", 1000), "kept", 1000),
    ],
    ids=["GIF", "GIF beyond counting", "APNG", "APNG that lies", "WebP"],
)
def test_very_many_frames_cost_no_more_than_the_first(
    payload: bytes, decision: str, frames: int | None, tmp_path: Path
) -> None:
    verdict = judged(payload, tmp_path)
    assert (verdict.decision, verdict.frames) == (decision, frames)


def test_a_jpeg_of_endless_scans_costs_its_time_and_no_more(tmp_path: Path) -> None:
    whole = jpeg((1600, 1600), progressive=True, quality=30)
    last = whole.rindex(b"\xff\xda")
    assert judged(whole, tmp_path).decision == "kept"
    scans = (24 << 20) // len(whole[last:-2])
    payload = whole[:last] + whole[last:-2] * scans + b"\xff\xd9"
    verdict = judged(payload, tmp_path, cpu_s=0.7)
    assert (verdict.decision, verdict.detail) == ("undecodable", "not decoded in 0.7 s of processor time")
