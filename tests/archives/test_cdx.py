"""CDX indexes as they are found beside WARC files."""

import gzip
from datetime import UTC, datetime

import pytest

from imgmine.archives.cdx import CdxEntry, IndexUnusable, read_cdx

HEADER = " CDX N b a m s k r M S V g\n"
LINES = (
    "com,imgur,i)/b 20230501120000 https://i.imgur.com/bbbbb.jpg image/jpeg 200 AAAA - - 300 900 x.zst\n"
    "com,imgur,i)/a 20230501120001 https://i.imgur.com/aaaaa.jpg warc/revisit 200 AAAA - - 200 100 x.zst\n"
    "com,imgur,i)/c 2023 https://i.imgur.com/ccccc.jpg unk - AAAA - - 50 0 y.zst\n"
)


@pytest.mark.parametrize("stored", [gzip.compress, bytes])
def test_entries_are_told_by_file_and_offset(stored):
    assert read_cdx(stored((HEADER + LINES).encode())) == {
        "x.zst": [
            CdxEntry(
                100,
                200,
                "https://i.imgur.com/aaaaa.jpg",
                datetime(2023, 5, 1, 12, 0, 1, tzinfo=UTC),
                "warc/revisit",
                200,
            ),
            CdxEntry(
                900, 300, "https://i.imgur.com/bbbbb.jpg", datetime(2023, 5, 1, 12, tzinfo=UTC), "image/jpeg", 200
            ),
        ],
        "y.zst": [CdxEntry(0, 50, "https://i.imgur.com/ccccc.jpg", None, "unk", None)],
    }


@pytest.mark.parametrize(
    ("told", "sha1"),
    [
        ("AEBAGBAFAYDQQCIKBMGA2DQPCAIREEYU", bytes(range(1, 21))),
        ("AEBAGBAFAYDQQCIKBMGA2DQPCAIREEY=", None),  # its last byte was zero, and cut
        ("AEBAGBAFAYDQQCIKBMGA2DQPCAIREEY", None),
        ("AEBAG===", None),
        ("aebagbafaydqqcikbmga2dqpcaireeyu", None),
        ("-", None),
    ],
)
def test_only_a_whole_digest_is_one(told, sha1):
    [_, entry] = read_cdx((HEADER + LINES.replace("200 AAAA", f"200 {told}")).encode())["x.zst"]
    assert entry.sha1 == sha1


def test_lines_that_are_there_twice_are_one_entry():
    assert read_cdx((HEADER + LINES + LINES).encode()) == read_cdx((HEADER + LINES).encode())


def test_what_two_lines_say_differently_of_a_record_is_not_known():
    told = LINES.replace("AAAA", "AEBAGBAFAYDQQCIKBMGA2DQPCAIREEYU")
    [_, entry] = read_cdx((HEADER + LINES + told).encode())["x.zst"]
    assert (entry.status, entry.sha1) == (200, None)
    [_, entry] = read_cdx((HEADER + told + told.replace(" 200 AE", " 404 AE")).encode())["x.zst"]
    assert (entry.status, entry.sha1) == (None, bytes(range(1, 21)))


def test_columns_are_found_by_the_letters_of_the_header():
    [entry] = read_cdx(b" CDX V g a S b m s\n7 x.zst http://h/ 9 20230501120000 text/html 404\n")["x.zst"]
    assert entry == CdxEntry(7, 9, "http://h/", datetime(2023, 5, 1, 12, tzinfo=UTC), "text/html", 404)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b" CDX N b a\n",
        (HEADER + "a b\n").encode(),
        (HEADER + LINES.replace(" 300 900 ", " - 900 ")).encode(),
        (HEADER + LINES.replace(" 300 900 ", " 300 - ")).encode(),
        (HEADER + LINES.replace(" 300 900 ", f" 300 {'9' * 5000} ")).encode(),
        (HEADER + LINES.replace(" 300 900 ", f" {'9' * 5000} 900 ")).encode(),
        gzip.compress((HEADER + "a" * (2 << 20)).encode()),
        gzip.compress((HEADER + LINES).encode())[:-12],
        b"\x1f\x8b rubbish",
    ],
)
def test_what_is_no_index_is_an_error(data):
    with pytest.raises(IndexUnusable):
        read_cdx(data)


def test_a_status_of_too_many_digits_is_none():
    entries = read_cdx((HEADER + LINES.replace(" 200 AAAA - - 300", f" {'9' * 5000} AAAA - - 300")).encode())["x.zst"]
    assert [entry.status for entry in entries] == [200, None]
