"""What hostile bytes cost: their number, never its square."""

import io
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest

from imgmine.archives.assembly import MOST_RECORDS
from imgmine.archives.http import HttpSyntaxError, parse_response
from imgmine.archives.warc import read_warc
from tests.archives.warc_files import Kind, WarcFile, damages_of, example, records_of

_SMALL = 16 << 10
_TIMES = 8
_NOISE_S = 0.02  # under this, times say nothing


def cpu_seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def assert_linear(work: Callable[[int], Callable[[], object]], small: int = _SMALL) -> None:
    """See that eight times the bytes cost no more than about eight times as much; a square would cost 64 times."""
    few, many = work(small), work(_TIMES * small)
    first = min(cpu_seconds(few) for _ in range(2))
    second = min(cpu_seconds(many) for _ in range(2))
    assert second < 3 * _TIMES * max(first, _NOISE_S)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("before", "unit", "after"),
    [
        (b"HTTP/1.1 200 OK\n", b"\r", b"x\n\n"),
        (b"HTTP/1.1 200 OK\n", b"\r\n ", b"x\n\n"),
        (b"HTTP/1.1 200 OK\n", b"\n ", b"x"),
        (b"HTTP/1.1 200 OK\nx:", b" \t", b"x\n\n"),
        (b"HTTP/1.1 200 OK\n", b"\n\r", b"x"),
        (b"", b"\r", b"HTTP/1.1 200 OK\n\n"),
        (b"HTTP", b"x ", b"200 OK\n\n"),
        (b"HTTP/1.1 200 OK\n", b"content-length: 1, 2\n", b"\n"),
        (b"", b"HTTP/1.1 100 C\n\n", b"HTTP/1.1 200 OK\n\n"),
        (CHUNKED, b"1\r\nx\r\n", b"0\r\n\r\n"),
        (CHUNKED, b"1\nx\n", b""),
        (CHUNKED, b"1;" + b"\r" * 4090 + b"\nx\r\n", b""),
    ],
)
def test_an_http_response_costs_its_size(before: bytes, unit: bytes, after: bytes) -> None:
    def work(size: int) -> Callable[[], object]:
        block = before + unit * (size // len(unit)) + after

        def parse() -> None:
            with suppress(HttpSyntaxError):
                bytes(parse_response(block).body)

        return parse

    assert_linear(work)


def test_a_chunk_line_that_does_not_end_is_looked_through_once() -> None:
    block = CHUNKED + b"1\r\nx\r\n" + b"1;" + b"\r" * 4090
    assert cpu_seconds(lambda: [parse_response(block) for _ in range(100)]) < 1


def frame_of_records(number: int) -> WarcFile:
    """Return a file of one frame, far smaller than what it holds, between two of one record each."""
    file = WarcFile(Kind.ZSTD)
    file.add(example(1))
    file.add_raw(file.frame(b"WARC/1.0\nWARC-Type: response\nContent-Length: 0\n\n\n\n" * number))
    file.add(example(2))
    return file


def test_records_of_one_frame_are_handed_on_one_by_one() -> None:
    found = read_warc(io.BytesIO(frame_of_records(3_000).data))
    next(found)
    tracemalloc.start()
    count = sum(1 for _ in found)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 3_001
    assert peak < 500_000  # a third of it for what the frame holds


def test_a_frame_of_countless_records_is_damaged_from_some_number_on() -> None:
    file = frame_of_records(MOST_RECORDS + 5)
    found = list(read_warc(io.BytesIO(file.data)))
    first, last = file.written
    begin, end = first.offset + first.length, last.offset
    assert [(item.offset, item.length) for item in found[1:-1]] == [(begin, end - begin)] * (MOST_RECORDS + 1)
    [damage] = damages_of(found)
    assert found.index(damage) == len(found) - 2
    assert f"{MOST_RECORDS:,} records" in damage.reason
    assert records_of(found)[0] == first
    assert records_of(found)[-1] == last
