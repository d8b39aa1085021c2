"""HTTP responses as crawlers stored them: the head parsed leniently, the chunks of the body put together.

What a status or a header means for an image is decided by the rules of the source, not here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from imgmine.errors import ImgmineError

_LONGEST_HEAD = 256 << 10
_USUAL_HEAD = 4 << 10
_LONGEST_CHUNK_LINE = 4 << 10
_USUAL_CHUNK_LINE = 32
_STATUS_LINE = re.compile(rb"\s*(?:HTTP|ICY)\S*[ \t]+(\d{3})(?!\d)[^\n]*", re.IGNORECASE)
_HEAD_END = re.compile(rb"\n\r*\n")
_FOLDED = re.compile(rb"\r*\n[ \t]+")
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_CHUNK_LINE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]*)?\r*\n")
_CUT_CHUNK_SIZE = re.compile(rb"[ \t]*[0-9A-Fa-f]{0,15}\r*")
_LINE_END = re.compile(rb"\r*\n")
_BODILESS = frozenset({204, 304})


class HttpSyntaxError(ImgmineError):
    """A block that does not begin with an HTTP status line, or whose head does not end."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response as it was stored.

    Attributes:
        status: the three digits of the status line.
        headers: by name in lower case; of duplicates the first. Values are decoded as UTF-8, else as Latin-1.
        body: without the framing of chunks; content codings are left as they are.
        declared_length: Content-Length; the largest where there are several; None where there is none, or no number.
        complete: whether the head ends and the body is as long as it was to be: all chunks and the last one, or (where
            it is not chunked) at least `declared_length` bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: memoryview
    declared_length: int | None
    complete: bool


def parse_response(block: bytes | bytearray | memoryview) -> HttpResponse:
    """Parse the block of a `response` or `revisit` record.

    Bare line feeds, folded headers, lines that are no header, status lines without a reason and interim (1xx) responses
    before the final one are let pass. A body that is called chunked but does not begin with a chunk is taken as it is.

    Raises:
        HttpSyntaxError: there is no status line, or the head does not end in its first 256 KiB.
    """
    view = memoryview(block)
    status, lines, ended, view = _split_head(view)
    while 100 <= status < 200 and status != 101 and _STATUS_LINE.match(bytes(view[:64])):
        status, lines, ended, view = _split_head(view)
    headers: dict[str, str] = {}
    codings: list[str] = []
    lengths: list[int] = []
    for line in lines:
        raw_name, colon, raw_value = line.partition(b":")
        name = _text(raw_name.strip()).lower()
        if not colon or not name:
            continue
        value = _text(raw_value.strip())
        headers.setdefault(name, value)
        if name == "transfer-encoding":
            codings.append(value.lower())
        elif name == "content-length":
            lengths += [int(part) for part in map(str.strip, value.split(",")) if _LENGTH.fullmatch(part)]
    declared_length = max(lengths, default=None)
    dechunked = _dechunk(view) if any("chunked" in coding for coding in codings) else None
    if dechunked is not None:
        body, whole = dechunked
    else:
        body = view
        whole = status in _BODILESS or declared_length is None or len(body) >= declared_length
    return HttpResponse(status, headers, body.toreadonly(), declared_length, ended and whole)


def _split_head(block: memoryview) -> tuple[int, list[bytes], bool, memoryview]:
    """Return the status, the header lines, whether the head ends, and what comes after it."""
    head = bytes(block[:_USUAL_HEAD])
    end = _HEAD_END.search(head)
    if end is None and len(block) > len(head):
        head = bytes(block[:_LONGEST_HEAD])
        end = _HEAD_END.search(head)
    status_line = _STATUS_LINE.match(head)
    if status_line is None:
        raise HttpSyntaxError(f"no HTTP status line, but {head[:32]!r}")
    if end is not None and end.start() < status_line.end():
        # Blank lines before the status line are no end.
        end = _HEAD_END.search(head, status_line.end())
    if end is None and len(block) > len(head):
        raise HttpSyntaxError(f"an HTTP head without an end in its first {_LONGEST_HEAD} bytes")
    fields = head[status_line.end() : len(head) if end is None else end.start()]
    if b"\n " in fields or b"\n\t" in fields:
        fields = _FOLDED.sub(b" ", fields)
    rest = block[len(head) if end is None else end.end() :]
    return int(status_line[1]), fields.split(b"\n"), end is not None, rest


def _dechunk(body: memoryview) -> tuple[memoryview, bool] | None:
    """Put chunks together; returns the content and whether the last chunk was there. None where no chunk begins."""
    if _CUT_CHUNK_SIZE.fullmatch(bytes(body[:_USUAL_CHUNK_LINE])):
        return memoryview(b""), False
    content: memoryview | bytearray | None = None
    at = 0
    while (line := _chunk_line(body, at)) is not None:
        size, at = line
        if size == 0:
            return memoryview(content or b""), True
        chunk = body[at : at + size]
        if content is None:
            content = chunk  # a single chunk, the usual case for what is small, is not copied
        else:
            content = content if isinstance(content, bytearray) else bytearray(content)
            content += chunk
        at += size
        line_end = _LINE_END.match(bytes(body[at : at + 4]))
        if line_end is None:
            break
        at += line_end.end()
    return None if content is None else (memoryview(content), False)


def _chunk_line(body: memoryview, at: int) -> tuple[int, int] | None:
    """Return the size in the chunk line at `at`, and where the chunk begins; None where this is no such line."""
    for longest in (_USUAL_CHUNK_LINE, _LONGEST_CHUNK_LINE):
        line = _CHUNK_LINE.match(bytes(body[at : at + longest]))
        if line is not None:
            return int(line[1], 16), at + line.end()
    return None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
