"""The log of take-downs: a chain that shows what was changed, and that two writers cannot fork."""

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from imgmine.dataset.takedown_log import (
    NO_ENTRY,
    Action,
    BrokenLog,
    Draft,
    Kind,
    Rules,
    TakedownError,
    TakedownLog,
    append,
    entry_key,
    read_log,
    rules_of,
    same_url,
    undo_of,
)
from imgmine.store.base import Store, StoreRefused
from imgmine.store.local import LocalStore
from imgmine.store.s3 import S3Store
from tests.s3_server import S3Server

DIGESTS = [bytes([number]) * 32 for number in range(6)]


def add(*digests: bytes, values: tuple[str, ...] = (), kind: Kind = Kind.HASH) -> Draft:
    return Draft(Action.ADD, kind, values, digests, "asked for")


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield LocalStore(tmp_path)
    else:
        server: S3Server = request.getfixturevalue("s3_server")
        yield S3Store(
            server.bucket,
            f"takedown-log/{uuid.uuid4().hex}",
            server.endpoint,
            access_key=server.access_key,
            secret_key=server.secret_key,
        )


def test_entries_are_read_back_in_order_and_carry_the_hash_of_the_one_before(store: Store) -> None:
    assert read_log(store) == TakedownLog()
    at = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    first = append(store, add(DIGESTS[1], DIGESTS[0], values=("url:https://a/b",), kind=Kind.URL), by="ann", at=at)
    second = append(store, undo_of(1, "a mistake"), by="bob")
    log = read_log(store)
    assert log.entries == (first, second)
    assert (first.number, first.previous, second.number, second.previous) == (1, NO_ENTRY, 2, first.hash)
    assert (first.time, first.by, first.reason, first.resolved) == (at, "ann", "asked for", (DIGESTS[0], DIGESTS[1]))
    assert (second.of, second.kind, log.head) == (1, Kind.URL, second.hash)


def test_writers_at_once_make_one_chain(store: Store) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda digest: append(store, add(digest)), DIGESTS))
    log = read_log(store)
    assert [entry.number for entry in log.entries] == [1, 2, 3, 4, 5, 6]
    assert {entry.hash for entry in log.entries} == {entry.hash for entry in made}
    assert log.blocked == set(DIGESTS)


def test_one_take_down_is_undone_once(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    append(store, add(DIGESTS[0]))

    def undo(_: int) -> bool:
        try:
            append(store, undo_of(1, "twice"))
        except TakedownError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(undo, range(4))) == [False, False, False, True]
    for number, message in ((2, "no take-down but undo"), (1, "taken back already"), (9, "has no entry 9")):
        with pytest.raises(TakedownError, match=message):
            append(store, undo_of(number, ""))


