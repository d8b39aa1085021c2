"""One still picture of a video, from a frame that is fixed by the video's own BLAKE2b.

FFmpeg does the decoding, through OpenCV: its wheel carries an FFmpeg under the LGPL, where PyAV's carries the GPL's
x264 and x265. OpenCV is imported on the first still, and for nothing else.
"""

import ctypes
import io
import math
import os
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from imgmine.errors import ImgmineError
from imgmine.images.gate import MOST_PIXELS

if TYPE_CHECKING:
    import cv2

# How much may be decoded to reach the frame, whatever the distance of the key frames: about 5 s of one core.
PIXEL_BUDGET = 1 << 30

_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm"
_FIRST_FRAMES = 64
_PNG_LEVEL = 3  # a third of the default's time, for 8% more bytes


class NoStill(ImgmineError):
    """No frame of the video could be decoded."""


class Still(NamedTuple):
    """A frame as PNG, RGB, upright as a player shows it, and its time in the video in seconds."""

    png: bytes
    frame_time: float


class _Source(io.BufferedIOBase):
    """A video as OpenCV may read it: its process dies of an exception, so a seek that cannot be answers -1, as in C.

    A broken video has FFmpeg seek to before its beginning.
    """

    def __init__(self, video: io.BufferedIOBase) -> None:
        self._video = video

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        return self._video.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return self._video.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


def chosen_frame(blake2b: bytes, frames: int, width: int, height: int) -> int:
    """Return the number of the frame that stands for a video: evenly spread over the frames, but the same each time.

    Of a long video in high resolution only the first part is drawn from, so that no choice costs more than the budget.
    """
    within_budget = max(1, PIXEL_BUDGET // (width * height))
    return int.from_bytes(blake2b[:8], "big") % max(1, min(frames, within_budget))


def still(video: io.BufferedIOBase, blake2b: bytes) -> Still:
    """Return the chosen frame; where it does not decode, one at half its number, and so on towards the first.

    The same bytes give the same PNG with the same versions of OpenCV and Pillow, whatever the processor. Raises
    `NoStill`.
    """
    capture = _opened(video)
    frames, width, height = (_whole(capture, prop) for prop in ("FRAME_COUNT", "FRAME_WIDTH", "FRAME_HEIGHT"))
    if width * height > MOST_PIXELS:
        raise NoStill(f"{width * height} pixels, over {MOST_PIXELS}")
    number = chosen_frame(blake2b, frames, width, height) if width and height else 0
    while number:
        if found := _frame_at(capture, number):
            return found
        number //= 2
        capture = _opened(video)  # a failed seek leaves the former one in an unknown state
    for _ in range(_FIRST_FRAMES):
        if found := _next_frame(capture):
            return found
    raise NoStill("no frame of the video can be decoded")


def _opened(video: io.BufferedIOBase) -> "cv2.VideoCapture":
    library = _video_library()
    video.seek(0)
    # One thread: less memory, and a broken stream cannot depend on which thread was first.
    settings = [library.CAP_PROP_N_THREADS, 1, library.CAP_PROP_HW_ACCELERATION, library.VIDEO_ACCELERATION_NONE]
    try:
        capture: cv2.VideoCapture = library.VideoCapture(_Source(video), library.CAP_FFMPEG, settings)
    except library.error as error:
        raise NoStill(f"not readable as a video: {error.err}") from error
    if not capture.isOpened():
        raise NoStill("not readable as a video")
    return capture


def _whole(capture: "cv2.VideoCapture", prop: str) -> int:
    value = capture.get(getattr(_video_library(), f"CAP_PROP_{prop}"))
    return int(value) if math.isfinite(value) and value > 0 else 0


def _frame_at(capture: "cv2.VideoCapture", number: int) -> Still | None:
    library = _video_library()
    try:
        if not capture.set(library.CAP_PROP_POS_FRAMES, number):
            return None
    except library.error:
        return None
    return _next_frame(capture)


def _next_frame(capture: "cv2.VideoCapture") -> Still | None:
    library = _video_library()
    try:
        decoded, frame = capture.read()
    except library.error:
        return None
    if not decoded or frame is None or frame.ndim != 3:
        return None
    seconds = capture.get(library.CAP_PROP_POS_MSEC) / 1000
    height, width, _ = frame.shape
    picture = Image.frombuffer("RGB", (width, height), frame.tobytes(), "raw", "BGR", 0, 1)
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=_PNG_LEVEL)
    return Still(out.getvalue(), round(seconds, 6) if math.isfinite(seconds) and seconds > 0 else 0.0)


@cache
def _video_library() -> ModuleType:
    """Import OpenCV, quiet, on one thread, and so that FFmpeg reads nothing but the video that it was given."""
    os.environ["OPENCV_LOG_LEVEL"] = "SILENT"
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"
    # A playlist would name other files and addresses for FFmpeg to open.
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = f"format_whitelist;{_FORMATS}|protocol_whitelist;none"
    import cv2

    cv2.setNumThreads(1)
    _convert_exactly(Path(cv2.__file__).parent)
    return cv2


def _convert_exactly(package: Path) -> None:
    """Make FFmpeg's conversion to RGB take its plain C path.

    Its vector code rounds otherwise, by up to 3 of 255, so that a still would depend on the processor; decoding itself
    is exact by its standards. OpenCV has no switch for it. Where OpenCV does not come from its wheel, nothing is done.
    """
    for folder in (package.parent / "opencv_python_headless.libs", package / ".dylibs"):
        for library in folder.glob("libavutil*"):
            ctypes.CDLL(str(library)).av_force_cpu_flags(0)
