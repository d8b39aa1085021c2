"""The count of frames in pictures that Pillow opens: never raises, is bounded, and comes to an end soon."""

import io
import warnings

from PIL import Image, ImageFile

from fuzz.cost import promise_cost
from fuzz.target import Target, promise
from imgmine.images.frames import MAX_FRAMES, count_frames

_SIDE = 8


def _bigtiff() -> bytes:
    size = 3 * _SIDE * _SIDE
    fields = [(256, _SIDE), (257, _SIDE), (258, 8), (259, 1), (262, 2), (273, 300), (277, 3), (278, _SIDE), (279, size)]
    words = [(43, 2), (8, 2), (0, 2), (16, 8), (len(fields), 8)]
    for tag, value in fields:
        words += [(tag, 2), (16, 2), (1, 8), (value, 8)]
    head = b"II" + b"".join(number.to_bytes(width, "little") for number, width in words)
    return head.ljust(300, b"\0") + bytes(size)


def _seeds() -> list[bytes]:
    pictures = [Image.radial_gradient("L").resize((_SIDE, _SIDE)).rotate(90 * turn) for turn in range(3)]
    made = [_bigtiff()]
    for kind in ("GIF", "TIFF"):
        for some in (pictures[:1], pictures):
            out = io.BytesIO()
            some[0].save(out, kind, save_all=True, append_images=some[1:])
            made.append(out.getvalue())
    return made


def _opened(payload: bytes) -> ImageFile.ImageFile | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Image.open(io.BytesIO(payload), formats=("GIF", "TIFF"))
        except Exception:  # hostile bytes make Pillow raise nearly anything; then there is nothing to count
            return None


def _count(payload: bytes) -> int | None:
    picture = _opened(payload)
    return 0 if picture is None else count_frames(picture, payload)


def _check(case: bytes) -> None:
    frames = _count(case)
    promise(frames is None or 0 <= frames <= MAX_FRAMES, "a count is bounded")
    promise(frames is None or frames <= len(case), "no frame takes less than a byte")
    promise_cost(case, _count)


TARGET = Target(
    "frames",
    _seeds,
    _check,
    tokens=(
        b"GIF89a",
        b"II\x2b\0\x08\0\0\0",
        b"MM\0\x2a",
        b"\x2c" + bytes(8) + b"\0",
        b"\x21\xf9\x04",
        b"\xff" * 8,
        bytes(7) + b"\x80",
    ),
    longest=2048,
)
