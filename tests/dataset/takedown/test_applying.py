"""The whole take-down of a small store: nothing is left anywhere, nothing else is touched, and a kill loses nothing."""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgmine.dataset.near_duplicates import NEAR_DUPLICATES_KEY
from imgmine.dataset.takedown.applying import apply_log
from imgmine.dataset.takedown.names import hash_values, published_under, url_value
from imgmine.dataset.takedown.report import Report
from imgmine.dataset.takedown.scan import ScanMode, scan_store
from imgmine.dataset.takedown_log import (
    Action,
    Draft,
    Kind,
    append,
    named_digests,
    read_log,
    rules_of,
    undo_of,
)
from imgmine.decisions import RecordDecision
from imgmine.places import Places
from imgmine.scratch import scratch_folder
from imgmine.store.base import Store, StoreError
from imgmine.store.local import LocalStore
from imgmine.store.publish import read_table
from imgmine.store.s3 import S3Store
from tests.dataset.small_store import Entry, digest, list_hashes
from tests.dataset.takedown.stored import contents, members, put_stored, rows
from tests.s3_server import S3Server
from tests.store.cutting_proxy import cutting_proxy
from tests.store.refusing_proxy import refusing_proxy

LONG = " of some length" * 40
FIRST = [Entry(f"picture {number}{LONG}") for number in range(5)]
SECOND = [FIRST[1], Entry(f"another{LONG}"), Entry("clip", media_type="video/mp4")]
THIRD = [Entry(f"left alone{LONG}")]
ARCHIVES = {"first": FIRST, "second": SECOND, "third": THIRD}


def places(folder: Path) -> Places:
    return Places(folder / "scratch", folder / "cache")


def fill(store: Store) -> None:
    for archive, entries in ARCHIVES.items():
        put_stored(store, archive, entries)


def block(store: Store, mirror: Path, *values: str) -> None:
    named = published_under(store, mirror, rules_of(values), named_digests(values))
    append(store, Draft(Action.ADD, Kind.LIST, values, tuple(named.digests), "asked for"), by="ann")