def _without_a_field(data: bytes) -> bytes:
    said = json.loads(data)
    del said["reason"]
    return json.dumps(said).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"asked for", b"asked 4or"),
        lambda data: data + b" ",
        lambda data: data[:-20],
        lambda data: b"",
        lambda data: b"\xff" + data,
        _without_a_field,
    ],
)
@pytest.mark.parametrize("number", [1, 2])
def test_a_changed_entry_breaks_the_chain(tmp_path: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    store = LocalStore(tmp_path)
    for digest in DIGESTS[:3]:
        append(store, add(digest))
    key = entry_key(number)
    store.put_bytes(key, change(store.get_bytes(key)))
    with pytest.raises(BrokenLog, match=rf"{number}\.json.*backup"):
        read_log(store)
    with pytest.raises(BrokenLog):
        append(store, add(DIGESTS[3]))


def test_a_missing_entry_and_a_strange_one_are_told(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for digest in DIGESTS[:3]:
        append(store, add(digest))
    store.delete(entry_key(2))
    with pytest.raises(BrokenLog, match=r"00000002\.json is missing"):
        read_log(store)
    store.put_bytes("takedown/log/00000002 (copy).json", b"{}")
    with pytest.raises(BrokenLog, match="is no entry"):
        read_log(store)


def test_a_store_that_replaces_what_is_there_is_refused(tmp_path: Path) -> None:
    class Careless(LocalStore):
        def put_new(self, key: str, data: bytes) -> bool:
            self.put_bytes(key, data)
            return True

    with pytest.raises(StoreRefused, match="If-None-Match"):
        append(Careless(tmp_path), add(DIGESTS[0]))
    assert not list(LocalStore(tmp_path).list("takedown/log/"))


# Each step adds a take-down of some files, takes one back, or says what a rule of one has found.
steps = st.lists(st.tuples(st.sampled_from(["add", "undo", "found"]), st.integers(0, 9), st.sets(st.integers(0, 5))))


@given(steps)
@hypothesis_settings(max_examples=25)
def test_what_is_blocked_is_what_no_undo_took_back(tmp_path_factory: pytest.TempPathFactory, steps: list) -> None:  # type: ignore[type-arg]
    store = LocalStore(tmp_path_factory.mktemp("log"))
    named: dict[int, set[bytes]] = {}
    for count, (step, choice, numbers) in enumerate(steps, 1):
        digests = {DIGESTS[number] for number in numbers}
        earlier = sorted(named)[choice % len(named)] if named else None
        if step == "add" or earlier is None:
            append(store, add(*digests))
            named[count] = digests
        elif step == "undo":
            append(store, undo_of(earlier, "back"))
            del named[earlier]
        else:
            append(store, Draft(Action.FOUND, Kind.URL, (), tuple(digests), "", of=earlier))
            named[earlier] |= digests
    log = read_log(store)
    assert log.blocked == set().union(*named.values())
    for digest in DIGESTS:
        by = {entry.number if entry.action is Action.ADD else entry.of for entry in log.blocking(digest)}
        assert by == {number for number, digests in named.items() if digest in digests}


def test_rules_name_what_is_mined_later(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    values = (
        "url:https://I.Imgur.com/abcde.jpg#top",
        "media_id:fghij",
        "domain:example.org",
        f"md5:{'0a' * 16}",
        f"sha1:{'0b' * 20}",
        f"sha256:{'0c' * 32}",
        f"blake2b:{'0d' * 32}",
    )
    append(store, Draft(Action.ADD, Kind.LIST, values, (), "a list"))
    log = read_log(store)
    assert log.blocked == {b"\x0d" * 32}
    rules = log.rules
    for url in ("http://i.imgur.com/abcde.jpg", "i.imgur.com:443/abcde.jpg", "https://x.EXAMPLE.org/any?q"):
        assert rules.names(url, None), url
    for other in ("http://i.imgur.com/abcde.png", "https://notexample.org/", "https://org/", "http://[", None):
        assert not rules.names(other, "abcde"), other
    assert rules.names(None, "fghij")
    assert rules.has_hash(md5=b"\x0a" * 16, sha1=b"", sha256=b"")
    assert rules.has_hash(md5=b"", sha1=b"\x0b" * 20, sha256=b"")
    assert rules.has_hash(md5=b"", sha1=b"", sha256=b"\x0c" * 32)
    assert not rules.has_hash(md5=b"\x0b" * 16, sha1=b"\x0a" * 20, sha256=b"\x0d" * 32)
    append(store, undo_of(1, "withdrawn"))
    assert read_log(store).rules == Rules()


def test_www_is_a_host_of_its_own_below_its_domain() -> None:
    below = rules_of(["domain:example.org"])
    assert below.names("https://www.example.org/a", None)
    www = rules_of(["domain:www.example.org", "url:https://www.i.imgur.com/abcde.jpg"])
    assert www.names("https://www.example.org/a", None)
    assert not www.names("https://example.org/a", None)
    assert not www.names("https://i.imgur.com/abcde.jpg", None)


@given(st.text())
def test_anything_may_be_called_a_url(text: str) -> None:
    assert same_url(text) == same_url(text)
    Rules(urls=frozenset({"x"}), domains=frozenset({"y"})).names(text, text)
