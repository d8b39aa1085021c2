"""One WARC record: its head, parsed as leniently as the files out there want it, and what is handed on of it.

Where a record begins and ends in a file is `assembly`'s and `plain`'s business; what its block means is `http`'s.
"""

import re
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from imgmine.errors import ImgmineError

LONGEST_HEAD = 64 << 10

_LONGEST_FIRST_LINE = 16
_FIRST_LINE = re.compile(rb"WARC/\d{1,2}\.\d{1,2}[ \t]*\r?\n")
_FIRST_LINE_INSIDE = re.compile(rb"(?<=.)" + _FIRST_LINE.pattern, re.DOTALL)
_NEXT_RECORD = re.compile(rb"\nWARC/\d{1,2}\.\d{1,2}[ \t]*\r?\n")
_FOLDED = re.compile(rb"\r?\n[ \t]+")
# What nearly all records have, in the order in which Wget, and with it all of Archiveteam, writes it.
_OTHER_LINES = rb"(?:(?:[^WC\r\n]|WARC-[^T\n]|Content-[^L\n])[^\n]*+\n)*+"
_USUAL_HEAD = re.compile(
    rb"WARC/1\.[01]\r\nWARC-Type: ([a-z]+)\r\nWARC-Record-ID: ([^\n]*)\n"
    + (_OTHER_LINES + rb"WARC-Target-URI: ([^\n]*)\nWARC-Date: ([^\n]*)\n")
    + (_OTHER_LINES + rb"Content-Length: (\d{1,18})\r\n\r\n")
)
TRAILER = b"\r\n\r\n"
_BLANK_LINE = re.compile(rb"\n\r?\n")
_MOST_DIGITS = 18
_AROUND_VALUES = b"<> \t\r"


class WarcRecord(NamedTuple):
    """One record, and where it lies.

    Attributes:
        offset: of the record's first frame (gzip member; byte, in a plain file) in the file as stored.
        length: stored bytes of all its frames. Records that share a frame share its offset and length.
        record_type: in lower case: 'response', 'revisit', ...
        record_id: without the angle brackets: 'urn:uuid:...'; empty where the record has none.
        url: the target URI.
        captured_at: WARC-Date, in UTC; None where it cannot be read.
        truncated: WARC-Truncated as written ('length', 'time', ...).
        block: the record's content, HTTP head and all. It may be a view of the reader's buffer of a few MiB, which
            stays in memory, and as it is, while the view lives: copy what is kept for long.
    """

    offset: int
    length: int
    record_type: str
    record_id: str
    url: str | None
    captured_at: datetime | None
    truncated: str | None
    block: memoryview


class BadHead(ImgmineError):
    """What should be the head of a WARC record is not."""


class Unwanted(Enum):
    """The one value of it stands for a sound record of a type that was not asked for."""

    UNWANTED = 0


UNWANTED: Final = Unwanted.UNWANTED


class RecordHead(NamedTuple):
    """The head of a WARC record, its values as they stand there; of fields given twice, the last.

    Attributes:
        end: where the block begins, in the content that the head was read from.
        length: bytes of the block, as the head has it.
        record_type: in lower case.
        record_id: maybe empty, maybe in angle brackets and blanks.
        url: the target URI, maybe in angle brackets and blanks.
        date: maybe empty, maybe in blanks.
        truncated: WARC-Truncated.
    """

    end: int
    length: int
    record_type: str
    record_id: bytes
    url: bytes | None
    date: bytes
    truncated: bytes | None


def begins_record(content: bytes | bytearray, at: int = 0) -> bool:
    """Tell whether `content[at:]` begins with the first line of a WARC record, or is a part of such a line."""
    if content.startswith(b"WARC/", at):
        return _FIRST_LINE.match(content, at) is not None or (
            len(content) - at < _LONGEST_FIRST_LINE and content.find(b"\n", at) < 0
        )
    return 0 < len(content) - at < 5 and b"WARC/".startswith(content[at:])


def is_overtaken(content: bytes) -> bool:
    """Tell whether a first line of another record comes in `content` before the head that begins it ends.

    For the search after damage: such a head cannot be told from noise, and reading each of many to its end would cost
    the square of their number.
    """
    inside = _FIRST_LINE_INSIDE.search(content)
    return inside is not None and _BLANK_LINE.search(content, 0, inside.start()) is None