def applied(store: Store, folder: Path, mode: ScanMode = ScanMode.FULL, *, drop_raw: bool = False) -> Report:
    scratch = folder / "apply"
    scratch.mkdir(parents=True, exist_ok=True)
    return apply_log(store, folder / "mirror", places(folder), scratch, scan=mode, drop_raw=drop_raw)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A store with three archives, and a log that blocks a shared file by its SHA-1 and a video by its URL."""
    store = LocalStore(tmp_path_factory.mktemp("filled"))
    fill(store)
    sha1 = list_hashes(FIRST[1].payload)["sha1"].hex()
    block(store, store.root, *hash_values(sha1), url_value("http://I.IMGUR.com/clip.jpg#x"))
    return contents(store)


def store_of(objects: dict[str, bytes], folder: Path) -> LocalStore:
    store = LocalStore(folder)
    for key, data in objects.items():
        store.put_bytes(key, data)
    return store


@pytest.fixture(scope="module")
def finished(objects: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], Report]:
    """What the store has after a run that nothing disturbs, but for what the run tells of itself; and its report."""
    folder = tmp_path_factory.mktemp("finished")
    store = store_of(objects, folder / "store")
    report = applied(store, folder)
    return without_notes(store), report


def without_notes(store: Store) -> dict[str, bytes]:
    return {key: data for key, data in contents(store).items() if not key.startswith("takedown/")}


BLOCKED = {FIRST[1].digest, digest("clip"), digest("still of clip")}


def test_nothing_of_it_is_left_and_nothing_else_is_touched(tmp_path: Path, objects: dict[str, bytes]) -> None:
    store = store_of(objects, tmp_path / "store")
    before = {stored.key: stored for stored in store.list("")}
    assert read_log(store).blocked == BLOCKED
    (tmp_path / "scratch" / "gated").mkdir(parents=True)
    (tmp_path / "scratch" / "gated" / "first").write_bytes(b"previews")
    report = applied(store, tmp_path)
    assert (report.is_complete, report.busy, report.files) == (True, [], 3)
    assert [change.archive for change in report.archives] == ["first", "second"]
    assert not list((tmp_path / "scratch" / "gated").iterdir())
    payloads = [FIRST[1].payload.encode(), b"clip", b"still of clip"]
    for _, name, data in members(store, ""):
        assert data not in payloads
        assert name.partition(".")[0] not in {blocked.hex() for blocked in BLOCKED}
    for archive in ARCHIVES:
        for table in ("files", "images", "embeddings", "anomaly_scores", "watermark_scores", "nsfw_scores"):
            assert not {row["blake2b"] for row in rows(store, table, archive)} & BLOCKED
    assert [row["decision"] for row in rows(store, "records", "second")] == ["blocked", "kept", "blocked"]
    touched = {shard.before for change in report.archives for shard in change.shards}
    touched |= {table.key for change in report.archives for table in change.tables}
    assert 0 < len([key for key in touched if key.startswith("files/first/")]) < 3
    after = {stored.key: stored for stored in store.list("")}
    for key, stored in before.items():
        assert (after.get(key) == stored) == (key not in touched), key
    said = json.loads(
        next(store.get_bytes(key) for key in after if key.startswith("takedown/reports/") and key.endswith("json"))
    )
    assert (said["complete"], said["scan"]["found"], said["log"]["head"]) == (True, [], read_log(store).head)
    assert said["scan"]["members"] == said["scan"]["members_hashed"] == len(list(members(store, "")))
    assert applied(store, tmp_path).is_complete
    assert {stored.key: (stored.size, store.get_bytes(stored.key)) for stored in store.list("")} == {
        key: (stored.size, store.get_bytes(key)) for key, stored in after.items()
    }


def test_groups_that_cannot_be_read_go_and_hold_nothing_up(tmp_path: Path, objects: dict[str, bytes]) -> None:
    store = store_of(objects, tmp_path / "store")
    store.put_bytes(NEAR_DUPLICATES_KEY, b"cut")
    assert applied(store, tmp_path).is_complete
    assert store.stat(NEAR_DUPLICATES_KEY) is None


def test_an_undo_has_the_archives_made_again_and_nothing_else(tmp_path: Path, objects: dict[str, bytes]) -> None:
    store = store_of(objects, tmp_path / "store")
    applied(store, tmp_path)
    append(store, undo_of(1, "a mistake"))
    assert read_log(store).blocked == frozenset()
    report = applied(store, tmp_path)
    assert (report.to_mine, report.undone, report.restored) == (["first", "second"], 3, 0)
    assert report.is_complete
    for archive, stale in (("first", True), ("second", True), ("third", False)):
        for table in ("records", "files", "images", "embeddings", "nsfw_scores"):
            made_again = read_table(store, table, archive).metadata["inputs"] == "to be made again"
            assert made_again is stale, (archive, table)
    for archive in ("first", "second"):
        put_stored(store, archive, ARCHIVES[archive])  # as mining it again would
    report = applied(store, tmp_path)
    assert (report.to_mine, report.undone, report.restored) == ([], 3, 3)


def test_what_a_rule_names_and_was_mined_since_is_noted_and_goes(tmp_path: Path, objects: dict[str, bytes]) -> None:
    store = store_of(objects, tmp_path / "store")
    later = Entry(f"mined later{LONG}", url="https://i.imgur.com/clip.jpg?1")
    exactly = Entry(f"mined later too{LONG}", url="https://i.imgur.com/clip.jpg")
    put_stored(store, "fourth", [later, exactly])
    report = applied(store, tmp_path)
    [found] = [entry for entry in read_log(store).entries if entry.action is Action.FOUND]
    assert (found.of, found.resolved) == (1, (exactly.digest,))
    assert [row["decision"] for row in rows(store, "records", "fourth")] == ["kept", "blocked"]
    assert report.is_complete
    append(store, undo_of(1, "back"))
    assert read_log(store).blocked == frozenset()


def test_what_somebody_is_at_work_on_is_left_and_raw_files_are_removed_when_asked_for(
    tmp_path: Path, objects: dict[str, bytes]
) -> None:
    store = store_of(objects, tmp_path / "store")
    for archive in ARCHIVES:
        (tmp_path / "cache" / archive).mkdir(parents=True)
        (tmp_path / "cache" / archive / f"{archive}.warc.zst").write_bytes(b"all of it")
    with scratch_folder(tmp_path / "scratch", "images", "first"):
        report = applied(store, tmp_path)
    assert (report.busy, report.is_complete) == (["first"], False)
    assert report.scan is not None
    assert any("files/first/" in found for found in report.scan.found)
    assert RecordDecision.BLOCKED in {row["decision"] for row in rows(store, "records", "second")}
    assert (report.raw_kept, report.raw_dropped) == (["second/second.warc.zst"], [])
    assert "--drop-raw" in report.as_text()
    report = applied(store, tmp_path, drop_raw=True)
    assert report.is_complete
    assert (report.raw_kept, report.raw_dropped) == ([], ["first/first.warc.zst", "second/second.warc.zst"])
    assert [path.name for path in (tmp_path / "cache").rglob("*.zst")] == ["third.warc.zst"]


def test_an_archive_that_is_being_mined_since_before_the_entry_is_not_done(
    tmp_path: Path, objects: dict[str, bytes]
) -> None:
    store = store_of(objects, tmp_path / "store")
    with scratch_folder(tmp_path / "scratch", "unique_files", "later one"):
        assert applied(store, tmp_path).is_complete, "it has read the log as it is"
        block(store, tmp_path, "url:https://i.imgur.com/later.jpg")
        report = applied(store, tmp_path)
    assert (report.busy, report.is_complete) == (["later one"], False)
    assert applied(store, tmp_path).is_complete


def put_table(store: Store, key: str, columns: dict[str, pa.Array]) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    store.put_bytes(key, sink.getvalue().to_pybytes())


@pytest.mark.parametrize("mode", [ScanMode.FULL, ScanMode.BY_SIZE])
def test_the_scan_finds_bytes_wherever_they_are(tmp_path: Path, objects: dict[str, bytes], mode: ScanMode) -> None:
    store = LocalStore(tmp_path / "store")
    payload = b"what is looked for"
    name = digest(payload.decode())
    images = pa.array([{"bytes": b"other", "path": "a"}, {"bytes": payload, "path": "b"}])
    put_table(store, "releases/v1/data/00000.parquet", {"image": images})
    put_table(store, "releases/v1/samples/00000.parquet", {"blake2b": pa.array([name.hex()])})
    put_table(store, "dataset/ownership.parquet", {"blake2b": pa.array([name], pa.binary(32))})
    put_table(store, "records/a.parquet", {"blake2b": pa.array([name], pa.binary(32))})
    store.put_bytes("models/x/y", payload)
    store.put_bytes("files/a/0.tar", objects[next(key for key in objects if key.startswith("files/first/"))])
    store.put_bytes("files/b/0.tar", b"no tar at all")
    scan = scan_store(store, [name], {name: len(payload)}, tmp_path, mode=mode)
    assert [found.partition(":")[0] for found in scan.found] == [
        "dataset/ownership.parquet",
        "models/x/y",
        "releases/v1/data/00000.parquet",
        "releases/v1/samples/00000.parquet",
    ]
    assert [unread.partition(":")[0] for unread in scan.unread] == ["files/b/0.tar"]
    assert (scan.members_hashed == 0) == (mode is ScanMode.BY_SIZE)
    member = next(members(store, "files/a/"))[1].partition(".")[0]
    found = scan_store(store, [bytes.fromhex(member)], {}, tmp_path, mode=ScanMode.BY_SIZE, prefix="files/a/").found
    assert len(found) == 2, "by its name and by its bytes"


def test_on_s3_that_fails_in_the_middle_a_second_run_finishes(
    tmp_path: Path, objects: dict[str, bytes], finished: tuple[dict[str, bytes], Report], s3_server: S3Server
) -> None:
    prefix = f"takedown/{uuid.uuid4().hex}"

    def opened(endpoint: str) -> S3Store:
        keys = {"access_key": s3_server.access_key, "secret_key": s3_server.secret_key}
        return S3Store(s3_server.bucket, prefix, endpoint, **keys, attempts=1)

    store = opened(s3_server.endpoint)
    for key, data in objects.items():
        store.put_bytes(key, data)
    # It breaks off within a request; then it refuses what comes later and later.
    with cutting_proxy(s3_server.endpoint, sent=10_000) as address, pytest.raises(StoreError):
        applied(opened(address), tmp_path)
    assert without_notes(store) != finished[0]
    for refused in ("PUT .*/records/first", "PUT .*/files/second", "DELETE .*/files/second", "PUT .*/takedown/reports"):
        with (
            refusing_proxy(s3_server.endpoint, refused, 503, "SlowDown") as (address, _),
            pytest.raises(StoreError),
        ):
            applied(opened(address), tmp_path)
    assert applied(store, tmp_path).is_complete
    assert without_notes(store) == finished[0]


def test_names_find_files_by_whatever_a_person_has(tmp_path: Path, objects: dict[str, bytes]) -> None:
    store = store_of(objects, tmp_path / "store")

    def found(*values: str) -> Sequence[str]:
        named = published_under(store, tmp_path, rules_of(values), named_digests(values))
        by_digest = {entry.digest: entry.payload.split(" of")[0] for entries in ARCHIVES.values() for entry in entries}
        return sorted(by_digest.get(name, "still") for name in named.digests)

    hashes = list_hashes(FIRST[2].payload)
    for kind in ("md5", "sha1", "sha256"):
        assert found(*hash_values(hashes[kind].hex())) == ["picture 2"]
    assert found(*hash_values(FIRST[2].digest.hex().upper())) == ["picture 2"]
    assert found(f"blake2b:{digest('still of clip').hex()}") == ["clip", "still"]
    assert found("domain:imgur.com") == found("domain:i.imgur.com")
    assert len(found("domain:imgur.com")) == 9
    assert found("domain:gur.com") == found("domain:x.i.imgur.com") == []
    assert found("url:http://i.imgur.com/clip.jpg") == ["clip", "still"]
