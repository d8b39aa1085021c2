"""Fetching archives from the miniature Internet Archive while things go wrong."""

import hashlib
import http.server
import itertools
import json
import os
import random
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
from imgmine.archives.download import Progress, fetch_archive
from imgmine.archives.item import FileMissing, Item, ItemDark, ItemMissing, ItemRestricted, parse_item
from imgmine.archives.part_file import DiskFull, FetchBusy, PartFile, Validators
from imgmine.archives.remote_file import FetchFailed, WrongBytes
from imgmine.archives.retry import RetryPolicy
from imgmine.demo.server import ArchiveServer, serve
from tests.archives.item_on_disk import IDENTIFIER, metadata, put_item

NAME = "imgur.0123456789.megawarc.warc.zst"
CONTENT = random.Random(0).randbytes(3_000_000)


@pytest.fixture
def root(tmp_path):
    put_item(tmp_path / "archive.org", {NAME: CONTENT})
    return tmp_path / "archive.org"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def server(root):
    with serve(root) as running:
        yield running


@pytest.fixture
def waits():
    return []


@pytest.fixture
def client(server, waits):
    return ArchiveOrg(server.url, retry=RetryPolicy(attempts=3, first_wait=0.001, sleep=waits.append), timeout=20)


def fetch(client: ArchiveOrg, cache: Path, identifier: str = IDENTIFIER) -> list[Path]:
    return fetch_archive(client, client.item(identifier), cache)


def ranges(server: ArchiveServer) -> list[str | None]:
    """What was asked of the machine that has the files."""
    return [request.range for request in server.requests if "/items/" in request.path]


def bytes_sent(server: ArchiveServer) -> int:
    return sum(request.sent for request in server.requests if "/items/" in request.path)


def names(cache: Path) -> set[str]:
    return {path.name for path in (cache / IDENTIFIER).iterdir()}


def test_every_warc_of_an_item_is_fetched_and_checked(server, client, root, cache):
    put_item(root, {"b.zst": b"b" * 1000, "a.zst": CONTENT, "empty.zst": b""})
    paths = fetch(client, cache)
    assert [path.name for path in paths] == ["a.zst", "b.zst", "empty.zst"]
    assert [path.read_bytes() for path in paths] == [CONTENT, b"b" * 1000, b""]
    assert names(cache) == {"a.zst", "a.zst.ok", "b.zst", "b.zst.ok", "empty.zst", "empty.zst.ok"}
    assert {request.port for request in server.requests if "/items/" in request.path} == {
        int(server.data_url.rpartition(":")[2])
    }


