"""Fetching from a server that does not answer as it should: what is tried again, and what is told."""

import hashlib
import json
import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.download import fetch_archive
from imgmine.archives.item import FileMissing, ItemDark, ItemMissing, ItemRestricted
from imgmine.archives.remote_file import FetchFailed, WrongBytes
from tests.archives.download.fetching import CONTENT, NAME, fetch, leave_part, names
from tests.archives.item_on_disk import IDENTIFIER, put_item
from tests.archives.on_the_wire import disturb, ranges


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
    disturb(server, cuts, ignored)
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


def test_a_wrong_sha1_is_an_error_too(client, cache):
    item = client.item(IDENTIFIER)
    told = replace(item, files=tuple(replace(file, sha1="0" * 40) for file in item.files))
    with pytest.raises(WrongBytes, match="the SHA-1 should be 0000") as caught:
        fetch_archive(client, told, cache)
    assert caught.value.got == hashlib.sha1(CONTENT).hexdigest()
    right = replace(item, files=tuple(replace(file, sha1=caught.value.got) for file in item.files))
    (path,) = fetch_archive(client, right, cache)
    assert path.read_bytes() == CONTENT
