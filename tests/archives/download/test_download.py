"""Fetching an archive: what comes, what is kept, and how it goes on after it ended."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from imgmine.archives.download import Progress, fetch_archive
from imgmine.archives.item import Item
from imgmine.archives.part_file import CacheLost, DiskFull, FetchBusy, PartFile, Validators, remove
from imgmine.archives.remote_file import FetchFailed
from tests.archives.download.fetching import CONTENT, KILLED, NAME, fetch, leave_part, names
from tests.archives.item_on_disk import IDENTIFIER, put_item
from tests.archives.on_the_wire import ranges


def test_every_warc_of_an_item_is_fetched_and_checked(server, client, root, cache):
    put_item(root, {"b.zst": b"b" * 1000, "a.zst": CONTENT, "empty.zst": b""})
    paths = fetch(client, cache)
    assert [path.name for path in paths] == ["a.zst", "b.zst", "empty.zst"]
    assert [path.read_bytes() for path in paths] == [CONTENT, b"b" * 1000, b""]
    assert names(cache) == {"a.zst", "a.zst.ok", "b.zst", "b.zst.ok", "empty.zst", "empty.zst.ok"}
    assert {request.port for request in server.requests if "/items/" in request.path} == {
        int(server.data_url.rpartition(":")[2])
    }


@pytest.mark.parametrize("length", [237, 238, 255])
def test_a_name_may_be_as_long_as_the_disk_has_them(server, client, root, cache, length):
    long_names = [letter * (length - 9) + ".warc.zst" for letter in "ab"]
    put_item(root, dict.fromkeys(long_names, CONTENT))
    server.faults.add("cut", after=1_000_000, path="*/items/*")
    server.faults.add("cut", after=0, path="*/items/*", times=None)
    with pytest.raises(FetchFailed):
        fetch(client, cache)
    server.faults.clear()
    server.clear_requests()
    paths = fetch(client, cache)
    assert ranges(server) == ["bytes=1000000-", None]
    assert [path.name for path in paths] == long_names
    assert len(names(cache)) == 4
    server.clear_requests()
    assert fetch(client, cache) == paths
    assert ranges(server) == []
    for path in paths:
        remove(path)
    assert names(cache) == set()


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


def test_a_failed_download_keeps_its_part_and_is_resumed_at_the_byte(server, client, cache):
    leave_part(server, client, cache, 1_234_567)
    assert names(cache) == {f"{NAME}.part", f"{NAME}.part.arrived", f"{NAME}.part.json"}
    assert (cache / IDENTIFIER / f"{NAME}.part").read_bytes() == CONTENT[:1_234_567]
    (path,) = fetch(client, cache)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=1234567-"]
    assert names(cache) == {NAME, f"{NAME}.ok"}


def test_a_killed_download_resumes_where_it_stopped(server, client, cache):
    server.faults.add("throttle", rate=1_000_000)
    part = cache / IDENTIFIER / f"{NAME}.part"
    process = subprocess.Popen([sys.executable, "-c", KILLED, server.url, IDENTIFIER, str(cache)])
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


_LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
"""


def test_a_disk_that_fills_keeps_the_part_and_says_what_to_do(server, client, cache):
    # A limit on the size of files stands in for the disk: both end a write half way, with an error of their own.
    arguments = [sys.executable, "-c", _LIMITED + KILLED, server.url, IDENTIFIER, str(cache)]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "DiskFull" in ended.stderr
    assert "IMGMINE_CACHE" in ended.stderr
    assert (cache / IDENTIFIER / f"{NAME}.part").read_bytes() == CONTENT[:1_000_000]
    server.clear_requests()
    (path,) = fetch(client, cache)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=1000000-"]


def test_a_cache_that_is_removed_meanwhile_ends_the_download_at_once(server, client, cache, monkeypatch):
    write = PartFile.write
    sizes = []

    def write_and_remove(part, offset, data):
        write(part, offset, data)
        sizes.append(len(data))
        shutil.rmtree(cache)

    with monkeypatch.context() as patched:
        patched.setattr(PartFile, "write", write_and_remove)
        with pytest.raises(CacheLost, match=f"{NAME}.part was removed"):
            fetch(client, cache)
    assert len(sizes) == 1
    (path,) = fetch(client, cache)
    assert path.read_bytes() == CONTENT


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
