import io
import struct
import time

import pytest
from PIL import Image

from imgmine.decisions import ImageDecision
from imgmine.images.frames import MAX_FRAMES, count_frames
from imgmine.images.gate import gate
from tests.images.made_pictures import encoded, moving, photograph


def counted(payload: bytes) -> int | None:
    with Image.open(io.BytesIO(payload)) as picture:
        return count_frames(picture, payload)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
@pytest.mark.parametrize("frames", [1, 2, 50])
def test_frames_are_counted_as_pillow_counts_them(kind: str, frames: int) -> None:
    payload = moving(kind, frames)
    with Image.open(io.BytesIO(payload)) as picture:
        assert counted(payload) == picture.n_frames


def test_a_gif_with_comments_and_a_local_palette() -> None:
    frames = [photograph(number, (40, 30)).quantize(60) for number in (0, 1)]
    payload = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], comment=b"c" * 700)
    assert counted(payload) == 2


def test_a_gif_cut_short_counts_what_was_begun() -> None:
    payload = moving("GIF", 50)
    assert 10 < (counted(payload[: len(payload) // 2]) or 0) < 40


def test_a_gif_of_countless_frames_is_not_counted_to_its_end() -> None:
    head, frame = moving("GIF", 1), b"\x2c" + struct.pack("<4H", 0, 0, 1, 1) + b"\0\x02\x02\x44\x01\0"
    payload = head[:-1] + frame * (MAX_FRAMES + 1) + b";"
    assert counted(payload) is None
    endless = head[:-1] + frame[:-1] + b"\x01\x00" * 10_000_000
    before = time.process_time()
    assert counted(endless) is None
    assert time.process_time() - before < 5


def test_tiff_directories_in_a_ring_are_counted_once() -> None:
    payload = bytearray(encoded(photograph(size=(40, 30)), "TIFF"))
    (first,) = struct.unpack_from("<I", payload, 4)
    (entries,) = struct.unpack_from("<H", payload, first)
    struct.pack_into("<I", payload, first + 2 + 12 * entries, first)
    assert counted(bytes(payload)) == 1


@pytest.mark.parametrize("beyond", [1 << 62, 1 << 63, (1 << 64) - 1])
def test_a_bigtiff_that_points_beyond_all_memory_is_what_pillow_says(beyond: int) -> None:
    pixels = bytes(128 * 128 * 3)
    fields = [
        (256, 128),
        (257, 128),
        (258, 8),
        (259, 1),
        (262, 2),
        (273, 400),
        (277, 3),
        (278, 128),
        (279, len(pixels)),
    ]
    directory = b"".join(struct.pack("<HHQQ", tag, 16, 1, value) for tag, value in fields)
    head = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(fields))
    payload = (head + directory + struct.pack("<Q", beyond)).ljust(400, b"\0") + pixels
    found = gate(payload).verdict
    assert (found.decision, found.frames) == (ImageDecision.KEPT, 2)
    nowhere = payload[:8] + struct.pack("<Q", beyond) + payload[16:]
    assert gate(nowhere).verdict.decision is ImageDecision.UNDECODABLE
