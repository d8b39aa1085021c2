"""Makes the clips beside it; needs PyAV, which nothing else here does: `python make_videos.py`.

Each frame shows its own number as eight bars, the most significant bit left, white for 1, over a moving gradient.
"""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 192, 144
HERE = Path(__file__).parent


def frames(count: int) -> Iterator[np.ndarray]:
    """Yield (HEIGHT, WIDTH, 3) uint8 RGB pictures."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    for number in range(count):
        picture = np.stack([(columns + 3 * number) % 256, rows, 255 - rows], axis=-1).astype(np.uint8)
        for bit in range(8):
            picture[40:104, bit * 24 + 4 : bit * 24 + 20] = 255 * (number >> (7 - bit) & 1)
        yield picture


def make(name: str, codec: str, count: int, options: dict[str, str], container: dict[str, str] | None = None) -> None:
    """Write one clip of 10 frames a second."""
    with av.open(str(HERE / name), "w", options={"fflags": "+bitexact", **(container or {})}) as out:
        stream = out.add_stream(codec, rate=10, options={"threads": "1", **options})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in frames(count):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode())


if __name__ == "__main__":
    faststart = {"movflags": "+faststart"}
    make("b_frames.mp4", "libx264", 60, {"g": "12", "bf": "2", "crf": "30"}, faststart)
    make("one_key_frame.mp4", "libx264", 120, {"g": "1000", "bf": "0", "crf": "34"}, faststart)
    make("vp9.webm", "libvpx-vp9", 40, {"g": "10", "crf": "40", "b": "0"})
    make("vp8.webm", "libvpx", 40, {"g": "10", "crf": "40", "b": "60k"})
