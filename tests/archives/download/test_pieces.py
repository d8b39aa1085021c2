"""Fetching in pieces over several connections."""

import http.server
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.download import fetch_archive
from imgmine.archives.item import parse_item
from imgmine.archives.part_file import PartFile, Validators
from imgmine.archives.retry import RetryPolicy
from tests.archives.download.fetching import CONTENT, KILLED, NAME, bytes_sent, names
from tests.archives.item_on_disk import IDENTIFIER, metadata
from tests.archives.on_the_wire import disturb, ranges

PIECE = 400_000


def in_pieces(client: ArchiveOrg, cache: Path, connections: int = 2) -> Path:
    item = client.item(IDENTIFIER)
    (path,) = fetch_archive(client, item, cache, connections=connections, piece_bytes=PIECE)
    return path


def test_pieces_come_over_several_connections_and_each_byte_once(server, client, cache):
    server.faults.add("throttle", rate=5_000_000)
    assert in_pieces(client, cache, connections=3).read_bytes() == CONTENT
    assert set(ranges(server)) == {
        f"bytes={start}-{start + PIECE - 1 if start + PIECE < 3_000_000 else ''}"
        for start in range(0, 3_000_000, PIECE)
    }
    assert bytes_sent(server) == len(CONTENT)
    assert names(cache) == {NAME, f"{NAME}.ok"}


def test_one_connection_asks_for_all_pieces_at_once(server, client, cache):
    assert in_pieces(client, cache, connections=1).read_bytes() == CONTENT
    assert ranges(server) == [None]


_KILLED_IN_PIECES = KILLED.replace("Path(sys.argv[3])", "Path(sys.argv[3]), connections=3, piece_bytes=400_000")


@pytest.mark.parametrize("connections", [1, 2])
def test_a_download_killed_over_several_connections_resumes_each_piece_at_its_byte(server, client, cache, connections):
    server.faults.add("throttle", rate=400_000)
    process = subprocess.Popen([sys.executable, "-c", _KILLED_IN_PIECES, server.url, IDENTIFIER, str(cache)])
    try:
        deadline = time.monotonic() + 20
        while bytes_sent(server) < 1_500_000:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    server.faults.clear()
    server.clear_requests()
    with PartFile(cache / IDENTIFIER / NAME, client.item(IDENTIFIER).files[0], PIECE) as part:
        kept, missing = part.received, part.missing()
    assert 1_000_000 < kept < len(CONTENT)
    assert any(start % PIECE for start, _ in missing)
    assert in_pieces(client, cache, connections).read_bytes() == CONTENT
    assert bytes_sent(server) == len(CONTENT) - kept


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, 500_000), max_size=4),
    ignored=st.integers(0, 2),
    flip=st.none() | st.integers(0, len(CONTENT) - 1),
)
def test_whatever_goes_wrong_with_pieces_the_bytes_are_the_same(server, client, tmp_path_factory, cuts, ignored, flip):
    disturb(server, cuts, ignored)
    if flip is not None:
        server.faults.add("flip", after=flip, path="*/items/*")
    patient = ArchiveOrg(server.url, retry=replace(client.retry, attempts=10))
    assert in_pieces(patient, tmp_path_factory.mktemp("cache")).read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_is_read_over_one_connection(server, client, cache):
    server.faults.add("ignore_range", times=None)
    assert in_pieces(client, cache).read_bytes() == CONTENT
    assert len(ranges(server)) <= 5


def test_copies_with_different_dates_do_not_end_a_download_in_pieces(server, client, root, cache):
    warc = root / IDENTIFIER / NAME
    dates = iter(range(1000))
    stop = threading.Event()

    def redate() -> None:
        while not stop.wait(0.002):
            os.utime(warc, (next(dates) % 7, 0))

    dating = threading.Thread(target=redate)
    dating.start()
    try:
        assert in_pieces(client, cache).read_bytes() == CONTENT
    finally:
        stop.set()
        dating.join()


def test_no_connection_asks_while_the_server_wants_to_be_left_alone(server, cache):
    server.faults.add("status", status=503, retry_after="7", path="*/items/*")
    server.faults.add("throttle", rate=2_000_000)
    asked = []

    def wait(seconds: float) -> None:
        time.sleep(0.5)  # the other connection ends its piece meanwhile
        asked.append(len(ranges(server)))
        time.sleep(0.3)
        asked.append(len(ranges(server)))

    client = ArchiveOrg(server.url, retry=RetryPolicy(attempts=3, sleep=wait))
    assert in_pieces(client, cache).read_bytes() == CONTENT
    assert asked[0] == asked[1] <= 3


@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize("missing", [0, 3, 7])
def test_a_server_that_begins_to_ignore_ranges_where_one_piece_is_missing(server, client, cache, missing, connections):
    with PartFile(cache / IDENTIFIER / NAME, client.item(IDENTIFIER).files[0], PIECE) as part:
        part.belongs_to(Validators(None, None))
        for number, start in enumerate(range(0, len(CONTENT), PIECE)):
            if number != missing:
                part.write(start, CONTENT[start : start + PIECE])
    server.faults.add("ignore_range", times=None)
    assert in_pieces(client, cache, connections).read_bytes() == CONTENT


class _TwoVersions(http.server.BaseHTTPRequestHandler):
    """Gives the first who asks one version of a file and all others another; the first two wait for each other."""

    protocol_version = "HTTP/1.1"
    both_asked: threading.Barrier
    asked: "itertools.count[int]"

    def do_GET(self) -> None:
        number = next(self.asked)
        version = b"ab"[number > 0 :][:1]
        start, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        size = 2 * PIECE
        body = version * ((int(last) + 1 if last else size) - int(start))
        self.send_response(206)
        self.send_header("ETag", f'"{version.decode()}"')
        self.send_header("Content-Range", f"bytes {start}-{int(start) + len(body) - 1}/{size}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if number < 2:
            self.both_asked.wait(20)
            time.sleep(0.3)  # until both have read what they were answered
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_two_connections_that_are_answered_of_two_versions_do_not_mix_them(cache):
    handler = type("Handler", (_TwoVersions,), {"both_asked": threading.Barrier(2), "asked": itertools.count()})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as changing:
        thread = threading.Thread(target=changing.serve_forever)
        thread.start()
        try:
            client = ArchiveOrg(f"http://127.0.0.1:{changing.server_port}", retry=RetryPolicy(first_wait=0.001))
            listed = [{"name": NAME, "format": "Web ARChive ZST", "size": str(2 * PIECE)}]
            item = parse_item(IDENTIFIER, metadata(IDENTIFIER, "2023-05-03 12:34:56", listed))
            (path,) = fetch_archive(client, item, cache, connections=2, piece_bytes=PIECE)
        finally:
            changing.shutdown()
            thread.join()
    assert path.read_bytes() == b"b" * (2 * PIECE)
