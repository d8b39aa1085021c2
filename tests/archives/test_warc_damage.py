"""Damaged, cut and hostile WARC files: nothing raises, nothing whole is lost, nothing lost goes unsaid."""

import io
import time
import tracemalloc
from random import Random

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgmine.archives.warc import Damage, WarcRecord, read_warc
from tests.archives.warc_files import (
    DICTIONARY,
    EVERY_TYPE,
    Kind,
    Record,
    Trickle,
    WarcFile,
    Written,
    damages_of,
    example,
    read,
    records_of,
    uncovered,
)

FRAMED = [kind for kind in Kind if kind is not Kind.PLAIN]


def file_of(kind: Kind, sizes: list[int], seed: int = 1) -> WarcFile:
    """Return a file with a response of each size; bodies are noise, or zeros where the size is odd."""
    file = WarcFile(kind)
    rng = Random(seed)
    for number, size in enumerate(sizes):
        file.add(example(number, bytes(size) if size % 2 else rng.randbytes(size)))
    return file


def shifted(written: Written, by: int) -> Written:
    return written._replace(offset=written.offset + by)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(FRAMED),
    sizes=st.lists(st.integers(0, 400) | st.integers(0, 9000), min_size=1, max_size=8),
    place=st.floats(0, 1),
    removed=st.integers(0, 200),
    inserted=st.one_of(
        st.binary(max_size=200),
        st.integers(0, 300).map(bytes),
        st.sampled_from([b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18\xff\xff\xff\x7f", b"\x1f\x8b\x08", b"WARC/1.1\r\n"]),
    ),
    seed=st.integers(0, 99),
)
def test_damage_anywhere_costs_only_what_it_touches(
    kind: Kind, sizes: list[int], place: float, removed: int, inserted: bytes, seed: int
) -> None:
    file = file_of(kind, sizes, seed)
    # Without its dictionary a file is lost, and its first bytes say what it is (see below for damage there).
    begin = file.others[0][1] if file.others else 4
    at = begin + int(place * (len(file.data) - begin))
    data = file.data[:at] + inserted + file.data[at + removed :]
    growth = len(data) - len(file.data)

    found = read(data)
    records = records_of(found)
    before = [written for written in file.written if written.offset + written.length <= at]
    after = [shifted(written, growth) for written in file.written if written.offset >= at + removed]
    assert [record for record in records if record.offset < at + len(inserted)][: len(before)] == before
    assert records[len(records) - len(after) :] == after
    # What is neither before nor after was touched: it comes back as it was (an edit may change nothing) or not at all.
    blocks = {written.record_id: written.block for written in file.written}
    assert all(blocks[record.record_id] == record.block for record in records)
    assert (
        uncovered(len(data), found, [*file.others, *((at, len(inserted)) for _ in [0] if not inserted.strip(b"\0"))])
        == []
    )
    assert list(read_warc(Trickle(data, seed), wanted=EVERY_TYPE)) == found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sizes=st.lists(st.integers(0, 400), min_size=2, max_size=6),
    damaged=st.integers(0, 5),
    seed=st.integers(0, 1 << 30),
    length=st.integers(1, 60),
)
def test_damage_in_a_plain_file_costs_only_the_records_it_touches(
    sizes: list[int], damaged: int, seed: int, length: int
) -> None:
    file = file_of(Kind.PLAIN, sizes)
    rng = Random(seed)
    record = file.written[damaged % len(sizes)]
    at = record.offset + rng.randrange(record.length - min(length, record.length) + 1)
    data = bytearray(file.data)
    data[at : at + length] = rng.randbytes(len(data[at : min(at + length, record.offset + record.length)]))
    found = read(bytes(data))
    intact = [written for written in file.written if written != record]
    assert [written for written in records_of(found) if written.offset != record.offset] == intact


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=2000),
    start=st.sampled_from([b"", b"WARC/1.0\r\n", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08\0", b"\x5d\x2a\x4d\x18"]),
)
def test_nonsense_never_raises_and_is_all_damage(data: bytes, start: bytes) -> None:
    found = read(start + data)
    assert not records_of(found)
    if (start + data).strip(b"\r\n"):
        assert found or start in (b"\x28\xb5\x2f\xfd", b"\x5d\x2a\x4d\x18")


@pytest.mark.parametrize("kind", Kind)
def test_a_file_cut_anywhere_is_told_and_its_whole_records_kept(kind: Kind) -> None:
    file = file_of(kind, [100, 31, 0, 260])
    if kind.is_zstd:
        file.add_skippable(b"something")
    file.add(example(9))
    data = file.data
    ends = {written.offset + written.length for written in file.written} | {0}
    ends |= {offset + length for offset, length in file.others}
    for size in range(len(data)):
        found = read(data[:size])
        whole = [written for written in file.written if written.offset + written.length <= size]
        records = records_of(found)
        assert records[: len(whole)] == whole
        if size in ends:
            assert len(records) == len(whole)
            assert not damages_of(found)
            continue
        damage = damages_of(found)[-1]
        assert damage.offset + damage.length == size
        assert "cut short" in damage.reason or "dictionary" in damage.reason
        # In a plain file a record may be whole although its last line break is not.
        assert len(records) == len(whole) + (1 if damage.length == 0 else 0)


def test_a_cut_through_a_record_of_several_frames_is_told_at_the_edge_of_a_frame_too() -> None:
    file = WarcFile(Kind.DICTIONARY)
    file.add(example(1, b"x" * 1000), cuts=[50, 300, 700])
    written = file.written[0]
    for size in range(written.offset + 1, len(file.data)):
        (damage,) = read(file.data[:size])
        assert isinstance(damage, Damage)
        assert (damage.offset, damage.length) == (written.offset, size - written.offset)
        assert "cut short" in damage.reason or "not finished" in damage.reason


@pytest.mark.parametrize("kind", FRAMED)
def test_a_broken_frame_is_told_with_its_place_and_reading_goes_on(kind: Kind) -> None:
    file = file_of(kind, [500, 400_000, 500])
    broken = file.written[1]
    data = bytearray(file.data)
    data[broken.offset + broken.length // 2] ^= 0xFF
    found = read(bytes(data))
    assert records_of(found) == [file.written[0], file.written[2]]
    (damage,) = damages_of(found)
    assert (damage.offset, damage.length) == (broken.offset, broken.length)
    assert "does not decode" in damage.reason


@pytest.mark.parametrize("kind", FRAMED)
def test_a_hole_of_zeros_costs_the_frames_it_covers(kind: Kind) -> None:
    for hole in (3_000, 3_000_000, 12_000_000):
        file = WarcFile(kind)
        file.add(example(1))
        file.add(example(2, Random(1).randbytes(hole)))
        file.add(example(3))
        lost = file.written[1]
        data = bytearray(file.data)
        data[lost.offset + 20 : lost.offset + lost.length] = bytes(lost.length - 20)
        found = read(bytes(data))
        assert records_of(found) == [file.written[0], file.written[2]]
        assert [(damage.offset, damage.length) for damage in damages_of(found)] == [(lost.offset, lost.length)]


def test_a_broken_frame_larger_than_what_is_held_is_told_and_the_next_found() -> None:
    for place in (0.1, 0.5, 0.99):
        file = file_of(Kind.DICTIONARY, [10, 20_000_000, 10])
        lost = file.written[1]
        for change in (0xFF, 0x06):
            data = bytearray(file.data)
            at = lost.offset + int(lost.length * place)
            data[at : at + 200_000] = bytes(byte ^ change for byte in data[at : at + 200_000])
            data[lost.offset + lost.length :] = file.data[lost.offset + lost.length :]
            found = read(bytes(data))
            assert records_of(found) == [file.written[0], file.written[2]]
            assert [(damage.offset, damage.length) for damage in damages_of(found)] == [(lost.offset, lost.length)]


@pytest.mark.parametrize("kind", FRAMED)
def test_broken_frames_inside_a_record_of_several_cost_that_record(kind: Kind) -> None:
    for broken_frame in range(3):
        file = WarcFile(kind)
        file.add(example(1))
        file.add(example(2, Random(2).randbytes(3000)), cuts=[1000, 2000])
        file.add(example(3))
        lost = file.written[1]
        data = bytearray(file.data)
        data[lost.offset + lost.length * (2 * broken_frame + 1) // 6] ^= 0x55
        found = read(bytes(data))
        assert records_of(found) == [file.written[0], file.written[2]]
        assert uncovered(len(data), found, file.others) == []


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("declared", [0, 5, 400, 10**6, 10**17])
@pytest.mark.parametrize("record_type", ["response", "metadata"])
def test_a_content_length_that_lies_costs_its_own_record(kind: Kind, declared: int, record_type: str) -> None:
    file = WarcFile(kind)
    file.add(example(1))
    body = Random(3).randbytes(2000)
    file.add(example(2, body, record_type)._replace(declared=declared))
    file.add(example(3))
    file.add(example(4))
    found = read(file.data)
    assert records_of(found) == [file.written[0], file.written[2], file.written[3]]
    liar = file.written[1]
    (damage,) = damages_of(found)
    assert (damage.offset, damage.length) == (liar.offset, liar.length)


@pytest.mark.parametrize("kind", FRAMED)
def test_a_lying_last_record_is_damage(kind: Kind) -> None:
    file = WarcFile(kind)
    file.add(example(1))
    file.add(example(2)._replace(declared=10**6))
    found = read(file.data)
    assert records_of(found) == [file.written[0]]
    assert "cut short" in damages_of(found)[0].reason


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("length", [b"", b"-5", b"5x", b"1e3", "٣".encode(), b"9" * 30, b"9" * 6000])
def test_a_content_length_that_is_no_number_is_damage(kind: Kind, length: bytes) -> None:
    file = WarcFile(kind)
    file.add(example(1))
    head = b"WARC/1.1\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:x>\r\nContent-Length: " + length + b"\r\n\r\n"
    place = file.add_raw(file.frame(head + b"hello\r\n\r\n"))
    file.add(example(2))
    found = read(file.data)
    assert records_of(found) == file.written
    (damage,) = damages_of(found)
    assert (damage.offset, damage.length) == place
    assert "Content-Length" in damage.reason


def test_frames_without_a_record_are_damage_up_to_the_next_record() -> None:
    file = WarcFile(Kind.DICTIONARY)
    file.add(example(1))
    first, _ = file.add_raw(file.frame(b"no record"))
    last, length = file.add_raw(file.frame(b"nor this"))
    file.add(example(2))
    found = read(file.data)
    assert records_of(found) == file.written
    assert damages_of(found) == [Damage(first, last + length - first, "content that is no WARC record")]


def test_a_head_without_an_end_is_damage() -> None:
    for size in (100, 70_000, 3_000_000):
        for kind in Kind:
            file = WarcFile(kind)
            file.add(example(1))
            place = file.add_raw(file.frame(b"WARC/1.1\r\n" + b"x" * size + b"\r\n"))
            file.add(example(2))
            found = read(file.data)
            assert records_of(found) == file.written
            assert [(damage.offset, damage.length) for damage in damages_of(found)] == [place]


@pytest.mark.parametrize("size", [None, 1 << 20, 1 << 40, 0])
def test_a_bomb_is_told_without_being_decoded_whole(size: int | None) -> None:
    file = WarcFile(Kind.ZSTD)
    file.add(example(1))
    head = Record("response", "urn:bomb", b"", declared=1 << 30).stored()[:-4]
    zeros = bytes(1 << 20)
    compressor = zstandard.ZstdCompressor(19, write_checksum=True).compressobj()
    bomb = compressor.compress(head) + b"".join(compressor.compress(zeros) for _ in range(300)) + compressor.flush()
    if size is not None:
        # The same with a content size in the header, which lies.
        header_length = zstandard.frame_header_size(bomb)
        flags = b"\xe4" if size else b"\x24"
        bomb = bomb[:4] + flags + size.to_bytes(8 if size else 1, "little") + bomb[header_length:]
    place = file.add_raw(bomb)
    file.add(example(2))
    tracemalloc.start()
    begin = time.process_time()
    found = read(file.data, max_record_bytes=10 << 20)
    seconds = time.process_time() - begin
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert records_of(found) == file.written
    (damage,) = damages_of(found)
    assert (damage.offset, damage.length) == place
    assert peak < 40 << 20
    assert seconds < 2


def test_a_bomb_of_repeated_bytes_is_not_decoded_at_all() -> None:
    file = WarcFile(Kind.ZSTD)
    repeated = ((128 << 10) << 3 | 2).to_bytes(3, "little") + b"\0"
    bomb = b"\x28\xb5\x2f\xfd\x00\x58" + repeated * 100_000 + b"\x01\0\0"  # 12 GiB
    place = file.add_raw(bomb)
    file.add(example(1))
    found = read(file.data)
    assert records_of(found) == file.written
    assert [(damage.offset, damage.length) for damage in damages_of(found)] == [place]
    assert "more than" in damages_of(found)[0].reason


@pytest.mark.parametrize("kind", Kind)
def test_a_bomb_in_the_dictionary_or_a_gzip_member_is_told(kind: Kind) -> None:
    bomb = WarcFile(kind).frame(example(1, bytes(50 << 20)).stored())
    tracemalloc.start()
    found = read(bomb if kind is not Kind.DICTIONARY else b"\x5d\x2a\x4d\x18" + len(bomb).to_bytes(4, "little") + bomb)
    tracemalloc.stop()
    assert len(found) == 1
    found = list(read_warc(io.BytesIO(WarcFile(kind).data + bomb), max_record_bytes=1 << 20))
    assert [type(item) for item in found] == [Damage]


def test_a_dictionary_that_cannot_be_read_is_told_and_so_is_each_frame() -> None:
    for kind, place in ((Kind.DICTIONARY, 100), (Kind.RAW_DICTIONARY, 20)):
        file = file_of(kind, [100, 200])
        data = bytearray(file.data)
        data[place : place + 30] = b"\xff" * 30
        found = read(bytes(data))
        assert not records_of(found)
        assert uncovered(len(data), found, []) == []
        assert "dictionary" in damages_of(found)[0].reason
        assert [(damage.offset, damage.length) for damage in damages_of(found)[1:]] == [
            (written.offset, written.length) for written in file.written
        ]


@pytest.mark.parametrize("wrong", [0, 1, 100, 10**6, 2**32 - 1])
def test_a_compressed_dictionary_is_used_though_its_frame_gives_a_wrong_length(wrong: int) -> None:
    file = file_of(Kind.DICTIONARY, [100, 200])
    data = file.data[:4] + wrong.to_bytes(4, "little") + file.data[8:]
    found = read(data)
    assert records_of(found) == file.written
    (damage,) = damages_of(found)
    assert (damage.offset, damage.length) == file.others[0]


@pytest.mark.parametrize("wrong", [3, 5000, 10**7, 2**32 - 1])
def test_a_skippable_frame_with_a_wrong_length_costs_no_record(wrong: int) -> None:
    file = file_of(Kind.DICTIONARY, [100, 200])
    file.add_skippable(b"some more", 0)
    for number in range(5):
        file.add(example(number, Random(4).randbytes(100)))
    at, length = file.others[1]
    data = file.data[: at + 4] + wrong.to_bytes(4, "little") + file.data[at + 8 :]
    found = read(data)
    assert records_of(found) == file.written
    assert [(damage.offset, damage.length) for damage in damages_of(found)] == [(at, length)]


def test_a_large_skippable_frame_is_skipped_without_being_held() -> None:
    file = WarcFile(Kind.ZSTD)
    file.add(example(1))
    file.add_skippable(bytes(40 << 20), 3)
    file.add(example(2))
    data = file.data
    tracemalloc.start()
    found = read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert records_of(found) == file.written
    assert not damages_of(found)
    assert peak < 6 << 20


@pytest.mark.parametrize("kind", Kind)
def test_damage_at_the_first_bytes_costs_the_first_record(kind: Kind) -> None:
    if kind in (Kind.DICTIONARY, Kind.RAW_DICTIONARY, Kind.CONTENT_DICTIONARY):
        pytest.skip("a file without its dictionary is lost")
    file = file_of(kind, [100, 200, 300])
    found = read(b"\xff\xff\xff\xff\xff" + file.data[5:])
    assert records_of(found) == file.written[1:]
    assert [(damage.offset, damage.length) for damage in damages_of(found)] == [(0, file.written[0].length)]


def test_a_window_that_wants_too_much_memory_is_damage() -> None:
    file = WarcFile(Kind.ZSTD)
    frame = bytearray(file.frame(example(1, Random(1).randbytes(1000)).stored()))
    assert not frame[4] & 0x20
    frame[5] = 0xF8  # 2 TiB
    place = file.add_raw(bytes(frame))
    file.add(example(2))
    found = read(file.data)
    assert records_of(found) == file.written
    assert [(damage.offset, damage.length) for damage in damages_of(found)] == [place]


@pytest.mark.parametrize("kind", FRAMED)
def test_a_record_inside_a_picture_is_no_record_though_the_frame_around_it_is_broken(kind: Kind) -> None:
    if kind is Kind.GZIP:
        pytest.skip("where a broken gzip member ends is not known")
    file = WarcFile(kind)
    forged = file.frame(example(666).stored())
    rng = Random(8)
    for size in (1000, 300_000):
        file.add(example(1, rng.randbytes(size) + forged + rng.randbytes(size)))
        file.add(example(2))
    data = bytearray(file.data)
    for broken in (file.written[0], file.written[2]):
        data[broken.offset + broken.length - 1] ^= 1
    assert forged in data
    assert records_of(read(bytes(data))) == [file.written[1], file.written[3]]


def test_a_stream_that_fails_says_so_itself() -> None:
    class Failing(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(read_warc(Failing()))  # type: ignore[arg-type]


def test_dictionary_names_are_checked() -> None:
    file = WarcFile(Kind.DICTIONARY)
    other = zstandard.train_dictionary(2048, [example(n, b"other").stored() for n in range(400)], dict_id=5)
    stored = zstandard.ZstdCompressor(dict_data=other).compress(example(1).stored())
    place = file.add_raw(stored)
    file.add(example(2))
    found = read(file.data)
    assert records_of(found) == file.written
    assert [(damage.offset, damage.length) for damage in damages_of(found)] == [place]
    assert "ictionary mismatch" in damages_of(found)[0].reason
    assert DICTIONARY.dict_id() != 5


def test_records_are_given_before_the_damage_after_them_is_met() -> None:
    file = file_of(Kind.ZSTD, [100, 200])
    found = read_warc(io.BytesIO(file.data[:-5]))
    assert isinstance(next(found), WarcRecord)
