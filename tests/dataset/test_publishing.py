import io
import itertools
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgmine.dataset.publishing import ARCHIVES_KEY, DatasetSummary, publish_dataset, remove_former_ownership
from imgmine.dataset.relations import connect, dataset_table
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


def publish(store: LocalStore, folder: Path, **options: Any) -> DatasetSummary:
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return publish_dataset(store, folder / "mirror", scratch, **options)


def owners(store: LocalStore) -> dict[bytes, tuple[str, int]]:
    with connect() as connection:
        rows = connection.execute(dataset_table("ownership", store.root / "dataset")).fetchall()
    found = {blake2b: (archive, copies) for blake2b, archive, copies in rows}
    assert len(found) == len(rows), "a file has one owner"
    return found


def archives_table(store: LocalStore) -> list[dict[str, Any]]:
    return list(pq.read_table(io.BytesIO(store.get_bytes(ARCHIVES_KEY))).to_pylist())


def ownership_keys(store: LocalStore) -> list[str]:
    return [stored.key for stored in store.list("dataset/ownership")]


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
    assert list(summary.ownership) == ownership_keys(store)
    [whole] = summary.ownership
    assert parquet_metadata(store.get_bytes(whole))["schema_version"] == SCHEMA_VERSION


def test_the_archives_table_says_what_each_has_and_owns(store: LocalStore, tmp_path: Path) -> None:
    for archive in ARCHIVES:
        put(store, archive)
    put_manifest(store, "unmined", EARLY)
    publish(store, tmp_path)
    rows = archives_table(store)
    assert [(row["archive"], row["files"], row["owned"]) for row in rows] == [
        ("b", 3, 3),
        ("unmined", None, None),
        ("a", 3, 2),
        ("c", 3, 1),
    ]
    assert rows[0]["publicdate"] == EARLY
    assert (rows[0]["item_size"], rows[0]["warc_files"], rows[0]["warc_bytes"]) == (1234, 1, 1000)


def whole(store: LocalStore) -> dict[str, bytes]:
    """Return what is published, byte for byte, without what is named no more."""
    remove_former_ownership(store)
    return {stored.key: store.get_bytes(stored.key) for stored in store.list("dataset/")}


def test_the_order_of_mining_and_reruns_do_not_change_a_byte(tmp_path: Path) -> None:
    seen = []
    for number, order in enumerate(itertools.permutations(ARCHIVES)):
        store = LocalStore(tmp_path / str(number))
        for archive in order:
            put(store, archive)
            publish(store, tmp_path)
        put(store, order[0])
        publish(store, tmp_path)
        seen.append(whole(store))
    assert all(other == seen[0] for other in seen)
    assert len(seen[0]) == 2


def test_removing_an_archive_leaves_what_would_be_without_it(store: LocalStore, tmp_path: Path) -> None:
    for archive in ("a", "c"):
        put(store, archive)
    publish(store, tmp_path)
    without = whole(store)
    put(store, "b")
    publish(store, tmp_path)
    assert owners(store)[digest("all")] == ("b", 2)
    store.delete("files/b.parquet")
    assert publish(store, tmp_path).archives_mined == 2
    assert [owner for owner, _ in owners(store).values()].count("b") == 0
    store.delete("manifests/b.json")
    publish(store, tmp_path)
    assert whole(store) == without


def test_a_second_run_writes_nothing_and_says_the_same(store: LocalStore, tmp_path: Path) -> None:
    put(store, "a")
    first = publish(store, tmp_path)
    before = list(store.list("dataset/"))
    second = publish(store, tmp_path)
    assert list(store.list("dataset/")) == before
    assert not second.changed
    assert second.digest == first.digest
    assert (second.files, second.distinct, second.repeated) == (first.files, first.distinct, first.repeated)


