"""What a file is, told from its first bytes: neither its name nor the type it was served with is asked.

Only kinds that a crawl of a picture host brings are named. Whether such a file can be decoded is the gate's business.
"""

import struct
from types import MappingProxyType

_EXTENSIONS = MappingProxyType(
    {
        "image/jpeg": "jpg",
        "image/png": "png",
        "image/gif": "gif",
        "image/webp": "webp",
        "image/bmp": "bmp",
        "image/tiff": "tiff",
        "image/avif": "avif",
        "image/heic": "heic",
        "image/jp2": "jp2",
        "image/jxl": "jxl",
        "video/mp4": "mp4",
        "video/quicktime": "mov",
        "video/3gpp": "3gp",
        "video/webm": "webm",
        "video/x-matroska": "mkv",
    }
)

_SIGNATURES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
)

# Brands of ISO base media files (ISO 14496-12) that are not plain MP4. A picture's major brand may be the general
# `mif1` or `msf1`, so the compatible brands are looked at too.
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AUDIO_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P "})

# Sizes of the header that follows a BMP's first 14 bytes, one for each version of the format. "BM" alone would take
# many a text for a picture.
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})

_HEAD = 256


def media_type(payload: bytes | memoryview) -> str | None:
    """Return the media type of a picture or video, or None where the bytes begin like neither."""
    head = bytes(payload[:_HEAD])
    for signature, found in _SIGNATURES:
        if head.startswith(signature):
            return found
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        return _iso_media_type(head)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _ebml_media_type(head)
    if head[:2] == b"BM" and len(head) >= 18 and struct.unpack_from("<I", head, 14)[0] in _BMP_HEADERS:
        return "image/bmp"
    return None


def _iso_media_type(head: bytes) -> str | None:
    major = head[8:12]
    end = min(struct.unpack_from(">I", head)[0], len(head))
    brands = {major} | {head[at : at + 4] for at in range(16, end - 3, 4)}
    if major in _AUDIO_BRANDS:
        return None
    if major in _AVIF_BRANDS or (major in _HEIC_BRANDS and brands & _AVIF_BRANDS):
        return "image/avif"
    if major in _HEIC_BRANDS:
        return "image/heic"
    if major == b"qt  ":
        return "video/quicktime"
    if major.startswith((b"3gp", b"3g2")):
        return "video/3gpp"
    return "video/mp4"


def _ebml_media_type(head: bytes) -> str | None:
    if b"webm" in head[:64]:
        return "video/webm"
    if b"matroska" in head[:64]:
        return "video/x-matroska"
    return None


def extension(media_type: str) -> str:
    """Return the file name extension, without a dot, of a type that `media_type` gives. Raises `ValueError`."""
    try:
        return _EXTENSIONS[media_type]
    except KeyError:
        raise ValueError(f"no media type of ours: {media_type!r}") from None