def test_what_was_fetched_and_checked_is_not_read_again(server, client, cache):
    (path,) = fetch(client, cache)
    server.clear_requests()
    before = path.stat()
    # If it were read, these bytes, under the old size and time, would be found wrong.
    path.write_bytes(bytes(len(CONTENT)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fetch(client, cache) == [path]
    assert ranges(server) == []


def test_a_file_that_lost_its_note_is_read_again_and_not_fetched(server, client, cache):
    (path,) = fetch(client, cache)
    server.clear_requests()
    path.with_name(f"{NAME}.ok").unlink()
    assert fetch(client, cache) == [path]
    assert ranges(server) == []
    assert names(cache) == {NAME, f"{NAME}.ok"}


def test_a_file_that_was_touched_since_is_fetched_again(server, client, cache):
    (path,) = fetch(client, cache)
    server.clear_requests()
    path.write_bytes(b"x" + CONTENT[1:])
    assert fetch(client, cache) == [path]
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [None]


def test_a_file_that_ia_replaced_is_fetched_anew(server, client, root, cache):
    fetch(client, cache)
    put_item(root, {NAME: b"new" + CONTENT})
    (path,) = fetch(client, cache)
    assert path.read_bytes() == b"new" + CONTENT


def leave_part(server: ArchiveServer, client: ArchiveOrg, cache: Path, size: int) -> None:
    """Fetch so much of the file, and fail."""
    item = client.item(IDENTIFIER)
    server.faults.add("cut", after=size, path="*/items/*")
    server.faults.add("cut", after=0, path="*/items/*", times=None)
    with pytest.raises(FetchFailed, match=NAME):
        fetch_archive(client, item, cache)
    server.faults.clear()
    server.clear_requests()


def test_a_failed_download_keeps_its_part_and_is_resumed_at_the_byte(server, client, cache):
    leave_part(server, client, cache, 1_234_567)
    assert names(cache) == {f"{NAME}.part", f"{NAME}.part.arrived", f"{NAME}.part.json"}
    assert (cache / IDENTIFIER / f"{NAME}.part").read_bytes() == CONTENT[:1_234_567]
    (path,) = fetch(client, cache)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=1234567-"]
    assert names(cache) == {NAME, f"{NAME}.ok"}


_KILLED = """
import sys
from pathlib import Path
from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.download import fetch_archive
client = ArchiveOrg(sys.argv[1])
fetch_archive(client, client.item(sys.argv[2]), Path(sys.argv[3]))
"""


def test_a_killed_download_resumes_where_it_stopped(server, client, cache):
    server.faults.add("throttle", rate=1_000_000)
    part = cache / IDENTIFIER / f"{NAME}.part"
    process = subprocess.Popen([sys.executable, "-c", _KILLED, server.url, IDENTIFIER, str(cache)])
    try:
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size > 300_000):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(FetchBusy, match="another process"):
            fetch(client, cache)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    size = part.stat().st_size
    assert 300_000 < size < len(CONTENT)
    assert part.read_bytes() == CONTENT[:size]
    server.faults.clear()
    server.clear_requests()
    (path,) = fetch(client, cache)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={size}-"]


def test_a_connection_that_breaks_more_often_than_is_borne_without_progress(server, client, waits, cache):
    server.faults.add("cut", after=200_000, path="*/items/*", times=None)
    (path,) = fetch(client, cache)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [None, *(f"bytes={n}-" for n in range(200_000, 3_000_000, 200_000))]
    # Each piece began the count anew, so that no wait grew.
    assert len(waits) == 14
    assert max(waits) <= 0.001


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 2_000_000), max_size=6), ignored=st.integers(0, 2))
def test_wherever_it_is_cut_the_bytes_are_the_same(server, client, tmp_path_factory, cuts, ignored):
    server.faults.clear()
    for cut in cuts:
        server.faults.add("cut", after=cut, path="*/items/*")
    if ignored:
        server.faults.add("ignore_range", times=ignored)
    patient = ArchiveOrg(server.url, retry=replace(client.retry, attempts=10))
    (path,) = fetch(patient, tmp_path_factory.mktemp("cache"))
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("where", ["/download/*", "*/items/*"])
def test_a_busy_server_is_given_the_time_it_asks_for(server, client, waits, cache, where):
    server.faults.add("status", status=503, retry_after="1", path=where, times=2)
    (path,) = fetch(client, cache)
    assert path.read_bytes() == CONTENT
    assert waits == [1, 1]


def test_a_server_that_stays_busy_is_an_error(server, client, waits, cache):
    server.faults.add("status", status=503, path="/download/*", times=None)
    with pytest.raises(FetchFailed, match="3 failures in a row at byte 0; at last: HTTP 503"):
        fetch(client, cache)
    assert len(waits) == 2


def test_a_connection_that_says_nothing_is_given_up_and_resumed(server, client, cache):
    impatient = ArchiveOrg(server.url, retry=client.retry, timeout=0.7)
    server.faults.add("stall", after=1_000_000, seconds=30, path="*/items/*")
    server.faults.add("slow_start", seconds=30, path="/download/*")
    (path,) = fetch(impatient, cache)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=1000000-"]


def test_a_server_that_ignores_ranges_costs_no_progress(server, client, cache):
    leave_part(server, client, cache, 1_000_000)
    server.faults.add("ignore_range", times=None)
    server.faults.add("cut", after=2_000_000, path="*/items/*")
    (path,) = fetch(client, cache)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=1000000-", "bytes=2000000-"]


def test_bytes_from_elsewhere_are_not_appended(server, client, cache):
    leave_part(server, client, cache, 1_000_000)
    server.faults.add("wrong_range", after=999_999, times=2)
    (path,) = fetch(client, cache)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=1000000-"] * 3


def test_wrong_bytes_are_fetched_again(server, client, cache):
    server.faults.add("flip", after=2_999_999, path="*/items/*")
    (path,) = fetch(client, cache)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [None, None]


