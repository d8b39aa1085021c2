"""The parser of HTTP responses: raises nothing but its own error, and says the same on its quick and its slow way."""

from typing import NamedTuple

from fuzz.cost import promise_cost
from fuzz.target import Target, promise
from imgmine.archives.http import HttpSyntaxError, parse_response

_BODY = b"\xff\xd8\xff\xe0 some bytes"
_HEADS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 15\r\nServer: cat factory 1.0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n",
    b"HTTP/1.0 302 Found\r\nLocation: https://i.imgur.com/removed.png\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 Partial Content\r\ncontent-length: 3, 15\r\nX: a\r\n b\r\n\r\n",
    b"HTTP/1.1 304\nETag: x\n\n",
    b"ICY 200 OK\r\nContent-Length:15\r\ncontent-length: 16\r\n\r\n",
)
_CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\nContent-Length: 3\r\n\r\n 0f \r\n" + _BODY + b"\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + _BODY,
)


def _seeds() -> list[bytes]:
    return [head + _BODY for head in _HEADS] + list(_CHUNKED)


class _Parsed(NamedTuple):
    """What is compared of a response."""

    status: int
    headers: dict[str, str]
    body: bytes
    declared_length: int | None
    complete: bool


def _parsed(block: bytes | bytearray | memoryview) -> _Parsed | None:
    try:
        found = parse_response(block)
    except HttpSyntaxError:
        return None
    promise(found.body.readonly, "a body cannot be written to")
    return _Parsed(found.status, dict(found.headers), bytes(found.body), found.declared_length, found.complete)


def _check(data: bytes) -> None:
    promise_cost(data, _parsed)
    response = _parsed(data)
    # A line break in front of the status line is let pass, but only on the slow way.
    promise(response == _parsed(b"\n" + data), "the quick way says the same as the slow one")
    if response is None:
        return
    promise(response == _parsed(memoryview(bytearray(data))), "bytes and other buffers are read alike")
    promise(0 <= response.status <= 999, "a status has three digits")
    promise(len(response.body) <= len(data), "no body is larger than its block")
    promise(response.declared_length is None or response.declared_length >= 0, "no length is negative")
    for name, value in response.headers.items():
        promise(name != "" and name == name.strip(" \t\r\n\v\f"), "names are clean")
        promise(name == name.lower(), "names are in lower case")
        promise("\n" not in name + value, "no header goes over a line")
    chunked = "transfer-encoding" in response.headers
    if not chunked:
        promise(data.endswith(response.body), "a body without chunks is the block's end")
    body_size, declared = len(response.body), response.declared_length
    if response.complete and declared and declared == body_size and not chunked and response.status not in (204, 304):
        cut = _parsed(data[:-1])
        promise(cut is None or not cut.complete, "a body cut by a byte is not complete")


TARGET = Target(
    "http",
    _seeds,
    _check,
    tokens=(
        b"HTTP/1.1 200 ",
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"Content-Length: ",
        b"\r\nTransfer-Encoding: chunked\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"999999999999999999",
        b"0\r\n\r\n",
        b"\n ",
        b"\xc3\xa9",
        b", ",
        b"\r\r\r\r",
        b"1\r\nx\r\n",
    ),
)
