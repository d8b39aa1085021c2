import io
import itertools
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from imgmine.dataset.publishing import ARCHIVES_KEY, OWNERSHIP_KEY, DatasetSummary, publish_dataset
from imgmine.store.local import LocalStore
from imgmine.store.tables import SCHEMA_VERSION, parquet_metadata
from tests.dataset.small_store import Entry, digest, put_archive, put_manifest

EARLY = datetime(2023, 4, 30, tzinfo=UTC)
LATE = datetime(2023, 5, 30, tzinfo=UTC)

# Identifiers tell another order than dates do: "b" was published first.
ARCHIVES = {
    "a": (["one", "two", "both"], LATE),
    "b": (["three", "both", "all"], EARLY),
    "c": (["four", "two", "all"], LATE),
}


def put(store: LocalStore, archive: str) -> None:
    payloads, publicdate = ARCHIVES[archive]
    put_archive(store, archive, [Entry(payload) for payload in payloads], publicdate)


def publish(store: LocalStore, folder: Path, **options: list[str]) -> DatasetSummary:
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return publish_dataset(store, folder / "mirror", scratch, **options)


def owners(store: LocalStore) -> dict[bytes, tuple[str, int]]:
    table = pq.read_table(io.BytesIO(store.get_bytes(OWNERSHIP_KEY)))
    return {row["blake2b"]: (row["archive"], row["copies"]) for row in table.to_pylist()}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_the_earliest_by_publicdate_then_identifier_owns(store: LocalStore, tmp_path: Path) -> None:
    for archive in ARCHIVES:
        put(store, archive)
    summary = publish(store, tmp_path)
    assert owners(store) == {
        digest("one"): ("a", 1),
        digest("two"): ("a", 2),
        digest("three"): ("b", 1),
        digest("four"): ("c", 1),
        digest("both"): ("b", 2),
        digest("all"): ("b", 2),
    }
    assert (summary.files, summary.distinct, summary.repeated) == (9, 6, 3)
    assert summary.changed
    assert parquet_metadata(store.get_bytes(OWNERSHIP_KEY))["schema_version"] == SCHEMA_VERSION


def test_the_archives_table_says_what_each_has_and_owns(store: LocalStore, tmp_path: Path) -> None:
    for archive in ARCHIVES:
        put(store, archive)
    put_manifest(store, "unmined", EARLY)
    publish(store, tmp_path)
    rows = pq.read_table(io.BytesIO(store.get_bytes(ARCHIVES_KEY))).to_pylist()
    assert [(row["archive"], row["files"], row["owned"]) for row in rows] == [
        ("b", 3, 3),
        ("unmined", None, None),
        ("a", 3, 2),
        ("c", 3, 1),
    ]
    assert rows[0]["publicdate"] == EARLY
    assert (rows[0]["item_size"], rows[0]["warc_files"], rows[0]["warc_bytes"]) == (1234, 1, 1000)


def test_the_order_of_mining_and_reruns_do_not_change_a_byte(tmp_path: Path) -> None:
    seen = set()
    for number, order in enumerate(itertools.permutations(ARCHIVES)):
        store = LocalStore(tmp_path / str(number))
        for archive in order:
            put(store, archive)
            publish(store, tmp_path)
        put(store, order[0])
        publish(store, tmp_path)
        seen.add((store.get_bytes(OWNERSHIP_KEY), store.get_bytes(ARCHIVES_KEY)))
    assert len(seen) == 1


def test_removing_an_archive_leaves_what_would_be_without_it(store: LocalStore, tmp_path: Path) -> None:
    for archive in ("a", "c"):
        put(store, archive)
    publish(store, tmp_path)
    without = store.get_bytes(OWNERSHIP_KEY)
    put(store, "b")
    publish(store, tmp_path)
    assert store.get_bytes(OWNERSHIP_KEY) != without
    store.delete("files/b.parquet")
    assert publish(store, tmp_path).archives_mined == 2
    assert [owner for owner, _ in owners(store).values()].count("b") == 0
    store.delete("manifests/b.json")
    publish(store, tmp_path)
    assert store.get_bytes(OWNERSHIP_KEY) == without


def test_a_second_run_writes_nothing_and_says_the_same(store: LocalStore, tmp_path: Path) -> None:
    put(store, "a")
    first = publish(store, tmp_path)
    before = store.stat(OWNERSHIP_KEY), store.stat(ARCHIVES_KEY)
    second = publish(store, tmp_path)
    assert (store.stat(OWNERSHIP_KEY), store.stat(ARCHIVES_KEY)) == before
    assert not second.changed
    assert second.digest == first.digest
    assert (second.files, second.distinct, second.repeated) == (first.files, first.distinct, first.repeated)


@pytest.mark.parametrize("lost", [OWNERSHIP_KEY, ARCHIVES_KEY])
def test_a_run_that_was_killed_between_the_two_tables_is_made_good(
    store: LocalStore, tmp_path: Path, lost: str
) -> None:
    put(store, "a")
    publish(store, tmp_path)
    stale = store.get_bytes(lost)
    put(store, "b")
    publish(store, tmp_path)
    whole = store.get_bytes(OWNERSHIP_KEY), store.get_bytes(ARCHIVES_KEY)
    store.put_bytes(lost, stale)
    assert publish(store, tmp_path).changed
    assert (store.get_bytes(OWNERSHIP_KEY), store.get_bytes(ARCHIVES_KEY)) == whole
    store.delete(lost)
    assert publish(store, tmp_path).changed
    assert (store.get_bytes(OWNERSHIP_KEY), store.get_bytes(ARCHIVES_KEY)) == whole


def test_changed_rows_under_the_same_fingerprint_are_seen(store: LocalStore, tmp_path: Path) -> None:
    put_archive(store, "a", [Entry("one")])
    publish(store, tmp_path)
    put_archive(store, "a", [Entry("two")])
    publish(store, tmp_path)
    assert owners(store) == {digest("two"): ("a", 1)}


def test_an_empty_store_gives_empty_tables(store: LocalStore, tmp_path: Path) -> None:
    summary = publish(store, tmp_path)
    assert (summary.archives_mined, summary.archives_known, summary.distinct, summary.coverage) == (0, 0, 0, 1.0)
    assert owners(store) == {}


def test_coverage_counts_partitions_that_have_nothing_yet(store: LocalStore, tmp_path: Path) -> None:
    put(store, "a")
    put_manifest(store, "b", EARLY)
    summary = publish(store, tmp_path, known=["a", "b", "c", "d"])
    assert (summary.archives_mined, summary.archives_known, summary.coverage) == (1, 4, 0.25)


def test_an_archive_without_a_date_comes_last_and_is_named(store: LocalStore, tmp_path: Path) -> None:
    put_archive(store, "a", [Entry("both")], publicdate=None)
    put_archive(store, "b", [Entry("both")], publicdate=LATE)
    assert publish(store, tmp_path).undated == ("a",)
    assert owners(store) == {digest("both"): ("b", 2)}
