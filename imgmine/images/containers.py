"""Whether a file stops before its own container says that it ends. Nothing is decoded.

Pillow decodes some files whose end is missing without a word; this is what catches them.
"""

import re
import struct

# A marker of a JPEG: FF and a byte that is neither a stuffed zero, nor fill, nor a restart marker (ITU-T T.81, B.1.1).
_JPEG_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
_SOI, _EOI = 0xD8, 0xD9


def ends_early(payload: bytes) -> bool:
    """Return whether a JPEG lacks its end marker, or a WebP or AVIF is shorter than it declares; False for others."""
    if payload.startswith(b"\xff\xd8"):
        return not _jpeg_is_ended(payload)
    if payload[:4] == b"RIFF" and len(payload) >= 8:
        return len(payload) < 8 + int.from_bytes(payload[4:8], "little")
    if payload[4:8] == b"ftyp":
        return _boxes_end(payload) > len(payload)
    return False


def _jpeg_is_ended(payload: bytes) -> bool:
    """Return whether the first picture has its end marker. What follows it may be anything.

    Segments are stepped over, so that the end marker of a thumbnail in one is not taken for the picture's.
    """
    at = 0
    while marker := _JPEG_MARKER.search(payload, at):
        kind = payload[marker.start() + 1]
        at = marker.end()
        if kind == _EOI:
            return True
        if kind != _SOI:
            at += max(2, int.from_bytes(payload[at : at + 2], "big"))
    return False


def _boxes_end(payload: bytes) -> int:
    """Return where the last top-level box of an ISO base media file (ISO 14496-12, 4.2) ends, by its own word."""
    at = 0
    while at + 8 <= len(payload):
        size, kind = struct.unpack_from(">I4s", payload, at)
        if size == 1 and at + 16 <= len(payload):
            (size,) = struct.unpack_from(">Q", payload, at + 8)
        if size < 8:
            return len(payload)  # 0: to the end of the file; 1 to 7: no box
        if not kind.isascii():
            return len(payload)  # trailing bytes
        at += size
    return at
