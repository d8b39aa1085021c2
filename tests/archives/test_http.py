"""HTTP responses as crawlers stored them, well formed and not."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgmine.archives.http import HttpResponse, HttpSyntaxError, parse_response

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 5\r\n\r\nhello"


def parse(block: bytes) -> HttpResponse:
    response = parse_response(memoryview(block))
    assert response.body.readonly
    return response


def chunk(content: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(content), extension, content)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(map(chunk, chunks)) + end


def test_a_usual_response() -> None:
    response = parse(PLAIN)
    assert response.status == 200
    assert response.headers["content-type"] == "image/jpeg"
    assert dict(response.headers) == {"content-type": "image/jpeg", "content-length": "5"}
    assert (bytes(response.body), response.declared_length, response.complete) == (b"hello", 5, True)


def test_the_body_is_not_copied() -> None:
    block = PLAIN + bytes(100)
    assert parse_response(block).body.obj is block
    assert parse_response(chunked(b"single")).body.obj is not None


def test_chunks_are_counted_without_being_copied_and_put_together_when_asked_for() -> None:
    block = chunked(*[bytes((number,)) * 100_000 for number in range(20)])
    tracemalloc.start()
    response = parse_response(block)
    assert response.body_length == 2_000_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
    assert response.body == b"".join(bytes((number,)) * 100_000 for number in range(20))
    assert response.body_length == len(response.body)


def test_chunks_take_no_memory_each() -> None:
    block = chunked(*[b"x"] * 5_000)
    tracemalloc.start()
    response = parse_response(block)
    _, counting = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    assert response.body == b"x" * 5_000
    _, joining = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counting < 20_000
    assert joining < 50_000


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HTTP/1.0 404 Not Found\r\n\r\n", 404),
        (b"HTTP/1.1 200\r\n\r\n", 200),
        (b"HTTP/1.1 200 \r\n\r\n", 200),
        (b"HTTP/2 302 \r\n\r\n", 302),
        (b"http/1.1 200 ok\n\n", 200),
        (b"HTTP/1.1   503  Busy\r\n\r\n", 503),
        (b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200),
        (b"ICY 200 OK\r\n\r\n", 200),
        (b"HTTP/1.1 999 Request denied\r\n\r\n", 999),
        (b"HTTP/1.1 200 \xff\xfe\r\n\r\n", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 Partial\r\n\r\n", 206),
        (b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200),
        (b"HTTP/1.1 101 Switching\r\n\r\n", 101),
    ],
)
def test_odd_status_lines(head: bytes, status: int) -> None:
    response = parse(head + b"body")
    assert (response.status, bytes(response.body), response.complete) == (status, b"body", True)


@pytest.mark.parametrize(
    "block",
    [b"", b"\r\n", b"hello", b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 2000\r\n", b"\xff\xd8\xff"],
)
def test_what_is_no_response_is_an_error(block: bytes) -> None:
    with pytest.raises(HttpSyntaxError, match="no HTTP status line"):
        parse_response(block)


def test_a_head_without_an_end_is_an_error_only_where_it_is_long() -> None:
    response = parse(b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Len")
    assert (response.headers["server"], len(response.body), response.complete) == ("x", 0, False)
    with pytest.raises(HttpSyntaxError, match="without an end"):
        parse_response(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000)
    assert parse(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\nbody").body == b"body"


@pytest.mark.parametrize(
    ("lines", "name", "value"),
    [
        (b"Server: cat factory 1.0\r\n", "server", "cat factory 1.0"),
        (b"Server:x\r\n", "server", "x"),
        (b"Server : x \t\r\n", "server", "x"),
        (b"Server: a\nX: b\r\n", "x", "b"),
        (b"Server: a\r\n  b\r\n\tc\r\nX: d\r\n", "server", "a b c"),
        (b"X: first\r\nx: second\r\n", "x", "first"),
        (b"no header at all\r\nX: y\r\n", "x", "y"),
        (b": nothing\r\nX: y\r\n", "x", "y"),
        (b"X: caf\xc3\xa9\r\n", "x", "café"),
        (b"X: caf\xe9\r\n", "x", "café"),
        (b"X\xe9: y\r\n", "xé", "y"),
        (b"X: a:b: c\r\n", "x", "a:b: c"),
        (b"X:\r\n", "x", ""),
        (b"C\r\nX: y\r\n", "x", "y"),
        (b"Co\r\nX: y\r\n", "x", "y"),
        (b"Con\r\nX: y\r\n", "x", "y"),
        (b"Content-\r\nX: y\r\n", "x", "y"),
        (b"T\r\nX: y\r\n", "x", "y"),
        (b"X: y\r\n\x00: z\r\n", "x", "y"),
    ],
)
def test_odd_headers(lines: bytes, name: str, value: str) -> None:
    response = parse(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nbody")
    assert response.headers[name] == value
    assert bytes(response.body) == b"body"
    assert name in response.headers
    assert "other" not in response.headers
    assert response.headers.get("other") is None


@pytest.mark.parametrize("line", [b"C", b"Co", b"Con", b"Content-", b"T", b"W", b"x"])
def test_a_stub_of_a_name_before_the_end_does_not_hide_the_end(line: bytes) -> None:
    response = parse(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n\r\nbody: x\r\n\r\n")
    assert bytes(response.body) == b"body: x\r\n\r\n"
    response = parse(b"HTTP/1.1 200 OK\n" + line + b"\n\nbody: x\n\r\n")
    assert bytes(response.body) == b"body: x\n\r\n"


@pytest.mark.parametrize("end", [b"\n\n", b"\n\r\n", b"\r\n\n", b"\r\r\n\r\r\n"])
def test_bare_line_feeds_end_a_head_too(end: bytes) -> None:
    response = parse(b"HTTP/1.1 200 OK\r\nX: y" + end + b"\xff\xd8\r\n\r\n")
    assert (response.headers["x"], bytes(response.body)) == ("y", b"\xff\xd8\r\n\r\n")


@pytest.mark.parametrize(
    ("lines", "declared", "complete"),
    [
        (b"", None, True),
        (b"Content-Length: 4\r\n", 4, True),
        (b"Content-Length: 3\r\n", 3, True),
        (b"Content-Length: 5\r\n", 5, False),
        (b"CONTENT-LENGTH:5\r\n", 5, False),
        (b"content-length : 5\r\n", None, True),
        (b"Content-Length: 4, 4\r\n", 4, True),
        (b"Content-Length: 4\r\nContent-Length: 9\r\n", 9, False),
        (b"Content-Length: 9\r\nX: y\r\ncontent-length: 4\r\n", 9, False),
        (b"Content-Length: -4\r\n", None, True),
        (b"Content-Length: four\r\n", None, True),
        (b"Content-Length: 4.0\r\n", None, True),
        (b"Content-Length:\r\n", None, True),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", None, True),
        (b"Content-Length: 999999999999999999\r\n", 999999999999999999, False),
        (b"X-Content-Length: 9\r\nX: Content-Length: 9\r\n", None, True),
        (b"Content-Length:\r\n 9\r\n", 9, False),
    ],
)
def test_declared_length_and_completeness(lines: bytes, declared: int | None, complete: bool) -> None:
    response = parse(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nbody")
    assert (response.declared_length, response.complete) == (declared, complete)


def test_answers_that_have_no_body_are_complete() -> None:
    for status in (204, 304):
        assert parse(b"HTTP/1.1 %d X\r\nContent-Length: 100\r\n\r\n" % status).complete
    assert not parse(b"HTTP/1.1 302 Found\r\nContent-Length: 100\r\n\r\n").complete


@pytest.mark.parametrize(
    ("block", "body", "complete"),
    [
        (chunked(b"hello"), b"hello", True),
        (chunked(b"hello", b" ", b"world" * 1000), b"hello " + b"world" * 1000, True),
        (chunked(), b"", True),
        (chunked(b"hello", end=b"0\r\nTrailer: x\r\n\r\n"), b"hello", True),
        (chunked(b"hello", end=b"0\r\n"), b"hello", True),
        (chunked(b"hello", end=b"000\n"), b"hello", True),
        (chunked(b"hello", end=b"0;last\r\n\r\nrubbish"), b"hello", True),
        (chunked(b"hello", end=b""), b"hello", False),
        (chunked(b"hello", end=b"0"), b"hello", False),
        (chunked(b"hello", end=b"5"), b"hello", False),
        (chunked(b"hello", end=b"5\r\n"), b"hello", False),
        (chunked(b"hello", end=b"5\r\nwor"), b"hellowor", False),
        (chunked(b"hello", end=b"5\r\nworld"), b"helloworld", False),
        (chunked(b"hello", end=b"5\r\nworldly\r\n0\r\n"), b"helloworld", False),
        (chunked(b"hello", end=b"what\r\n"), b"hello", False),
        (chunked(b"hello", end=b"-5\r\nworld\r\n0\r\n"), b"hello", False),
        (chunked(b"hello", end=b"0x5\r\nworld\r\n0\r\n"), b"hello", False),
        (chunked(b"hello", end=b"1_0\r\nworld\r\n0\r\n"), b"hello", False),
        (chunked(b"hello", end=b"FFFFFFFFFFFFFFF\r\nwor"), b"hellowor", False),
        (chunked(b"hello", end=b" 5 \r\nworld\r\n0\r\n\r\n"), b"helloworld", True),
        (chunked(b"hello", end=b"5;" + b"x" * 1000 + b"\r\nworld\r\n0\r\n\r\n"), b"helloworld", True),
        (chunked(b"hello", end=b"5\nworld\n0\n\n"), b"helloworld", True),
        (chunked(end=b""), b"", False),
        (chunked(end=b"5"), b"", False),
        (chunked(end=b"5\r"), b"", False),
        # Some crawlers put the chunks together and leave the header.
        (chunked(end=b"\xff\xd8\xff\xe0 a picture"), b"\xff\xd8\xff\xe0 a picture", True),
        (chunked(end=b"<html>"), b"<html>", True),
    ],
)
def test_chunked_bodies(block: bytes, body: bytes, complete: bool) -> None:
    response = parse(block)
    assert (bytes(response.body), response.complete) == (body, complete)


def test_chunked_is_known_by_any_spelling_and_overrules_the_content_length() -> None:
    for lines in (
        b"TRANSFER-ENCODING:Chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: identity\r\ntransfer-encoding: chunked",
        b"Transfer-Encoding:\r\n chunked",
    ):
        response = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n" + lines + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        assert (bytes(response.body), response.complete, response.declared_length) == (b"hello", True, 900)
    identity = parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n5\r\nhello")
    assert bytes(identity.body) == b"5\r\nhello"


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(st.binary(min_size=1, max_size=200), max_size=8), cut=st.floats(0, 1))
def test_a_chunked_body_cut_anywhere_is_a_prefix_and_incomplete(parts: list[bytes], cut: float) -> None:
    whole = chunked(*parts, end=b"0\r\n")
    begin = len(chunked(end=b""))
    size = begin + int(cut * (len(whole) - begin))
    response = parse(whole[:size])
    assert b"".join(parts).startswith(bytes(response.body))
    assert response.complete == (size == len(whole) or whole[begin:size].endswith(b"\r\n0\r\n"))


@settings(max_examples=500, deadline=None)
@given(
    lines=st.lists(
        st.sampled_from(
            [b"Content-Length: 5", b"content-length: 7", b"Transfer-Encoding: chunked", b" folded", b"x: y", b"junk"]
        )
        | st.binary(max_size=30),
        max_size=6,
    ),
    newline=st.sampled_from([b"\r\n", b"\n"]),
    body=st.binary(max_size=60),
)
def test_no_head_raises_anything_but_the_error(lines: list[bytes], newline: bytes, body: bytes) -> None:
    block = newline.join([b"HTTP/1.1 200 OK", *lines, b"", body])
    try:
        response = parse(block)
    except HttpSyntaxError:
        pytest.fail("there is a status line")
    assert response.status == 200
    assert all(name == name.lower() for name in response.headers)
    assert len(response.body) <= len(block)


@settings(max_examples=500, deadline=None)
@given(block=st.binary(max_size=200))
def test_nonsense_is_an_error_or_a_response(block: bytes) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 "):
        try:
            parse(start + block)
        except HttpSyntaxError:
            continue
