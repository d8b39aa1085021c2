"""A record fetched again by its range from a server or a file, and what is said where that cannot be."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from imgmine.archives.origin import OriginError, fetch_record, main
from imgmine.demo.server import ArchiveServer, serve
from tests.archives.item_on_disk import IDENTIFIER, put_item
from tests.archives.small_warcs import Answer, Compression, Span, jpeg, write_warc

NAME = "imgur.0123456789.megawarc.warc.zst"
URL = "https://i.imgur.com/abcde.jpg"
BODY = jpeg(b"the one")
HASH = hashlib.blake2b(BODY, digest_size=32).hexdigest()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2bc\r\n" + BODY + b"\r\n0\r\n\r\n"
ANSWERS = [
    Answer("https://i.imgur.com/first.jpg", jpeg(b"first")),
    Answer(URL, BODY),
    Answer(URL, block=CHUNKED),
    Answer(URL, record_type="revisit", declared=700),
    Answer(URL, block=b"no HTTP"),
    Answer(URL, record_type="request", block=b"GET / HTTP/1.1\r\n\r\n"),
]


@pytest.fixture
def spans(tmp_path: Path) -> list[Span]:
    """Where the answers lie in the WARC file of the item, which is written here."""
    found = write_warc(tmp_path / NAME, ANSWERS)
    put_item(tmp_path, {NAME: (tmp_path / NAME).read_bytes()})
    return found


@pytest.fixture
def server(tmp_path: Path, spans: list[Span]) -> Iterator[ArchiveServer]:
    with serve(tmp_path) as running:
        yield running


@pytest.fixture
def address(server: ArchiveServer) -> str:
    return f"{server.url}/download/{IDENTIFIER}/{NAME}"


@pytest.mark.parametrize("compression", ["dictionary", "zstd", "gzip"])
def test_a_record_of_a_local_file_is_hashed(tmp_path: Path, compression: Compression) -> None:
    for span, answer in list(zip(write_warc(tmp_path / "a", ANSWERS, compression), ANSWERS, strict=True))[1:3]:
        record = fetch_record(str(tmp_path / "a"), span.offset, span.length)
        assert (record.blake2b, record.size, record.url) == (HASH, len(BODY), URL)
        assert record.record_id == answer.record_id


def test_a_server_is_asked_for_the_dictionary_and_the_record_alone(
    server: ArchiveServer, address: str, spans: list[Span]
) -> None:
    assert fetch_record(address, spans[1].offset, spans[1].length).blake2b == HASH
    sent = sum(request.sent for request in server.requests)
    dictionary = spans[0].offset
    assert sent == dictionary + spans[1].length
    assert all(request.user_agent.startswith("imgmine/") for request in server.requests if request.user_agent)


def test_a_record_that_shares_a_frame_is_found_by_its_id(tmp_path: Path) -> None:
    together = zstandard.compress(ANSWERS[0].record() + ANSWERS[1].record())
    (tmp_path / "a").write_bytes(together)
    record = fetch_record(str(tmp_path / "a"), 0, len(together), ANSWERS[1].record_id)
    assert record.blake2b == HASH


@pytest.mark.parametrize(
    ("number", "said"), [(3, "a revisit record"), (4, "no HTTP status line"), (5, "a request record")]
)
def test_what_has_no_body_says_so(tmp_path: Path, spans: list[Span], number: int, said: str) -> None:
    with pytest.raises(OriginError, match=said):
        fetch_record(str(tmp_path / NAME), spans[number].offset, spans[number].length)


def test_a_wrong_place_says_so(tmp_path: Path, spans: list[Span]) -> None:
    path = str(tmp_path / NAME)
    size = (tmp_path / NAME).stat().st_size
    for offset, length, said in [
        (spans[1].offset + 3, spans[1].length, "no record"),
        (spans[1].offset, spans[1].length - 5, "no record"),
        (size, 10, "ends before"),
        (-1, 10, "no record"),
        (0, 0, "no record"),
    ]:
        with pytest.raises(OriginError, match=said):
            fetch_record(path, offset, length)
    with pytest.raises(OriginError, match="No such file"):
        fetch_record(path + ".none", spans[1].offset, spans[1].length)


FAULTS = [
    ({"kind": "status", "status": 503, "retry_after": "60"}, "HTTP 503.*Retry-After: 60"),
    ({"kind": "status", "status": 500}, "HTTP 500"),
    ({"kind": "status", "status": 403}, "not for everybody"),
    ({"kind": "ignore_range"}, "whole file.*Download it"),
    ({"kind": "wrong_range", "after": 3}, "Is it the same file"),
    ({"kind": "cut", "after": 2}, "broken.*Try again later"),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS, ids=[said for _, said in FAULTS])
def test_a_server_that_fails_is_quoted(
    server: ArchiveServer, address: str, spans: list[Span], fault: dict[str, object], said: str
) -> None:
    server.faults.add(path="*/items/*", times=None, **fault)  # type: ignore[arg-type]
    with pytest.raises(OriginError, match=said):
        fetch_record(address, spans[1].offset, spans[1].length)


def test_a_range_behind_the_end_and_a_server_that_is_gone(address: str, spans: list[Span]) -> None:
    with pytest.raises(OriginError, match=r"HTTP 416.*shorter"):
        fetch_record(address, 10**9, 10)
    with pytest.raises(OriginError, match="Try again later"):
        fetch_record("http://127.0.0.1:1/a.warc.zst", spans[1].offset, spans[1].length)


def test_the_command_prints_the_hash_and_compares_it(
    address: str, spans: list[Span], capsys: pytest.CaptureFixture[str]
) -> None:
    place = [address, str(spans[1].offset), str(spans[1].length)]
    assert main(place) == 0
    assert capsys.readouterr().out == f"{HASH}\n"
    assert main([*place, "--expect", HASH.upper()]) == 0
    assert main([*place, "--expect", "0" * 64]) == 1
    assert "not what it was" in capsys.readouterr().err
    assert main([address, "1", "10"]) == 1
    assert address in capsys.readouterr().err
