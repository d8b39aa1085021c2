"""What `make fuzz` found in the reader of WARC files."""

import time

import pytest

from tests.archives.warc_files import Kind, WarcFile, damages_of, example, read, records_of


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.is_zstd])
@pytest.mark.parametrize("byte", [b"-", b"\0", b"\xfd"])
def test_a_file_may_begin_with_any_byte_where_a_frame_should(kind: Kind, byte: bytes) -> None:
    # The quick way through usual frames once took what the file began with for a header that it had read already.
    file = WarcFile(kind)
    damage = file.add_raw(byte * 30)
    file.add(example(1))
    found = read(file.data)
    assert records_of(found) == file.written
    assert [(item.offset, item.length) for item in damages_of(found)] == [damage]


@pytest.mark.parametrize(
    ("kind", "noise"),
    [
        (Kind.PLAIN, b"boWARC/1.1\r\n"),
        (Kind.PLAIN, b"WARC/"),
        (Kind.PLAIN, b"WARC/1.1\r\n\r\n"),
        (Kind.PLAIN, b"WARC/1.1\r\nContent-Length: 9\r\n"),
        (Kind.GZIP, b"\x1f\x8b\x08"),
        (Kind.ZSTD, b"\x28\xb5\x2f\xfd"),
    ],
)
def test_noise_full_of_beginnings_costs_its_size_not_its_square(kind: Kind, noise: bytes) -> None:
    file = WarcFile(kind)
    file.add(example(1))
    file.add_raw(b"-" + noise * (300_000 // len(noise)) + b"\r\n\r\n")
    file.add(example(2))
    begin = time.process_time()
    found = read(file.data)
    assert time.process_time() - begin < 10
    assert records_of(found) == file.written
