"""What hostile bytes cost: their number, never its square."""

import io
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from random import Random
from uuid import UUID

import pytest
import zstandard

from imgmine.archives import record_budget
from imgmine.archives.assembly import MOST_RECORDS
from imgmine.archives.http import HttpSyntaxError, parse_response
from imgmine.archives.pieces import Damage
from imgmine.archives.record_budget import AT_FIRST, EACH_BYTES
from imgmine.archives.records import WarcRecord
from imgmine.archives.warc import read_warc
from tests.archives.warc_files import Kind, WarcFile, example, records_of

_SMALL = 16 << 10
_TIMES = 8
_NOISE_S = 0.02  # under this, times say nothing


def cpu_seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def assert_linear(work: Callable[[int], Callable[[], object]]) -> None:
    """See that eight times the bytes cost no more than about eight times as much; a square would cost 64 times."""
    few, many = work(_SMALL), work(_TIMES * _SMALL)
    first = cpu_seconds(few)
    second = cpu_seconds(many)
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
    first, last = file.written
    begin, end = first.offset + first.length, last.offset
    inside = 0
    reasons = []
    for found in read_warc(io.BytesIO(file.data)):
        if found.offset == begin:
            inside += 1
            assert found.length == end - begin
            if isinstance(found, Damage):
                reasons.append(found.reason)
    assert found.offset == last.offset
    assert inside == MOST_RECORDS + 1
    assert reasons == [f"more than {MOST_RECORDS:,} records in one frame"]


@pytest.mark.parametrize("kind", [Kind.ZSTD, Kind.GZIP])
def test_countless_records_in_many_frames_are_damaged_from_some_number_on(kind: Kind) -> None:
    file = WarcFile(kind)
    file.add(example(1))
    crowd = file.frame(_RECORD * 40_000)
    begin = len(file.data)
    for number in range(5):
        file.add_raw(crowd)
        file.add(example(2 + number))
    records: list[WarcRecord] = []
    damaged: list[Damage] = []
    for found in read_warc(io.BytesIO(file.data)):
        if isinstance(found, Damage):
            damaged.append(found)
        else:
            records.append(found)
    step = file.written[-1].offset - file.written[-2].offset
    assert [(each.offset, each.length) for each in damaged] == [(begin + n * step, len(crowd)) for n in (2, 3, 4)]
    assert all("16 bytes of the file" in each.reason for each in damaged)
    # Every frame has its first record, and that of one record is read, however many were before.
    assert {each.offset for each in records} >= {begin + n * step for n in range(5)}
    assert records_of([each for each in records if each.record_id]) == file.written
    allowed = AT_FIRST + len(file.data) // EACH_BYTES
    assert AT_FIRST <= len(records) - 5 - len(file.written) <= allowed


def test_many_honest_records_of_one_frame_do_not_meet_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_budget, "AT_FIRST", 0)
    random = Random(1)
    content = b""
    for number in range(3_000):
        record_id = f"urn:uuid:{UUID(int=random.getrandbits(128), version=4)}"
        url = f"https://i.imgur.com/{random.getrandbits(36):07x}.jpg"
        content += example(number, b"")._replace(record_id=record_id, url=url).stored()
    data = zstandard.ZstdCompressor(19, write_checksum=True).compress(content)
    assert [type(found) for found in read_warc(io.BytesIO(data))] == [WarcRecord] * 3_000


def block(size: int, kind: int = 0, last: int = 0) -> bytes:
    """Return the header of a zstd block: 0 stored, 1 repeated."""
    return (size << 3 | kind << 1 | last).to_bytes(3, "little")


def stored(size: int, last: int = 0) -> bytes:
    """Return the header of a stored block of deflate."""
    return struct.pack("<BHH", last, size, size ^ 0xFFFF)


# Frames and members each of which has the beginning of the next one in its first block, and leads through all of them
# to an end that is wrong: whoever looks at each to its end looks at the square of their number.
_ZSTD = b"\x28\xb5\x2f\xfd"
_CHECKED = _ZSTD + b"\x04\x58"
_RECORD = b"WARC/1.0\nWARC-Type: response\nContent-Length: 0\n\n\n\n"
_SOUND = _ZSTD + b"\0\x58" + block(len(_RECORD), last=1) + _RECORD
_WRONG_END = b"-" * 6 + block(4, last=1) + b"1234" + b"sum?"
_MEMBER = b"\x1f\x8b\x08" + bytes(6) + b"\x03"
_BOMB = b"-" * 6 + (block(128 << 10, kind=1) + b"-") * 1000 + _WRONG_END[6:]
_NESTED = [
    (Kind.ZSTD, _ZSTD + b"\0\0" + block(13) + b"-" * 7, b""),
    (Kind.ZSTD, _CHECKED + block(11) + b"WARC/", b"-" * 6 + b"\xff\xff\xff"),
    (Kind.ZSTD, _CHECKED + block(11) + b"WARC/", _WRONG_END),
    (Kind.ZSTD, _CHECKED + block(5) + b"WARC/" + block(len(_SOUND) + 6) + _SOUND, _WRONG_END),
    (Kind.GZIP, _MEMBER + stored(15) + b"WARC/", b"-" * 10 + stored(4, last=1) + b"1234checksum"),
]


def nested(kind: Kind, unit: bytes, tail: bytes, size: int) -> bytes:
    file = WarcFile(kind)
    file.add(example(1))
    file.add_raw(b"-" + unit * (size // len(unit)) + tail)
    file.add(example(2))
    return file.data


@pytest.mark.parametrize(("kind", "unit", "tail"), _NESTED)
def test_what_only_begins_like_records_costs_its_size(kind: Kind, unit: bytes, tail: bytes) -> None:
    def work(size: int) -> Callable[[], object]:
        data = nested(kind, unit, tail, size)
        return lambda: sum(1 for _ in read_warc(io.BytesIO(data)))

    assert_linear(work)


@pytest.mark.parametrize(("kind", "unit"), [(Kind.ZSTD, _NESTED[2][1]), (Kind.GZIP, _NESTED[4][1])])
def test_a_bomb_at_the_end_of_many_beginnings_is_not_decoded_for_each(kind: Kind, unit: bytes) -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bombs = {Kind.ZSTD: _BOMB, Kind.GZIP: b"-" * 10 + deflate.compress(bytes(20 << 20)) + deflate.flush() + b"checksum"}
    data = nested(kind, unit, bombs[kind], 16 << 10)
    assert cpu_seconds(lambda: sum(1 for _ in read_warc(io.BytesIO(data)))) < 10


@pytest.mark.parametrize("kind", [Kind.ZSTD, Kind.GZIP])
def test_no_record_is_lost_among_very_many_damaged_ones(kind: Kind) -> None:
    file = WarcFile(kind)
    for number in range(300):
        file.add(example(number, bytes(2_000)))
        broken = bytearray(file.frame(example(number, Random(number).randbytes(2_000)).stored()))
        broken[-9] ^= 1
        file.add_raw(bytes(broken))
    assert records_of(list(read_warc(io.BytesIO(file.data)))) == file.written


def test_line_breaks_in_a_plain_file_are_passed_over_together() -> None:
    file = WarcFile(Kind.PLAIN)
    file.add(example(1))
    file.add_raw(b"\r\n" * (1 << 19))
    file.add(example(2))
    found: list[object] = []
    assert cpu_seconds(lambda: found.extend(read_warc(io.BytesIO(file.data)))) < 1
    assert records_of(found) == file.written
