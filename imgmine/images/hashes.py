"""Perceptual hashes: near pictures have near hashes. Exact identity is BLAKE2b's business."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

_SIDE = 64  # PDQ looks at so many rows and columns
_WAVES = 16
# Weights are whole multiples of these parts of one, and so every sum below is a whole number under 2**53: doubles hold
# it exactly, in whatever order it is added up, and the hash is the same on every processor.
_WEIGHT = 1 << 14
_GREY = 1 << 8
_WAVE = 1 << 13
_MOST_AT_ONCE = 1 << 20

_Doubles = npt.NDArray[np.float64]


class Pdq(NamedTuple):
    """A picture's PDQ hash (32 bytes, the order of its usual hexadecimal form) and its quality, 0 to 100.

    A low quality says that the picture has too little in it for the hash to mean anything.
    """

    hash: bytes
    quality: int


class Hashes(NamedTuple):
    """What is kept of a picture's hashes: its dHash, 64 bits, and its PDQ."""

    dhash: int
    pdq: Pdq

    @classmethod
    def of(cls, small: Image.Image, full_size: tuple[int, int]) -> "Hashes":
        """Return the hashes of a picture of `full_size`, by its pixels at the preview's size."""
        grey = small.convert("L")
        return cls(dhash(grey), pdq(grey, full_size))

    def plain(self) -> list[Any]:
        """Return values that JSON can hold; `from_plain` takes them."""
        return [self.dhash, self.pdq.hash.hex(), self.pdq.quality]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> "Hashes":
        """Return the hashes that `plain` gave."""
        known, hashed, quality = plain
        return cls(known, Pdq(bytes.fromhex(hashed), quality))


def dhash(picture: Image.Image) -> int:
    """Return the 64-bit difference hash (Krawetz 2013) of an RGB or L picture.

    The picture is brought to 9 × 8 grey pixels; each bit, row by row from the most significant, says whether a pixel
    is brighter than the one left of it. Large pictures are first averaged in whole blocks, to no less than six times
    that size: a third of the time, and fewer than one bit in 64 becomes another. The pipeline hashes the preview's
    pixels before they become a JPEG.
    """
    grey = picture.convert("L").resize((9, 8), Image.Resampling.LANCZOS, reducing_gap=6.0).tobytes()
    bits = 0
    for row in range(0, 72, 9):
        for column in range(row, row + 8):
            bits = bits << 1 | (grey[column + 1] > grey[column])
    return bits


def distance(one: int, other: int) -> int:
    """Return how many bits of two hashes differ, 0 to 64."""
    return (one ^ other).bit_count()


