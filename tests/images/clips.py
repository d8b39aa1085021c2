"""Tiny videos, made by OpenCV: a few frames of 32 × 32 pixels in each container that it writes."""

import tempfile
from functools import cache
from pathlib import Path

import cv2
import numpy as np

# Containers, and codecs as OpenCV calls them.
SHAPES = (("mp4", "mp4v"), ("mov", "mp4v"), ("mkv", "mp4v"), ("mkv", "MJPG"), ("webm", "VP80"), ("webm", "VP90"))
_SIDE = 32


@cache
def tiny_clip(container: str, codec: str, frames: int) -> bytes:
    """Return a clip of 10 frames a second."""
    rows, columns = np.mgrid[0:_SIDE, 0:_SIDE]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip.{container}"
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 10, (_SIDE, _SIDE))
        if not writer.isOpened():
            raise OSError(f"OpenCV does not write {codec} into {container}.")
        for number in range(frames):
            channels = [(columns * 8 + number * 40) % 256, rows * 8, (rows + columns) * 4]
            writer.write(np.stack(channels, axis=-1).astype(np.uint8))
        writer.release()
        return path.read_bytes()