def test_a_file_of_ownership_that_is_lost_is_made_again(store: LocalStore, tmp_path: Path) -> None:
    put(store, "a")
    [lost] = publish(store, tmp_path).ownership
    published = whole(store)
    store.delete(lost)
    assert publish(store, tmp_path).changed
    assert whole(store) == published


def test_what_is_named_no_more_stays_until_it_is_taken_away(store: LocalStore, tmp_path: Path) -> None:
    put(store, "a")
    [former] = publish(store, tmp_path).ownership
    put(store, "b")
    [latter] = publish(store, tmp_path).ownership
    assert set(ownership_keys(store)) == {former, latter}
    remove_former_ownership(store)
    assert ownership_keys(store) == [latter]


def test_an_archive_that_comes_later_is_written_beside_the_whole(store: LocalStore, tmp_path: Path) -> None:
    put(store, "a")
    [base] = publish(store, tmp_path).ownership
    put(store, "c")
    assert publish(store, tmp_path, most_changes=100).ownership[0] == base
    put(store, "b")  # comes before both, and takes from both
    summary = publish(store, tmp_path, most_changes=100)
    [same, changes] = summary.ownership
    assert same == base
    remove_former_ownership(store)
    assert sorted(ownership_keys(store)) == sorted([base, changes])
    # Of "a" alone nothing is written: "one" is its own, and stays.
    assert digest("one") not in pq.read_table(store.root / changes)["blake2b"].to_pylist()
    by_additions = owners(store), archives_table(store), (summary.distinct, summary.repeated, summary.files)
    shutil.rmtree(store.root / "dataset")
    summary = publish(store, tmp_path)
    assert (owners(store), archives_table(store), (summary.distinct, summary.repeated, summary.files)) == by_additions


def test_without_its_index_an_archive_is_added_just_the_same(store: LocalStore, tmp_path: Path) -> None:
    for archive in ("a", "b"):
        put(store, archive)
    publish(store, tmp_path)
    shutil.rmtree(tmp_path / "mirror")
    put(store, "c")
    assert len(publish(store, tmp_path, most_changes=100).ownership) == 2
    added = owners(store)
    shutil.rmtree(store.root / "dataset")
    publish(store, tmp_path)
    assert owners(store) == added


# What may happen to an archive between two runs: it is mined with these files and this date, or it is taken away.
HAPPENED = st.tuples(
    st.sampled_from("abcde"),
    st.none() | st.tuples(st.lists(st.sampled_from(["1", "2", "3", "4", "5"]), unique=True), st.integers(0, 2)),
)


@settings(max_examples=12)
@given(history=st.lists(st.tuples(HAPPENED, st.sampled_from([None, 0, 3, 100])), max_size=8))
def test_whatever_happened_the_answer_is_that_of_what_is_there(
    history: list[tuple[tuple[str, tuple[list[str], int] | None], int | None]],
) -> None:
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = LocalStore(folder / "store")
        there: dict[str, tuple[list[str], int]] = {}
        for (archive, mined), most_changes in history:
            store.delete(f"files/{archive}.parquet")
            store.delete(f"manifests/{archive}.json")
            there.pop(archive, None)
            if mined is not None:
                there[archive] = mined
                put_archive(store, archive, [Entry(name) for name in mined[0]], EARLY + timedelta(mined[1]), ["files"])
            summary = publish(store, folder, most_changes=most_changes)
            order = sorted(there, key=lambda name: (there[name][1], name))
            expected = {
                digest(name): (
                    next(archive for archive in order if name in there[archive][0]),
                    sum(name in names for names, _ in there.values()),
                )
                for names, _ in there.values()
                for name in names
            }
            assert owners(store) == expected
            assert [(row["archive"], row["files"], row["owned"]) for row in archives_table(store)] == [
                (archive, len(there[archive][0]), [owner for owner, _ in expected.values()].count(archive))
                for archive in order
            ]
            repeated = sum(copies > 1 for _, copies in expected.values())
            assert (summary.distinct, summary.repeated) == (len(expected), repeated)


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