def test_wrong_bytes_in_the_part_of_an_earlier_run_are_found(server, client, cache):
    leave_part(server, client, cache, 1_000_000)
    part = cache / IDENTIFIER / f"{NAME}.part"
    part.write_bytes(b"!" + CONTENT[1:1_000_000])
    (path,) = fetch(client, cache)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=1000000-", None]


def test_bytes_that_stay_wrong_are_an_error_that_names_them(server, client, cache):
    server.faults.add("flip", after=0, path="*/items/*", times=None)
    with pytest.raises(WrongBytes) as caught:
        fetch(client, cache)
    right = hashlib.md5(CONTENT).hexdigest()
    wrong = hashlib.md5(bytes([CONTENT[0] ^ 0xFF]) + CONTENT[1:]).hexdigest()
    assert (caught.value.archive, caught.value.name) == (IDENTIFIER, NAME)
    assert (caught.value.expected, caught.value.got) == (right, wrong)
    assert all(text in str(caught.value) for text in (IDENTIFIER, NAME, right, wrong))
    assert names(cache) == set()
    assert ranges(server) == [None] * 3


def test_a_size_that_differs_from_the_metadata_is_an_error(server, client, root, cache):
    (root / IDENTIFIER / NAME).write_bytes(CONTENT + b"more")
    with pytest.raises(FetchFailed, match="the server's file has 3,000,004 bytes, the metadata says 3,000,000"):
        fetch(client, cache)


def test_a_part_of_a_file_that_ia_replaced_is_thrown_away(server, client, root, cache):
    leave_part(server, client, cache, 1_000_000)
    put_item(root, {NAME: CONTENT[::-1]})
    (path,) = fetch(client, cache)
    assert path.read_bytes() == CONTENT[::-1]
    assert ranges(server) == [None]


def test_a_file_that_changes_while_it_is_fetched_is_begun_anew(server, client, root, cache):
    put_item(root, {NAME: CONTENT[::-1]})
    item = client.item(IDENTIFIER)
    put_item(root, {NAME: CONTENT})
    os.utime(root / IDENTIFIER / NAME, (0, 0))
    leave_part(server, client, cache, 1_000_000)
    part = cache / IDENTIFIER / f"{NAME}.part"
    journal = part.with_name(f"{NAME}.part.json")
    journal.write_text(json.dumps(json.loads(journal.read_text()) | {"md5": item.files[0].md5}))
    put_item(root, {NAME: CONTENT[::-1]})
    (path,) = fetch(client, cache)
    assert path.read_bytes() == CONTENT[::-1]
    assert ranges(server) == ["bytes=1000000-", None]


def test_two_copies_with_different_dates_are_no_reason_to_give_up(server, client, root, cache):
    leave_part(server, client, cache, 1_000_000)
    warc = root / IDENTIFIER / NAME
    for n in range(1, 6):
        server.faults.add("cut", after=n * 100_000, path="*/items/*")

    dates = iter(range(10))

    def another_date(seconds: float) -> None:
        os.utime(warc, (next(dates), 0))

    another_date(0)
    changing = ArchiveOrg(server.url, retry=replace(client.retry, sleep=another_date))
    (path,) = fetch(changing, cache)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(("kind", "error"), [("dark", ItemDark), ("restricted", ItemRestricted)])
def test_what_is_not_available_is_not_asked_for(server, client, cache, kind, error):
    server.faults.add(kind, path=IDENTIFIER)
    with pytest.raises(error, match=IDENTIFIER):
        fetch(client, cache)
    assert ranges(server) == []


def test_a_private_warc_is_not_asked_for(server, client, cache):
    server.faults.add("private", path=f"{IDENTIFIER}/{NAME}")
    with pytest.raises(ItemRestricted, match=NAME):
        fetch(client, cache)
    assert ranges(server) == []


def test_a_missing_item_has_no_archive(client, cache):
    with pytest.raises(ItemMissing):
        fetch(client, cache, "no_such_item")


def test_what_became_unavailable_after_its_metadata_was_read_is_asked_for_once(server, client, root, waits, cache):
    item = client.item(IDENTIFIER)
    server.clear_requests()
    for fault, status in (("dark", 403), ("restricted", 403), ("private", 401)):
        server.faults.clear()
        server.faults.add(fault, path="*")
        with pytest.raises(ItemRestricted, match=f"{NAME}.*HTTP {status}"):
            fetch_archive(client, item, cache)
    server.faults.clear()
    (root / IDENTIFIER / NAME).unlink()
    with pytest.raises(FileMissing, match=f"{NAME}.*HTTP 404"):
        fetch_archive(client, item, cache)
    assert [request.status for request in server.requests] == [403, 403, 401, 302, 404]
    assert waits == []


