"""Perceptual hashes: near pictures have near hashes. Exact identity is BLAKE2b's business."""

from PIL import Image


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