def parse_head(content: bytes | bytearray, at: int = 0) -> RecordHead | None:
    """Read the head that begins at `at`; None where `content` ends inside it.

    Bare line feeds, folded lines and lines that are no fields are let pass.

    Raises:
        BadHead: this is no head, or one that does not say how long its block is.
    """
    usual = _USUAL_HEAD.match(content, at, at + LONGEST_HEAD)
    if usual is None:
        return _parse_unusual_head(content, at)
    record_type, record_id, url, date, length = usual.groups()
    return RecordHead(usual.end(), int(length), record_type.decode(), record_id, url, date, None)


def _parse_unusual_head(content: bytes | bytearray, at: int) -> RecordHead | None:
    """As `parse_head`, for heads of any writer, and slower."""
    blank_line = _BLANK_LINE.search(content, at, at + LONGEST_HEAD)
    if blank_line is None:
        if len(content) - at >= LONGEST_HEAD:
            raise BadHead(f"a WARC head without an end in its first {LONGEST_HEAD} bytes")
        return None
    if not _FIRST_LINE.match(content, at):
        raise BadHead("no WARC record begins here")
    raw = bytes(content[at : blank_line.start()])
    if _NEXT_RECORD.search(raw):
        raise BadHead("a WARC head without an end before the next record")
    fields: dict[bytes, bytes] = {}
    for line in _FOLDED.sub(b" ", raw).split(b"\n"):
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    length = fields.get(b"content-length", b"")
    if not length.isdigit() or len(length) > _MOST_DIGITS:
        raise BadHead("a WARC record without a Content-Length")
    return RecordHead(
        end=blank_line.end(),
        length=int(length),
        record_type=_text(fields.get(b"warc-type", b"")).lower(),
        record_id=fields.get(b"warc-record-id", b""),
        url=fields.get(b"warc-target-uri"),
        date=fields.get(b"warc-date", b""),
        truncated=fields.get(b"warc-truncated"),
    )


def only_record(
    content: bytes | bytearray, at: int, stop: int, offset: int, end: int, wanted: frozenset[str] | None
) -> WarcRecord | Literal[Unwanted.UNWANTED] | None:
    """Read the record that fills `content[at:stop]`, trailer and all, as nearly all do; None for anything else.

    Its block is a view of `content`. That the trailer is one, the caller has seen. This is `parse_head` and
    `make_record` in one, since it is done for each record.

    Args:
        offset: where the record begins in the file as stored.
        end: and where it ends.
        wanted: the types to make records of; all where None.
    """
    usual = _USUAL_HEAD.match(content, at, at + LONGEST_HEAD)
    if usual is None:
        return _only_unusual_record(content, at, stop, offset, end, wanted)
    kind, record_id, url, date, digits = usual.groups()
    at = usual.end()
    size = int(digits)
    if at + size + len(TRAILER) != stop:
        return None
    record_type = kind.decode()
    if wanted is not None and record_type not in wanted:
        return UNWANTED
    return WarcRecord(
        offset,
        end - offset,
        record_type,
        _text(record_id.strip(_AROUND_VALUES)),
        _text(url.strip(_AROUND_VALUES)),
        _date(date.strip()),
        None,
        memoryview(content)[at : at + size].toreadonly(),
    )


def _only_unusual_record(
    content: bytes | bytearray, at: int, stop: int, offset: int, end: int, wanted: frozenset[str] | None
) -> WarcRecord | Literal[Unwanted.UNWANTED] | None:
    try:
        head = _parse_unusual_head(content, at)
    except BadHead:
        return None
    if head is None or head.end + head.length + len(TRAILER) != stop:
        return None
    if wanted is not None and head.record_type not in wanted:
        return UNWANTED
    return make_record(head, offset, end - offset, memoryview(content)[head.end : head.end + head.length])


def make_record(head: RecordHead, offset: int, length: int, block: memoryview) -> WarcRecord:
    """Put a record together from its head, its place in the file and its block."""
    return WarcRecord(
        offset,
        length,
        head.record_type,
        _text(head.record_id.strip(_AROUND_VALUES)),
        None if head.url is None else _text(head.url.strip(_AROUND_VALUES)),
        _date(head.date.strip()),
        None if head.truncated is None else _text(head.truncated),
        block.toreadonly(),
    )


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


@lru_cache(maxsize=64)  # crawlers fetch several things in a second
def _date(value: bytes) -> datetime | None:
    try:
        moment = datetime.fromisoformat(_text(value))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
