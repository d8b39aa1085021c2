"""The gate: which files are pictures that the dataset takes, and why the others are not. Pillow is the only judge.

A picture passes when Pillow loads it whole, its mode is RGB and both sides have at least 128 pixels. Nothing is
converted or repaired here, and nothing here protects the process: the gate runs in a worker of `decoder_pool`.
"""

import io
import re
import warnings
from dataclasses import dataclass
from typing import NamedTuple

# Importing a plugin registers it, so that `Image.open` never falls back to importing all of them.
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from imgmine.decisions import ImageDecision
from imgmine.images.containers import ends_early
from imgmine.images.decoding import Decoding
from imgmine.images.frames import count_frames
from imgmine.images.media_types import media_type
from imgmine.images.previews import preview_size

LEAST_SIDE = 128
MOST_PIXELS = 89_478_485  # Pillow's own bound for a decompression bomb: a quarter of a GiB of RGB

# The raster formats that a picture host has served, and no others: each reader is an attack surface, and some of
# Pillow's start programs (EPS: Ghostscript), read other files, or take almost any bytes for theirs. Pillow opens a
# JPEG with several pictures as MPO.
_READERS = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    GifImagePlugin.GifImageFile,
    WebPImagePlugin.WebPImageFile,
    BmpImagePlugin.BmpImageFile,
    TiffImagePlugin.TiffImageFile,
    AvifImagePlugin.AvifImageFile,
)
FORMATS = tuple(str(reader.format) for reader in _READERS)

_COPYRIGHT = 33432
_MOST_DETAIL = 200
_MOST_COPYRIGHT = 1000
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of one file; the columns of the table `images`.

    `width` and `height` are pixels as stored: EXIF orientation is not applied. They, `mode`, `format` and `frames` are
    None where Pillow cannot read the header. `frames` is None too where there are more than can be counted.
    `detail` has the decoder's words where the decision is an error.
    """

    decision: ImageDecision
    detail: str | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    format: str | None = None
    frames: int | None = None
    exif_copyright: str | None = None


class Gated(NamedTuple):
    """A verdict and, where the picture was kept, the decoded picture (of a moving one, its first frame).

    The picture is smaller than the verdict says where it was decoded `SCALED`.
    """

    verdict: Verdict
    picture: Image.Image | None


def gate(payload: bytes, decoding: Decoding = Decoding.EXACT) -> Gated:
    """Judge one file. Never raises: whatever is wrong with the bytes is in the verdict, whatever the `decoding`.

    What the header says is asked first, so most drops cost no decoding. The first rule that applies decides: header not
    readable (`undecodable`), too many pixels (`bomb`), not RGB (`mode`), a side too short (`size`), pixels not readable
    (`truncated` where the end is missing, else `undecodable`), a JPEG that decodes but whose end marker is missing
    (`truncated`), `kept`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture = Image.open(io.BytesIO(payload), formats=FORMATS)
        except Exception as error:  # Pillow's readers raise nearly every type on hostile bytes
            return Gated(_unreadable(payload, error), None)
        return _judge(picture, payload, decoding)


def _judge(picture: ImageFile.ImageFile, payload: bytes, decoding: Decoding) -> Gated:
    width, height = picture.size

    def verdict(decision: ImageDecision, detail: str | None = None) -> Verdict:
        return Verdict(
            decision=decision,
            detail=detail,
            width=width,
            height=height,
            mode=picture.mode,
            format=picture.format,
            frames=_frames(picture, payload),
            exif_copyright=_copyright(picture),
        )

    if width * height > MOST_PIXELS:
        return Gated(verdict(ImageDecision.BOMB, f"{width * height} pixels, over {MOST_PIXELS}"), None)
    if picture.mode != "RGB":
        return Gated(verdict(ImageDecision.MODE), None)
    if min(width, height) < LEAST_SIDE:
        return Gated(verdict(ImageDecision.SIZE), None)
    try:
        pixels = _loaded(picture, payload, decoding)
    except Exception as error:
        cut = "truncated" in str(error).lower() or ends_early(payload)
        return Gated(verdict(ImageDecision.TRUNCATED if cut else ImageDecision.UNDECODABLE, _words(error)), None)
    if picture.format in ("JPEG", "MPO") and ends_early(payload):
        return Gated(verdict(ImageDecision.TRUNCATED, "the end marker is missing"), None)
    return Gated(verdict(ImageDecision.KEPT), pixels)


def _loaded(picture: ImageFile.ImageFile, payload: bytes, decoding: Decoding) -> ImageFile.ImageFile:
    """Return the picture with its pixels, fewer of them where that is wanted. Raises what Pillow raises."""
    if decoding is Decoding.SCALED and picture.format == "JPEG":
        picture.draft(None, preview_size(*picture.size))
        try:
            picture.load()
        except Exception:
            # Only the decode in full may condemn, and its words are those of the verdict.
            picture = Image.open(io.BytesIO(payload), formats=FORMATS)
        else:
            return picture
    picture.load()
    return picture


def _unreadable(payload: bytes, error: Exception) -> Verdict:
    if isinstance(error, Image.DecompressionBombError):
        return Verdict(ImageDecision.BOMB, _words(error))
    claimed = media_type(payload)
    # Pillow reads these whole when it opens them, so that a cut file is met here and not when it is loaded.
    cut = claimed in ("image/webp", "image/avif") and ends_early(payload)
    decision = ImageDecision.TRUNCATED if cut else ImageDecision.UNDECODABLE
    if isinstance(error, UnidentifiedImageError):
        # Pillow's message would hold an address in memory.
        return Verdict(decision, f"not readable as {claimed}" if claimed else "not a picture of a known kind")
    return Verdict(decision, _words(error))


def _words(error: Exception) -> str:
    """Return the error as one short line that is the same in every run."""
    if isinstance(error, MemoryError):
        return "needs more memory than a decoder may have"
    text = _ADDRESS.sub("0x…", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text}"[:_MOST_DETAIL].encode("utf-8", "replace").decode()


def _frames(picture: ImageFile.ImageFile, payload: bytes) -> int | None:
    try:
        return count_frames(picture, payload)
    except Exception:  # a container that cannot be counted takes nothing from the picture
        return None


def _copyright(picture: ImageFile.ImageFile) -> str | None:
    try:
        if isinstance(picture, TiffImagePlugin.TiffImageFile):
            value = picture.tag_v2.get(_COPYRIGHT)
        else:
            # `picture.getexif()` would decode a whole PNG in search of a late chunk.
            exif = Image.Exif()
            exif.load(picture.info.get("exif", b""))
            value = exif.get(_COPYRIGHT)
    except Exception:  # a broken EXIF block takes nothing from the picture
        return None
    return _as_text(value)


def _as_text(value: object) -> str | None:
    """Return a tag's value as clean text. EXIF says ASCII, cameras write Latin-1 and programs UTF-8."""
    if isinstance(value, str):
        value = value.encode("latin-1", "replace")
    if not isinstance(value, bytes):
        return None
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    # A NUL parts the photographer's line from the editor's.
    lines = (" ".join("".join(c if c.isprintable() else " " for c in part).split()) for part in text.split("\0"))
    return "; ".join(line for line in lines if line)[:_MOST_COPYRIGHT] or None