def test_an_answer_that_no_retry_will_change_is_an_error_at_once(server, client, waits, cache):
    server.faults.add("status", status=400, path="/download/*")
    with pytest.raises(FetchFailed, match="HTTP 400"):
        fetch(client, cache)
    assert waits == []


def without(item: Item, **unknown: None) -> Item:
    return replace(item, files=tuple(replace(file, **unknown) for file in item.files))


def test_a_file_of_which_the_metadata_says_little_comes_whole(server, client, cache):
    item = without(client.item(IDENTIFIER), size=None, md5=None)
    server.faults.add("cut", after=1_000_000, path="*/items/*", times=2)
    (path,) = fetch_archive(client, item, cache)
    assert path.read_bytes() == CONTENT
    server.clear_requests()
    assert fetch_archive(client, item, cache) == [path]
    assert server.requests == []


def test_a_part_that_is_all_of_a_file_of_unknown_size_is_recognised(server, client, cache):
    item = without(client.item(IDENTIFIER), size=None)
    with PartFile(cache / IDENTIFIER / NAME, item.files[0]) as part:
        part.belongs_to(Validators(None, None))
        part.write(0, CONTENT)
    (path,) = fetch_archive(client, item, cache)
    assert path.read_bytes() == CONTENT
    assert [request.status for request in server.requests if "/items/" in request.path] == [416]


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


_KILLED_IN_PIECES = _KILLED.replace("Path(sys.argv[3])", "Path(sys.argv[3]), connections=3, piece_bytes=400_000")


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
    server.faults.clear()
    for cut in cuts:
        server.faults.add("cut", after=cut, path="*/items/*")
    if ignored:
        server.faults.add("ignore_range", times=ignored)
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


def test_a_wrong_sha1_is_an_error_too(client, cache):
    item = client.item(IDENTIFIER)
    told = replace(item, files=tuple(replace(file, sha1="0" * 40) for file in item.files))
    with pytest.raises(WrongBytes, match="the SHA-1 should be 0000") as caught:
        fetch_archive(client, told, cache)
    assert caught.value.got == hashlib.sha1(CONTENT).hexdigest()
    right = replace(item, files=tuple(replace(file, sha1=caught.value.got) for file in item.files))
    (path,) = fetch_archive(client, right, cache)
    assert path.read_bytes() == CONTENT


_LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
"""


def test_a_disk_that_fills_keeps_the_part_and_says_what_to_do(server, client, cache):
    # A limit on the size of files stands in for the disk: both end a write half way, with an error of their own.
    arguments = [sys.executable, "-c", _LIMITED + _KILLED, server.url, IDENTIFIER, str(cache)]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "DiskFull" in ended.stderr
    assert "IMGMINE_CACHE" in ended.stderr
    assert (cache / IDENTIFIER / f"{NAME}.part").read_bytes() == CONTENT[:1_000_000]
    server.clear_requests()
    (path,) = fetch(client, cache)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=1000000-"]


def test_an_archive_that_will_not_fit_is_not_begun(server, client, cache):
    item = client.item(IDENTIFIER)
    huge = replace(item, files=tuple(replace(file, size=1 << 60) for file in item.files))
    with pytest.raises(DiskFull, match="1,152,921,504,606,846,976 bytes are to come"):
        fetch_archive(client, huge, cache)
    assert ranges(server) == []


def test_progress_is_told_in_bytes_of_the_whole_archive(server, client, root, cache):
    put_item(root, {"a.zst": CONTENT, "b.zst": CONTENT[:500_000]})
    server.faults.add("throttle", rate=3_000_000)
    told: list[Progress] = []
    fetch_archive(client, client.item(IDENTIFIER), cache, told.append)
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    assert {progress.total for progress in told} == {3_500_000}
    assert told[-1].done == 3_500_000
    assert len(told) > 2
    assert all(0 < progress.rate < 4_000_000 for progress in told)
    assert told[-1].seconds_left == 0
    told.clear()
    fetch_archive(client, client.item(IDENTIFIER), cache, told.append)
    assert told[-1][:2] == (3_500_000, 3_500_000)


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
