"""Metadata and search, against the miniature Internet Archive."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from imgmine.archives.archive_org import ArchiveOrg, ArchiveOrgUnreachable, FoundItem, SearchFailed
from imgmine.archives.item import Availability, BadMetadata, ItemMissing, ItemRestricted
from imgmine.archives.retry import RetryPolicy
from imgmine.demo.server import serve
from imgmine.errors import ImgmineError
from tests.archives.item_on_disk import COLLECTION, IDENTIFIER, put_item, put_list


@pytest.fixture
def client(server, waits):
    retry = RetryPolicy(attempts=4, first_wait=0.001, sleep=waits.append)
    return ArchiveOrg(server.url, "someone@example.org", retry=retry, timeout=20, search_page=1_000)


def test_an_item_is_read(server, client, tmp_path):
    put_item(tmp_path, {"b.zst": b"bb", "a.zst": b"a"})
    item = client.item(IDENTIFIER)
    assert [(file.name, file.size) for file in item.warcs] == [("a.zst", 1), ("b.zst", 2)]
    assert item.publicdate == datetime(2023, 5, 3, 12, 34, 56, tzinfo=UTC)
    assert client.file_url(IDENTIFIER, "a b.zst") == f"{server.url}/download/{IDENTIFIER}/a%20b.zst"


def test_every_request_says_who_asks(server, client, tmp_path):
    put_item(tmp_path, {"a.zst": b"a"})
    client.item(IDENTIFIER)
    client.items_since(COLLECTION)
    with client.download_session() as session:
        session.get(client.file_url(IDENTIFIER, "a.zst"))
    assert len(server.requests) == 4
    for request in server.requests:
        assert request.user_agent.startswith("imgmine/")
        assert "(someone@example.org)" in request.user_agent


def test_a_missing_item_is_told_from_a_dark_and_a_restricted_one(server, client, tmp_path):
    with pytest.raises(ItemMissing):
        client.item("no_such_item")
    put_item(tmp_path, {"a.zst": b"a"}, identifier="dark_one")
    put_item(tmp_path, {"a.zst": b"a"}, identifier="restricted_one")
    put_item(tmp_path, {"a.zst": b"a"}, identifier="private_one")
    server.faults.add("dark", path="dark_one")
    server.faults.add("restricted", path="restricted_one")
    server.faults.add("private", path="private_one/*")
    assert client.item("dark_one").availability is Availability.DARK
    assert client.item("restricted_one").availability is Availability.RESTRICTED
    assert client.item("private_one").availability is Availability.RESTRICTED


@pytest.mark.parametrize("status", [401, 403])
def test_refused_metadata_is_restricted_and_not_asked_for_again(server, client, tmp_path, status):
    put_item(tmp_path, {"a.zst": b"a"})
    server.faults.add("status", status=status, times=None)
    with pytest.raises(ItemRestricted, match=str(status)):
        client.item(IDENTIFIER)
    assert len(server.requests) == 1


def test_retry_after_is_kept_to_and_the_backoff_grows(server, client, waits, tmp_path):
    put_item(tmp_path, {"a.zst": b"a"})
    server.faults.add("status", status=503, retry_after="7")
    server.faults.add("status", status=429, times=2)
    assert client.item(IDENTIFIER).identifier == IDENTIFIER
    assert waits[0] == 7
    assert 0.001 <= waits[1] <= 0.002
    assert 0.002 <= waits[2] <= 0.004


def test_a_server_that_asks_for_more_patience_than_there_is_ends_the_run(server, client, waits):
    server.faults.add("status", status=503, retry_after="100000", times=None)
    with pytest.raises(ArchiveOrgUnreachable, match="100000 s"):
        client.item(IDENTIFIER)
    assert waits == []


@pytest.mark.parametrize("fault", [{"kind": "cut", "after": 20}, {"kind": "status", "status": 500}])
def test_a_passing_failure_is_overcome(server, client, tmp_path, fault):
    put_item(tmp_path, {"a.zst": b"a"})
    server.faults.add(**fault, times=3)
    assert client.item(IDENTIFIER).identifier == IDENTIFIER
    assert len(server.requests) == 4


def test_a_lasting_failure_is_an_error_that_says_what_was_asked(server, client):
    server.faults.add("cut", after=1, times=None)
    with pytest.raises(ArchiveOrgUnreachable, match="metadata/some_item failed 4 times"):
        client.item("some_item")


def test_nobody_there_is_an_error(waits, tmp_path):
    with serve(tmp_path) as gone:
        url = gone.url
    client = ArchiveOrg(url, retry=RetryPolicy(attempts=3, sleep=waits.append), timeout=2)
    with pytest.raises(ArchiveOrgUnreachable):
        client.item("some_item")
    with pytest.raises(SearchFailed):
        client.items_since(COLLECTION)
    assert len(waits) == 4


def test_html_instead_of_metadata_is_not_a_missing_item(server, client):
    server.faults.add("garbage", times=None)
    with pytest.raises(BadMetadata):
        client.item("some_item")


@pytest.mark.parametrize("url", ["archive.org", "ftp://archive.org", "https://archive.org/path", "https://"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ImgmineError, match=r"http\(s\)"):
        ArchiveOrg(url)


def test_a_contact_cannot_smuggle_headers_in():
    with pytest.raises(ImgmineError, match="contact"):
        ArchiveOrg(contact="me\r\nAuthorization: x")


START = datetime(2023, 5, 3, tzinfo=UTC)


@pytest.fixture(scope="module")
def published():
    """3,000 items in the order in which they are to be found: up to 40 of them share a publicdate."""
    chance = random.Random(1)
    items = [
        FoundItem(START + timedelta(seconds=chance.randrange(75) * 4001), f"{COLLECTION}_{n:04}") for n in range(3000)
    ]
    return sorted(items)


@pytest.fixture
def collection(published, tmp_path):
    mixed = random.Random(2).sample(published, len(published))
    put_list(tmp_path, {item.identifier: f"{item.publicdate:%Y-%m-%d %H:%M:%S}" for item in mixed})


@pytest.mark.usefixtures("collection")
def test_all_items_are_found_in_order(server, client, published):
    assert client.items_since(COLLECTION) == published
    assert len(server.requests) == 3


@pytest.mark.usefixtures("collection")
def test_a_cursor_among_items_of_one_date_neither_repeats_nor_skips(client, published):
    for dealt_with in range(700, len(published), 700):
        assert client.items_since(COLLECTION, published[dealt_with - 1]) == published[dealt_with:]
    assert client.items_since(COLLECTION, published[-1]) == []


@pytest.mark.usefixtures("collection")
def test_looking_back_finds_what_appeared_late(client, published):
    after = FoundItem(published[-1].publicdate - timedelta(days=1), "")
    late = client.items_since(COLLECTION, after)
    assert late == [item for item in published if item.publicdate >= after.publicdate]
    assert 0 < len(late) < len(published)


@pytest.mark.usefixtures("collection")
@pytest.mark.parametrize(
    "fault", [{"kind": "search_error"}, {"kind": "search_short"}, {"kind": "garbage"}, {"kind": "cut", "after": 99}]
)
def test_a_search_that_fails_now_and_then_is_made_again(server, client, published, fault):
    server.faults.add(**fault, times=2)
    assert client.items_since(COLLECTION) == published


@pytest.mark.usefixtures("collection")
@pytest.mark.parametrize("kind", ["search_error", "search_short", "garbage", "status"])
def test_a_failed_search_is_never_an_empty_list(server, client, kind):
    server.faults.add(kind, times=None)
    with pytest.raises(SearchFailed, match=COLLECTION):
        client.items_since(COLLECTION)


def test_an_empty_collection_is_empty(client):
    assert client.items_since("no_such_collection") == []


def test_an_item_without_a_date_is_an_error_and_not_left_out(client, tmp_path):
    (tmp_path / "items.jsonl").write_text('{"metadata": {"identifier": "odd", "collection": "archiveteam_imgur"}}')
    with pytest.raises(SearchFailed, match="odd"):
        client.items_since(COLLECTION)
