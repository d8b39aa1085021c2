"""Files go out of an archive's shards and tables: those, whole, and whatever kills it in between."""

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from imgmine.dataset.funnel import check_funnel
from imgmine.dataset.relations import ARCHIVE_TABLES
from imgmine.dataset.takedown.archive import ArchiveChange, take_out
from imgmine.decisions import RecordDecision
from imgmine.store.base import Store
from imgmine.store.local import LocalStore
from imgmine.store.placement import misplaced
from imgmine.store.publish import read_table, unchanged
from tests.dataset.small_store import Entry
from tests.dataset.takedown.stored import DyingStore, Killed, contents, members, payload_of, put_stored, rows

ARCHIVE = "early"
ENTRIES = [
    *(Entry(f"picture {number} " * 60) for number in range(9)),
    Entry("clip", media_type="video/mp4"),
    Entry("picture 3 " * 60, RecordDecision.DUPLICATE),
    Entry("page", RecordDecision.NO_MEDIA),
]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The objects of a store with one archive."""
    store = LocalStore(tmp_path_factory.mktemp("original"))
    put_stored(store, ARCHIVE, ENTRIES)
    return contents(store)


def filled(store: Store, objects: dict[str, bytes]) -> None:
    for key, data in objects.items():
        store.put_bytes(key, data)


def taken_out(store: Store, blocked: set[bytes], scratch: Path) -> tuple[ArchiveChange, list[ArchiveChange]]:
    scratch.mkdir(exist_ok=True)
    noted: list[ArchiveChange] = []
    return take_out(store, ARCHIVE, blocked, scratch, noted.append), noted


def problems(store: Store) -> list[object]:
    tables = {name: read_table(store, name, ARCHIVE).read() for name in ("records", "files", "images", "embeddings")}
    scores = read_table(store, "anomaly_scores", ARCHIVE).read()
    return [
        *check_funnel(**tables, scores=scores),
        *misplaced(store, tables["files"], "shard", "shard_offset", "size"),
        *misplaced(store, tables["images"], "preview_shard", "preview_offset", "preview_size"),
    ]


def assert_gone(store: Store, blocked: set[bytes], original: dict[str, bytes]) -> None:
    """The blocked files are nowhere, all others where the tables say, and nothing else was touched."""
    names = {digest.hex() for digest in blocked}
    assert not [name for _, name, _ in members(store, "") if name.partition(".")[0] in names]
    assert problems(store) == []
    for table in ARCHIVE_TABLES:
        if table != "records" and store.stat(f"{table}/{ARCHIVE}.parquet") is not None:
            assert not {row["blake2b"] for row in rows(store, table, ARCHIVE)} & blocked, table
    by_digest = {entry.digest: payload_of(entry.payload) for entry in ENTRIES}
    for row in rows(store, "files", ARCHIVE):
        if row["blake2b"] in by_digest:
            assert store.get_range(row["shard"], row["shard_offset"], row["size"]) == by_digest[row["blake2b"]]
    for before, after in zip(rows_of(original, "records"), rows(store, "records", ARCHIVE), strict=True):
        if before["blake2b"] in blocked:
            by = f"blake2b:{before['blake2b'].hex()}"
            assert after == {**before, "decision": RecordDecision.BLOCKED.value, "blocked_by": by}
        else:
            assert after == before
    named = {key for table in ("files", "images") for key in read_table(store, table, ARCHIVE).shards}
    assert named == {
        stored.key for prefix in ("files/", "previews/") for stored in store.list(prefix) if stored.key.endswith(".tar")
    }


def rows_of(original: dict[str, bytes], table: str) -> list[dict]:  # type: ignore[type-arg]
    found: list[dict] = pq.read_table(io.BytesIO(original[f"{table}/{ARCHIVE}.parquet"])).to_pylist()  # type: ignore[type-arg]
    return found


everything = [entry.digest for entry in ENTRIES if entry.decision is RecordDecision.KEPT]


@given(st.sets(st.sampled_from(everything)))
@hypothesis_settings(max_examples=4)
def test_just_these_files_go(
    tmp_path_factory: pytest.TempPathFactory, original: dict[str, bytes], blocked: set[bytes]
) -> None:
    store = LocalStore(tmp_path_factory.mktemp("store") / "s")
    filled(store, original)
    before = {stored.key: stored for stored in store.list("")}
    with_still = blocked | ({ENTRIES[9].still} if ENTRIES[9].digest in blocked else set())
    change, noted = taken_out(store, blocked, tmp_path_factory.mktemp("scratch"))
    assert_gone(store, with_still, original)
    assert noted == ([change] if blocked else [])
    assert set(change.files) == {digest.hex() for digest in with_still}
    touched = {shard.before for shard in change.shards} | {table.key for table in change.tables}
    left = {stored.key: stored for stored in store.list("")}
    for key, stored in before.items():
        assert (left.get(key) == stored) == (key not in touched), key
    lost = {member.blake2b for shard in change.shards for member in shard.gone}
    assert lost == set(change.files)
    again, noted = taken_out(store, blocked, tmp_path_factory.mktemp("scratch"))
    assert (again.is_nothing, noted) == (True, [])
    assert {stored.key: stored for stored in store.list("")} == left


def test_what_is_made_of_the_tables_counts_as_up_to_date(tmp_path: Path, original: dict[str, bytes]) -> None:
    store = LocalStore(tmp_path / "store")
    filled(store, original)
    origin = read_table(store, "files", ARCHIVE).digest
    inputs = {name: read_table(store, name, ARCHIVE).metadata["inputs"] for name in ("files", "images")}
    taken_out(store, {ENTRIES[0].digest}, tmp_path / "scratch")
    taken_out(store, {ENTRIES[0].digest, ENTRIES[1].digest}, tmp_path / "scratch")
    assert read_table(store, "files", ARCHIVE).origin == origin != read_table(store, "files", ARCHIVE).digest
    assert unchanged(store, ["records", "files"], ARCHIVE, inputs["files"], "files")
    assert unchanged(store, ["images"], ARCHIVE, inputs["images"], "previews")


def test_killed_at_any_change_a_second_run_finishes(tmp_path: Path, original: dict[str, bytes]) -> None:
    blocked = {ENTRIES[0].digest, ENTRIES[4].digest, ENTRIES[9].digest}
    whole = LocalStore(tmp_path / "whole")
    filled(whole, original)
    change, _ = taken_out(whole, blocked, tmp_path / "scratch")
    finished = contents(whole)
    last = 0
    while True:
        last += 2
        root = tmp_path / f"{last}"
        filled(LocalStore(root), original)
        noted: list[ArchiveChange] = []
        try:
            take_out(DyingStore(root, last), ARCHIVE, blocked, tmp_path / "scratch", noted.append)
            break
        except Killed:
            store = LocalStore(root)
        # Whatever the tables name is there.
        for table, columns in (
            ("files", ("shard", "shard_offset", "size")),
            ("images", ("preview_shard", "preview_offset", "preview_size")),
        ):
            assert misplaced(store, read_table(store, table, ARCHIVE).read(), *columns) == []
        _, more = taken_out(store, blocked, tmp_path / "scratch")
        assert contents(store) == finished, last
        told = {shard for noted_change in [*noted, *more] for shard in noted_change.shards}
        assert told == set(change.shards), last
    assert last > 15
