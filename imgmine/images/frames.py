"""How many frames a picture has, counted in its container without decoding any.

Every count is bounded: a hostile GIF or TIFF may claim millions of frames, or chain them in a ring.
"""

import struct

from PIL import ImageFile

MAX_FRAMES = 100_000

_MAX_GIF_BLOCKS = 2_000_000  # a third of a second


def count_frames(picture: ImageFile.ImageFile, payload: bytes) -> int | None:
    """Return the number of frames of an opened picture; None where there are more than the bounds allow to count.

    A GIF cut short counts the frames that were begun. Whatever the bytes, nothing is raised.
    """
    if picture.format == "GIF":
        frames = _gif_frames(payload)
    elif picture.format == "TIFF":
        frames = _tiff_frames(payload)
    else:
        frames = getattr(picture, "n_frames", 1)  # these formats state it in their header, read when opened
    return frames if frames is not None and frames <= MAX_FRAMES else None


def _gif_frames(payload: bytes) -> int | None:
    end = len(payload)
    frames = 0
    steps = _MAX_GIF_BLOCKS
    at = 13 + _color_table(payload[10])
    while at < end:
        kind = payload[at]
        if kind == 0x3B:
            break
        if kind == 0x2C:
            frames += 1
            if at + 9 >= end:
                break
            at += 11 + _color_table(payload[at + 9])
        elif kind == 0x21:
            at += 2
        else:
            at += 1
            steps -= 1
            continue
        while at < end and payload[at] and steps:
            at += payload[at] + 1
            steps -= 1
        at += 1
        steps -= 1
        if steps <= 0:
            return None
    return frames


def _color_table(flags: int) -> int:
    """Return the bytes of the table that follows a header with these packed fields."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _tiff_frames(payload: bytes) -> int | None:
    order = "<" if payload[:2] == b"II" else ">"
    big = 43 in payload[2:4]
    count, pointer, entry, first = ("Q", "Q", 20, 8) if big else ("H", "I", 12, 4)
    seen: set[int] = set()
    try:
        (at,) = struct.unpack_from(order + pointer, payload, first)
        while at and at not in seen:
            seen.add(at)
            if len(seen) > MAX_FRAMES:
                return None
            (entries,) = struct.unpack_from(order + count, payload, at)
            (at,) = struct.unpack_from(order + pointer, payload, at + struct.calcsize(order + count) + entries * entry)
    except (struct.error, OverflowError):  # the latter for an offset in a BigTIFF that no memory has
        pass  # the chain leaves the file: what was found until then counts
    return len(seen)