def pdq(picture: Image.Image, full_size: tuple[int, int] | None = None) -> Pdq:
    """Return the PDQ hash (Facebook 2019, "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm").

    `picture` is RGB or L, and may be smaller than the original, of which `full_size` has width and height: windows are
    those of the original, so that from the preview's pixels it is mostly bit for bit what the reference implementation
    makes of the original. Sides below 64 pixels are not looked at closely. The steps are PDQ's: grey values, averaged
    twice over windows of a 128th of each side, at 64 × 64 places; of their cosine transform the 16 × 16 lowest waves
    without the constant; a bit for each that is above their median.
    """
    grey = np.asarray(picture.convert("L"))
    height, width = grey.shape
    full_width, full_height = full_size or (width, height)
    averaged = _averaged(_averaged(grey, _windows(full_height, height)).T, _windows(full_width, width)).T
    places = np.floor(averaged / (_WEIGHT * _WEIGHT // _GREY))
    waves = np.einsum("wp,vp->wv", np.einsum("wp,pq->wq", _cosines(), places), _cosines())
    median = np.partition(waves.ravel(), _WAVES * _WAVES // 2 - 1)[_WAVES * _WAVES // 2 - 1]
    # The reference writes the highest wave first.
    return Pdq(np.packbits((waves.ravel() > median)[::-1]).tobytes(), _quality(places))


def mirrored_pdq(hashed: bytes) -> bytes:
    """Return nearly the PDQ hash of the picture as a mirror shows it: every second wave changes its sign.

    Exactly it would be compared with a median that changes a little too.
    """
    return bytes(byte ^ 0x55 for byte in hashed)


def pdq_distance(one: bytes, other: bytes) -> int:
    """Return how many bits of two PDQ hashes differ, 0 to 256."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def _quality(places: _Doubles) -> int:
    """Return how much neighbouring places differ in all, as the reference weighs it."""
    steps = sum(int(np.abs(np.trunc(np.diff(places, axis=axis) * 100 / (255 * _GREY))).sum()) for axis in (0, 1))
    return min(100, steps // 90)


class _Windows(NamedTuple):
    """Of each of the 64 places along a side: the first pixel that counts, and the weights from there on."""

    starts: npt.NDArray[np.intp]
    weights: _Doubles


def _averaged(rows: npt.NDArray[Any], windows: _Windows) -> _Doubles:
    """Return the sums of rows by their weights, one for each of the 64 places.

    Not as a product of matrices: for so little the threads that NumPy may have for those cost more than they bring.
    """
    count = windows.weights.shape[1]
    sums = np.empty((_SIDE, rows.shape[1]))
    step = max(1, _MOST_AT_ONCE // (count * rows.shape[1]))
    for start in range(0, _SIDE, step):
        part = slice(start, start + step)
        within = np.minimum(windows.starts[part, None] + np.arange(count), len(rows) - 1)
        sums[part] = np.einsum("pw,pwc->pc", windows.weights[part], rows[within].astype(np.float64))
    return sums


@lru_cache(maxsize=256)
def _windows(full: int, pixels: int) -> _Windows:
    """Return the windows along a side of `full` pixels, of which there are `pixels` now, each the mean of some of them.

    What PDQ does twice is to average over a window, which at an edge is cut. Both together are a weight for each pixel
    of the original; where pixels are fewer, each gets the weights of those that it stands for.
    """
    size = (full + 2 * _SIDE - 1) // (2 * _SIDE)
    left, right = size - (size + 2) // 2, (size + 2) // 2 - 1
    places = ((np.arange(_SIDE) + 0.5) * full / _SIDE).astype(np.intp)
    averaged = places[:, None] + np.arange(-left, right + 1)
    is_there = (averaged >= 0) & (averaged < full)
    firsts, ends = np.maximum(averaged - left, 0), np.minimum(averaged + right, full - 1) + 1
    shares = is_there / (np.maximum(ends - firsts, 1) * is_there.sum(axis=1, keepdims=True))
    starts = np.maximum(places - 2 * left, 0)
    steps = np.zeros((_SIDE, 2 * size + 1))
    rows = np.repeat(np.arange(_SIDE), size)[is_there.ravel()]
    np.add.at(steps, (rows, (firsts - starts[:, None])[is_there]), shares[is_there])
    np.add.at(steps, (rows, (ends - starts[:, None])[is_there]), -shares[is_there])
    weights = np.cumsum(steps, axis=1)
    up_to = np.concatenate([np.zeros((_SIDE, 1)), np.cumsum(weights, axis=1)], axis=1)
    smaller = starts * pixels // full
    edges = (smaller[:, None] + np.arange(2 * size * pixels // full + 3)) * (full / pixels) - starts[:, None]
    edges = np.clip(edges, 0, 2 * size)
    whole = edges.astype(np.intp)
    every = np.arange(_SIDE)[:, None]
    sums: _Doubles = up_to[every, whole] + (edges - whole) * weights[every, whole]
    return _Windows(smaller, np.rint(np.diff(sums, axis=1) * _WEIGHT))


@lru_cache(maxsize=1)
def _cosines() -> _Doubles:
    """Return the 16 lowest waves of a discrete cosine transform over 64 places, without the constant: 16 × 64."""
    waves, places = np.arange(1, _WAVES + 1)[:, None], np.arange(_SIDE)
    cosines: _Doubles = np.rint(np.sqrt(2 / _SIDE) * np.cos(np.pi / (2 * _SIDE) * waves * (2 * places + 1)) * _WAVE)
    return cosines
