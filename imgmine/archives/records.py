"""One WARC record: its head, parsed as leniently as the files out there want it, and what is handed on of it.

Where a record begins and ends in a file is `assembly`'s and `plain`'s business; what its block means is `http`'s.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from imgmine.errors import ImgmineError

LONGEST_HEAD = 64 << 10

_LONGEST_FIRST_LINE = 16
_FIRST_LINE = re.compile(rb"WARC/\d{1,2}\.\d{1,2}[ \t]*\r?\n")
_HEAD_END = re.compile(rb"\n\r?\n")
_FOLDED = re.compile(rb"\r?\n[ \t]+")
_DIGITS = re.compile(rb"\d{1,18}")


@dataclass(frozen=True, slots=True)
class WarcRecord:
    """One record, and where it lies.

    Attributes:
        offset: of the record's first frame (gzip member; byte, in a plain file) in the file as stored.
        length: stored bytes of all its frames. Records that share a frame share its offset and length.
        record_type: in lower case: 'response', 'revisit', ...
        record_id: without the angle brackets: 'urn:uuid:...'; empty where the record has none.
        url: the target URI.
        captured_at: WARC-Date, in UTC; None where it cannot be read.
        truncated: WARC-Truncated as written ('length', 'time', ...).
        block: the record's content, HTTP head and all.
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


class RecordHead(NamedTuple):
    """The head of a WARC record.

    Attributes:
        end: where the block begins, in the content that the head was read from.
        length: bytes of the block, as the head has it.
        record_type: in lower case.
        fields: the other fields, by name in lower case; of duplicates the first.
    """

    end: int
    length: int
    record_type: str
    fields: dict[bytes, bytes]


def begins_record(content: bytes | bytearray, at: int = 0) -> bool:
    """Tell whether `content[at:]` begins with the first line of a WARC record, or is a part of such a line."""
    if content.startswith(b"WARC/", at):
        return _FIRST_LINE.match(content, at) is not None or (
            len(content) - at < _LONGEST_FIRST_LINE and content.find(b"\n", at) < 0
        )
    return 0 < len(content) - at < 5 and b"WARC/".startswith(content[at:])


def parse_head(content: bytes | bytearray, at: int = 0) -> RecordHead | None:
    """Read the head that begins at `at`; None where `content` ends inside it.

    Bare line feeds, folded lines, blanks around names and lines that are no fields are let pass.

    Raises:
        BadHead: this is no head, or one that does not say how long its block is.
    """
    match = _HEAD_END.search(content, at, at + LONGEST_HEAD)
    if match is None:
        if len(content) - at >= LONGEST_HEAD:
            raise BadHead(f"a WARC head without an end in its first {LONGEST_HEAD} bytes")
        return None
    raw = bytes(content[at : match.start() + 1])
    if not _FIRST_LINE.match(raw):
        raise BadHead("no WARC record begins here")
    if b"\n " in raw or b"\n\t" in raw:
        raw = _FOLDED.sub(b" ", raw)
    fields: dict[bytes, bytes] = {}
    for line in raw.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    length = fields.get(b"content-length", b"")
    if not _DIGITS.fullmatch(length):
        raise BadHead("a WARC record without a Content-Length")
    return RecordHead(match.end(), int(length), _text(fields.get(b"warc-type", b"")).lower(), fields)


def make_record(head: RecordHead, offset: int, length: int, block: memoryview) -> WarcRecord:
    """Put a record together from its head, its place in the file and its block."""
    fields = head.fields
    url = fields.get(b"warc-target-uri")
    truncated = fields.get(b"warc-truncated")
    return WarcRecord(
        offset,
        length,
        head.record_type,
        _text(fields.get(b"warc-record-id", b"").strip(b"<>")),
        None if url is None else _text(url.strip(b"<>")),
        _date(fields.get(b"warc-date", b"")),
        None if truncated is None else _text(truncated),
        block.toreadonly(),
    )


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _date(value: bytes) -> datetime | None:
    try:
        moment = datetime.fromisoformat(_text(value))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
