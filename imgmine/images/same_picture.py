"""Whether two previews show the same picture: recompressed, resized, cropped a little, captioned.

One is laid onto the other by what features they have in common, and compared block by block. Mirrored copies are the
caller's to turn round; which pairs are worth the time is not decided here.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from imgmine.errors import ImgmineError

CODE_VERSION = "1"

# Previews are compared at this short side, in pixels; of features there are so many, of at least this contrast.
_SHORT = 192
_LONG = 768
_FEATURES = 500
_CORNER = 10
_EDGE = 15

# Of registration: Lowe's ratio of the best match to the second, pixels within which a match counts, how many must, and
# what the transformation may be. SIFT finds no more copies of the planted set, and takes twice the time in all.
_RATIO = 0.8
_PIXELS = 3.0
_LEAST_MATCHES = 12
_MOST_DEGREES = 3.0
LEAST_COMMON = 0.75
"""The share of either picture that must be in the other one: 10% off both sides leave 0.81."""

# Of blocks, in pixels, grey levels, and as correlation coefficients. Of planted copies 97% of the blocks and more
# agree, of a place with and without a thing in it up to 92%.
_BLOCK = 16
_TEXTURED = 5.0
_LIKE = 0.7
_LEAST_BLOCKS = 12
_LEAST_AGREEMENT = 0.95
_CAPTION_ROWS = 0.25
_MOST_CHROMA = 12.0

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]


class UnreadablePreview(ImgmineError):
    """A preview's bytes are no picture."""


class Likeness(NamedTuple):
    """What two pictures of the same have in common.

    `agreement` is the share of blocks that agree, without the rows that a caption may take; `common` the share of
    either picture that is in the other, the smaller one.
    """

    agreement: float
    common: float


@dataclass(frozen=True)
class View:
    """A picture as it is compared: BGR, and its features' places (n, 2) and ORB descriptors (Rublee 2011) (n, 32)."""

    pixels: Pixels
    places: Plane
    descriptors: Pixels | None

    def mirrored(self) -> "View":
        """Return the picture as a mirror shows it."""
        return _view(np.ascontiguousarray(self.pixels[:, ::-1]))


def view(preview: bytes) -> View:
    """Return an encoded preview as it is compared. Raises `UnreadablePreview`."""
    pixels = cv2.imdecode(np.frombuffer(preview, np.uint8), cv2.IMREAD_COLOR) if preview else None
    if pixels is None:
        raise UnreadablePreview(f"{len(preview)} bytes that are no picture")
    height, width = pixels.shape[:2]
    scale = min(_SHORT / min(height, width), _LONG / max(height, width))
    size = (max(_BLOCK, round(width * scale)), max(_BLOCK, round(height * scale)))
    return _view(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))


def _view(pixels: Any) -> View:
    detector = cv2.ORB.create(nfeatures=_FEATURES, edgeThreshold=_EDGE, fastThreshold=_CORNER)
    points, descriptors = detector.detectAndCompute(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), None)
    places = np.array([point.pt for point in points], np.float32).reshape(-1, 2)
    return View(pixels, places, descriptors)


def likeness(one: View, other: View) -> Likeness | None:
    """Return what two pictures have in common where they are the same picture, else None.

    The same pair in the same order gives the same answer. Pictures with little in them are never the same: there is
    nothing to tell by.
    """
    onto = _registration(one, other)
    if onto is None:
        return None
    height, width = one.pixels.shape[:2]
    laid = cv2.warpAffine(other.pixels, onto, (width, height), flags=cv2.INTER_LINEAR)
    whole = np.ones(other.pixels.shape[:2], np.float32)
    covered = cv2.warpAffine(whole, onto, (width, height), flags=cv2.INTER_NEAREST)
    scale = float(np.hypot(onto[0, 0], onto[1, 0]))
    common = min(float(covered.mean()), float(covered.sum()) / max(1.0, whole.size * scale * scale))
    if common < LEAST_COMMON:
        return None
    agreement = _agreement(one.pixels, laid, covered)
    return None if agreement is None or agreement < _LEAST_AGREEMENT else Likeness(agreement, min(1.0, common))


def _registration(one: View, other: View) -> npt.NDArray[np.float64] | None:
    """Return the (2, 3) similarity that lays `other` onto `one`, where enough matches agree on one without a turn."""
    if one.descriptors is None or other.descriptors is None or min(len(one.places), len(other.places)) < 2:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(other.descriptors, one.descriptors, k=2)
    clear = [(best.queryIdx, best.trainIdx) for best, second in pairs if best.distance < _RATIO * second.distance]
    if len(clear) < _LEAST_MATCHES:
        return None
    theirs, ours = np.array(clear).T
    onto, inliers = cv2.estimateAffinePartial2D(
        other.places[theirs], one.places[ours], method=cv2.RANSAC, ransacReprojThreshold=_PIXELS
    )
    if onto is None:
        return None
    # Several features at one place are one witness; a degenerate fit gathers many at a point.
    witnesses = len(np.unique(np.round(one.places[ours[inliers.ravel() > 0]] / _PIXELS), axis=0))
    scale = np.hypot(onto[0, 0], onto[1, 0])
    turned = abs(np.degrees(np.arctan2(onto[1, 0], onto[0, 0])))
    if witnesses < _LEAST_MATCHES or turned > _MOST_DEGREES or not 1 / 8 < scale < 8:
        return None
    return np.asarray(onto, np.float64)


def _agreement(one: Any, laid: Any, covered: Any) -> float | None:
    """Return the share of the blocks with something in them that correlate, or None where the pictures differ in kind.

    A quarter of the rows of blocks, those that agree least, may be captions and does not count.
    """
    ours, theirs = (cv2.cvtColor(pixels, cv2.COLOR_BGR2YCrCb).astype(np.float32) for pixels in (one, laid))
    inside = _blocks(covered) > 0.999
    if not inside.any():
        return None
    chroma = sum(np.abs(_blocks(ours[:, :, plane]) - _blocks(theirs[:, :, plane])) for plane in (1, 2))
    if float(np.median(chroma[inside])) > _MOST_CHROMA:
        return None
    a, b = (cv2.GaussianBlur(picture[:, :, 0], (0, 0), 1.0) for picture in (ours, theirs))
    mean_a, mean_b = _blocks(a), _blocks(b)
    deviation_a = np.sqrt(np.maximum(_blocks(a * a) - mean_a * mean_a, 0))
    deviation_b = np.sqrt(np.maximum(_blocks(b * b) - mean_b * mean_b, 0))
    textured = inside & (np.maximum(deviation_a, deviation_b) >= _TEXTURED)
    covariance = _blocks(a * b) - mean_a * mean_b
    agree = textured & (covariance >= _LIKE * deviation_a * deviation_b) & (deviation_a > 0) & (deviation_b > 0)
    wrong = (textured & ~agree).sum(axis=1)
    rows = np.argsort(wrong, kind="stable")[: len(wrong) - int(len(wrong) * _CAPTION_ROWS)]
    counted = int(textured[rows].sum())
    return float(agree[rows].sum()) / counted if counted >= _LEAST_BLOCKS else None


def _blocks(plane: Any) -> Plane:
    """Return the mean of each whole block of 16 × 16 pixels."""
    height, width = (side // _BLOCK * _BLOCK for side in plane.shape[:2])
    size = (width // _BLOCK, height // _BLOCK)
    return np.asarray(cv2.resize(plane[:height, :width], size, interpolation=cv2.INTER_AREA), np.float32)
