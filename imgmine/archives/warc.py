"""WARC files, read record by record with their offsets in the file as stored; whatever is damaged is said to be.

This is the way in. How files are compressed is `zstd_frames`' and `gzip_members`' business, what their pieces make up
`assembly`'s, what a record's block means `http`'s.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

from imgmine.archives.assembly import assemble
from imgmine.archives.gzip_members import MEMBER_MAGIC, read_members
from imgmine.archives.pieces import Damage
from imgmine.archives.plain import read_plain
from imgmine.archives.record_budget import RecordBudget
from imgmine.archives.records import WarcRecord
from imgmine.archives.window import CHUNK, Window
from imgmine.archives.zstd_decoder import FrameDecoder
from imgmine.archives.zstd_frames import read_dictionary
from imgmine.archives.zstd_records import read_zstd
from imgmine.archives.zstd_walk import FRAME_MAGIC, BrokenFrame, is_skippable
from imgmine.errors import ImgmineError

__all__ = ["Damage", "RecordUnreadable", "WarcRecord", "decode_record", "leading_dictionary", "read_warc"]

RESPONSES = frozenset({"response", "revisit"})
MAX_RECORD_BYTES = 256 << 20


class RecordUnreadable(ImgmineError):
    """A record could not be decoded from the bytes given for it."""


def read_warc(
    stream: BinaryIO,
    *,
    wanted: frozenset[str] = RESPONSES,
    max_record_bytes: int = MAX_RECORD_BYTES,
    needs_checksums: bool = False,
    budget: RecordBudget | None = None,
) -> Iterator[WarcRecord | Damage]:
    """Read a WARC file: its records of the `wanted` types, and every damage, in the order of the file.

    zstd (with a dictionary in front, compressed or not, or without), gzip and plain files are told apart by bytes.
    Nothing in the file makes this raise; only what the stream itself raises goes through.

    Args:
        stream: open at the file's first byte; it is only read, and need not seek.
        wanted: record types, in lower case.
        max_record_bytes: a record (or frame, or gzip member) that decodes to more is reported as Damage and not held.
        needs_checksums: what has no checksum of its own is Damage too: zstd frames without one, and plain files.
        budget: the file's, where the stream has only a part of it; one of its own otherwise.
    """
    window = Window(stream)
    dictionary = read_dictionary(window)
    if dictionary.error is not None:
        yield Damage(0, dictionary.end, dictionary.error)
    decoder = FrameDecoder(dictionary.content, needs_checksums)
    budget = RecordBudget() if budget is None else budget
    yield from _read(window, dictionary.end, decoder, wanted, max_record_bytes, budget)


def leading_dictionary(stream: BinaryIO) -> bytes | None:
    """Return the dictionary in front of a zstd file, decompressed; None where it has none.

    The first frame is enough of a stream. Raises BrokenFrame for one that cannot be read.
    """
    dictionary = read_dictionary(Window(stream))
    if dictionary.content is None and dictionary.error is not None:
        raise BrokenFrame(dictionary.error)
    return dictionary.content


def decode_record(
    stored: bytes,
    dictionary: bytes | None = None,
    *,
    record_id: str | None = None,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> WarcRecord:
    """Decode one record from its own bytes: `length` bytes from `offset` on, as `read_warc` told them.

    Args:
        stored: the bytes, as stored in the file.
        dictionary: what `leading_dictionary` says of the file.
        record_id: which record, where several share a frame; the first one otherwise.
        max_record_bytes: as in `read_warc`.

    Raises:
        RecordUnreadable: there is no such record in these bytes.
        BrokenFrame: the dictionary cannot be used.
    """
    window = Window(BytesIO(stored))
    reasons = []
    for found in _read(window, 0, FrameDecoder(dictionary), None, max_record_bytes, RecordBudget()):
        if isinstance(found, Damage):
            reasons.append(found.reason)
        elif record_id is None or found.record_id == record_id:
            return found
    what = "no record" if record_id is None else f"no record {record_id}"
    why = "; ".join(reasons) or "none is there"
    raise RecordUnreadable(f"{what} can be read from these {len(stored)} bytes: {why}")


def _read(
    window: Window,
    position: int,
    decoder: FrameDecoder,
    wanted: frozenset[str] | None,
    largest: int,
    budget: RecordBudget,
) -> Iterator[WarcRecord | Damage]:
    """Read records from `position` on, however they are compressed; all types where `wanted` is None."""
    window.need(position, 8)
    head = bytes(window.view(position, 8))
    if position or head.startswith(FRAME_MAGIC) or is_skippable(head):
        kind = FRAME_MAGIC
    elif head.startswith(MEMBER_MAGIC):
        kind = MEMBER_MAGIC
    elif head.startswith(b"WARC/"):
        kind = b"WARC/"
    else:
        window.need(0, CHUNK)
        kind = _kind_of_damaged(bytes(window.view(0, CHUNK)))
    if kind == FRAME_MAGIC:
        yield from read_zstd(window, position, decoder, wanted, largest, budget)
    elif kind == MEMBER_MAGIC:
        yield from assemble(read_members(window, position, largest), wanted, largest, budget)
    elif decoder.needs_checksums:
        yield Damage(position, window.end - position, "a file that is not compressed, and has no checksums")
    else:
        yield from read_plain(window, position, wanted, largest)


def _kind_of_damaged(beginning: bytes) -> bytes:
    """Tell how a file is compressed whose first bytes are damaged, from what comes after them."""
    if FRAME_MAGIC in beginning:
        return FRAME_MAGIC
    if b"\nWARC/1." not in beginning and MEMBER_MAGIC in beginning:
        return MEMBER_MAGIC
    return b"WARC/"
