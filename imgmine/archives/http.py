"""HTTP responses as crawlers stored them: the head parsed leniently, the chunks of the body put together.

What a status or a header means for an image is decided by the rules of the source, not here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from imgmine.errors import ImgmineError

_LONGEST_HEAD = 256 << 10
_MOST_HEADS = 4 << 10  # so much of a page is copied to look for the end of its head
_LONGEST_CHUNK_LINE = 4 << 10
_USUAL_CHUNK_LINE = 32
# What nearly all servers send: at most one Content-Length, no Transfer-Encoding, nothing folded.
_OTHER_NAMES = rb"[^CcTt\s]|[Cc][^Oo\n]|[Cc][Oo][^Nn\n]|[Cc]on[^Tt\n]|[Cc]ontent-[^Ll\n]|[Tt][^Rr\n]"
_OTHER_LINES = rb"(?:(?:" + _OTHER_NAMES + rb")[^\n]*+\n)*+"
_USUAL_HEAD = re.compile(
    rb"HTTP/1\.[01] ([2-5]\d\d) [^\n]*(\n"
    + _OTHER_LINES
    + rb"(?:[Cc]ontent-[Ll]ength: (\d{1,18})\r\n"
    + _OTHER_LINES
    + rb")?)\r\n"
)
_STATUS_LINE = re.compile(rb"\s*(?:[Hh][Tt][Tt][Pp]|ICY)\S*[ \t]+(\d{3})(?!\d)[^\n]*")
_BLANK_LINE = re.compile(rb"\n\r*+\n")
# Where a pattern can begin at each of many bytes, or give some back, it does not: what is hostile has many.
_FOLDED = re.compile(rb"(?<!\r)\r*+\n[ \t]+")
_LENGTHS = re.compile(rb"(?<![^\s,])\d{1,18}(?![^\s,])")
_CHUNK_LINE = re.compile(rb"[ \t]*+([0-9A-Fa-f]{1,15}+)[ \t]*+(?:;[^\n]*+)?\r*+\n")
_CUT_CHUNK_SIZE = re.compile(rb"[ \t]*[0-9A-Fa-f]{0,15}\r*")
_LINE_END = re.compile(rb"\r*\n")
_SWITCHING_PROTOCOLS = 101
_BODILESS = frozenset({204, 304})


class HttpSyntaxError(ImgmineError):
    """A block that does not begin with an HTTP status line, or whose head does not end."""


class HttpHeaders(Mapping[str, str]):
    """Headers by name in lower case; of duplicates the first. Values are decoded as UTF-8, else as Latin-1.

    The lines are taken apart when the first header is asked for, since of most responses none is.
    """

    __slots__ = ("_lines", "_parsed")

    def __init__(self, lines: bytes) -> None:
        self._lines = lines
        self._parsed: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._headers()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers())

    def __len__(self) -> int:
        return len(self._headers())

    def __repr__(self) -> str:
        return f"HttpHeaders({self._headers()!r})"

    def _headers(self) -> dict[str, str]:
        if self._parsed is None:
            self._parsed = {}
            for line in self._lines.split(b"\n"):
                name, colon, value = line.partition(b":")
                if colon and (name := name.strip()):
                    self._parsed.setdefault(_text(name).lower(), _text(value.strip()))
        return self._parsed


class HttpResponse:
    """A response as it was stored.

    Attributes:
        status: the three digits of the status line.
        headers: by name in lower case.
        declared_length: Content-Length; the largest where there are several; None where there is none, or no number.
        complete: whether the head ends and the body is as long as it was to be: all chunks and the last one, or (where
            it is not chunked) at least `declared_length` bytes.
        body_length: the bytes of the body; nothing is copied to count them.
    """

    __slots__ = ("_body", "_chunked", "body_length", "complete", "declared_length", "headers", "status")

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        body: memoryview,
        declared_length: int | None,
        complete: bool,
        chunks: "_Chunks | None" = None,
    ) -> None:
        """Take what was parsed; where `body` is in chunks, what they are."""
        self.status = status
        self.headers = headers
        self.declared_length = declared_length
        self.complete = complete
        self.body_length = len(body) if chunks is None else chunks.size
        self._chunked = chunks is not None and chunks.only is None
        self._body = body if chunks is None or chunks.only is None else chunks.only

    @property
    def body(self) -> memoryview:
        """The body, without the framing of chunks; content codings are left as they are.

        It is a part of the block; several chunks are copied together when this is asked for.
        """
        if self._chunked:
            joined = bytearray()
            _dechunk(self._body, joined)
            self._body, self._chunked = memoryview(joined).toreadonly(), False
        return self._body


def parse_response(block: bytes | bytearray | memoryview) -> HttpResponse:
    """Parse the block of a `response` or `revisit` record.

    Bare line feeds, folded headers, lines that are no header, status lines without a reason and interim (1xx) responses
    before the final one are let pass. A body that is called chunked but does not begin with a chunk is taken as it is.

    Raises:
        HttpSyntaxError: there is no status line, or the head does not end in its first 256 KiB.
    """
    view = block if isinstance(block, memoryview) and block.readonly else memoryview(block).toreadonly()
    usual = _USUAL_HEAD.match(view, 0, _LONGEST_HEAD)
    if usual is None:
        return _parse_unusual(view)
    digits, lines, length = usual.groups()
    status = int(digits)
    body = view[usual.end() :]
    declared_length = None if length is None else int(length)
    whole = declared_length is None or len(body) >= declared_length or status in _BODILESS
    return HttpResponse(status, HttpHeaders(lines), body, declared_length, whole)


def _parse_unusual(block: memoryview) -> HttpResponse:
    """As `parse_response`, for responses of any server, and slower."""
    status, lines, ended, body = _split_head(block)
    while 100 <= status < 200 and status != _SWITCHING_PROTOCOLS and _STATUS_LINE.match(bytes(body[:64])):
        status, lines, ended, body = _split_head(body)
    lowered = lines.lower()
    declared_length = max(map(int, _LENGTHS.findall(_values(lowered, b"\ncontent-length:"))), default=None)
    chunks = _dechunk(body) if b"chunked" in _values(lowered, b"\ntransfer-encoding:") else None
    if chunks is not None:
        return HttpResponse(status, HttpHeaders(lines), body, declared_length, ended and chunks.whole, chunks)
    whole = declared_length is None or len(body) >= declared_length or status in _BODILESS
    return HttpResponse(status, HttpHeaders(lines), body, declared_length, ended and whole)


def _values(lowered: bytes, name: bytes) -> bytes:
    """Return the values of all headers of a name, joined by commas; the name between a line feed and the colon."""
    values = []
    at = lowered.find(name)
    while at >= 0:
        at += len(name)
        values.append(lowered[at : lowered.find(b"\n", at)].strip())
        at = lowered.find(name, at)
    return b",".join(values)


def _split_head(block: memoryview) -> tuple[int, bytes, bool, memoryview]:
    """Return the status, the header lines (line feeds before and after), whether the head ends, and the rest."""
    head = bytes(block[:_MOST_HEADS])
    if len(block) > len(head) and _BLANK_LINE.search(head) is None:
        head = bytes(block[:_LONGEST_HEAD])
    status_line = _STATUS_LINE.match(head)
    if status_line is None:
        raise HttpSyntaxError(f"no HTTP status line, but {head[:32]!r}")
    begin = status_line.end()
    blank_line = _BLANK_LINE.search(head, begin)
    if blank_line is None and len(head) == _MOST_HEADS < len(block):  # the blank line found was before the status line
        head = bytes(block[:_LONGEST_HEAD])
        blank_line = _BLANK_LINE.search(head, begin)
    if blank_line is not None:
        lines, rest = head[begin : blank_line.start() + 1], blank_line.end()
    elif len(block) > len(head):
        raise HttpSyntaxError(f"an HTTP head without an end in its first {_LONGEST_HEAD} bytes")
    else:
        lines, rest = head[begin:] + b"\n", len(head)
    return int(status_line[1]), _FOLDED.sub(b" ", lines), blank_line is not None, block[rest:]


class _Chunks(NamedTuple):
    """What a body in chunks holds: `size` bytes, `whole` if the last chunk was there; `only`: all of them in one."""

    size: int
    whole: bool
    only: memoryview | None = None


def _dechunk(body: memoryview, joined: bytearray | None = None) -> _Chunks | None:
    """Count what is in the chunks, and join it to `joined`. None where no chunk begins.

    No list of them is made: a body may have tens of millions.
    """
    if _CUT_CHUNK_SIZE.fullmatch(bytes(body[:_USUAL_CHUNK_LINE])):
        return _Chunks(0, False)
    size = at = count = first = 0
    whole = False
    while (line := _chunk_line(body, at)) is not None:
        length, begin = line
        if length == 0:
            whole = True
            break
        at = begin + length
        if not count:
            first = begin
        count += 1
        size += min(length, len(body) - begin)
        if joined is not None:
            joined += body[begin:at]
        line_end = _LINE_END.match(body, at, at + 4)
        if line_end is None:
            break
        at = line_end.end()
    if not count:
        return _Chunks(0, True) if whole else None
    return _Chunks(size, whole, body[first : first + size] if count == 1 else None)


def _chunk_line(body: memoryview, at: int) -> tuple[int, int] | None:
    """Return the size in the chunk line at `at`, and where the chunk begins; None where this is no such line."""
    for longest in (_USUAL_CHUNK_LINE, _LONGEST_CHUNK_LINE):
        line = _CHUNK_LINE.match(body, at, at + longest)
        if line is not None:
            return int(line[1], 16), line.end()
    return None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
