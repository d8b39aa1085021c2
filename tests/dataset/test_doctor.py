import io
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from imgmine.dataset.dataset_checks import examine_dataset
from imgmine.dataset.doctor import Kind, examine
from imgmine.dataset.mending import Diagnosis, archives_to_see, make_round, see_to_dataset
from imgmine.dataset.takedown.archive import take_out
from imgmine.dataset.warehouse import WAREHOUSE_KEY, build_warehouse, publish_warehouse
from imgmine.places import Places
from imgmine.scratch import STAGES, alone_with
from imgmine.store.local import LocalStore
from imgmine.store.publish import fingerprint, read_table, unchanged
from imgmine.store.tables import Provenance, parquet_metadata, to_parquet
from tests.dataset.small_store import Entry, digest
from tests.dataset.takedown.stored import contents, put_stored

ENTRIES = [Entry(name) for name in ("one", "two", "three", "four", "five", "six")]
ENTRIES += [Entry("clip", media_type="video/mp4")]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    store = LocalStore(tmp_path_factory.mktemp("sound"))
    put_stored(store, "early", ENTRIES)
    put_stored(store, "late", ENTRIES[4:5])
    return store


@pytest.fixture
def store(sound: LocalStore, tmp_path: Path) -> LocalStore:
    shutil.copytree(sound.root, tmp_path / "store")
    return LocalStore(tmp_path / "store")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "scratch", tmp_path / "cache")


def visit(
    store: LocalStore, places: Places, *, checksums: bool = True, repair: bool = False, busy: str = ""
) -> list[Diagnosis]:
    folder = places.scratch_root.with_name("reading")
    folder.mkdir(exist_ok=True)
    found = make_round(
        store,
        places,
        sorted(archives_to_see(store, places)),
        known={"early", "late", "begun"},
        is_busy=lambda archive: archive == busy,
        scratch=folder if checksums else None,
        repair=repair,
    )
    return [*found, *see_to_dataset(store, places, repair=repair)]


def kinds(found: list[Diagnosis]) -> set[Kind]:
    return {diagnosis.finding.kind for diagnosis in found}


def shards_of(store: LocalStore, folder: str) -> list[str]:
    return [stored.key for stored in store.list(f"{folder}/early/")]


def test_a_healthy_store_is_silent_and_is_left_as_it_is(store: LocalStore, places: Places) -> None:
    before = contents(store)
    assert visit(store, places, repair=True) == []
    assert contents(store) == before


def rewrite(store: LocalStore, table: str, change: Callable[[pa.Table], pa.Table], **metadata: str) -> None:
    """Put a table with other rows, and the metadata that it had."""
    key = f"{table}/early.parquet"
    data = store.get_bytes(key)
    rows = change(pq.read_table(io.BytesIO(data)))
    store.put_bytes(key, to_parquet(rows, Provenance("", "", ""), {**parquet_metadata(data), **metadata}))


def cut(store: LocalStore, key: str, size: int) -> None:
    store.put_bytes(key, store.get_bytes(key)[:size])


def flip(store: LocalStore, key: str, at: int) -> None:
    data = bytearray(store.get_bytes(key))
    data[at] ^= 1
    store.put_bytes(key, bytes(data))


def moved(column: str, by: int) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: rows.set_column(
        rows.schema.get_field_index(column), rows.schema.field(column), pc.add(rows[column], by)
    )


DAMAGE: dict[str, tuple[Callable[[LocalStore], object], set[Kind]]] = {
    "a shard of originals is gone": (lambda store: store.delete(shards_of(store, "files")[0]), {Kind.SHARD_MISSING}),
    "a shard of previews is gone": (lambda store: store.delete(shards_of(store, "previews")[0]), {Kind.SHARD_MISSING}),
    "a shard has lost its end": (
        lambda store: cut(store, shards_of(store, "previews")[0], -512),
        {Kind.SHARD_SHORT, Kind.SHARD_ALTERED},
    ),
    "a shard was cut within its members": (
        lambda store: cut(store, shards_of(store, "files")[0], 700),
        {Kind.ROWS_OUTSIDE, Kind.SHARD_ALTERED},
    ),
    "a bit of an original": (lambda store: flip(store, shards_of(store, "files")[0], 512), {Kind.SHARD_ALTERED}),
    "a bit of a preview": (lambda store: flip(store, shards_of(store, "previews")[0], 512), {Kind.SHARD_ALTERED}),
    "a shard that nobody names": (
        lambda store: store.put_bytes(f"files/early/00009-{'0' * 32}.tar", b"left"),
        {Kind.SHARD_UNNAMED},
    ),
    "an object that is no shard": (lambda store: store.put_bytes("previews/early/notes", b"mine"), {Kind.NO_SHARD}),
    "a shard of an archive without tables": (
        lambda store: store.put_bytes(f"files/begun/00000-{'0' * 32}.tar", b"left"),
        {Kind.SHARD_UNNAMED},
    ),
    "rows beyond the shard": (
        lambda store: rewrite(store, "files", moved("shard_offset", 1 << 20)),
        {Kind.ROWS_OUTSIDE, Kind.ROWS_WRONG},
    ),
    "rows of other previews": (
        lambda store: rewrite(store, "images", moved("preview_size", -1)),
        {Kind.ROWS_WRONG},
    ),
    "a table that is cut": (lambda store: cut(store, "embeddings/early.parquet", 300), {Kind.UNREADABLE}),
    "a table that is empty": (
        lambda store: cut(store, "images/early.parquet", 0),
        {Kind.UNREADABLE, Kind.SHARD_WITHOUT_TABLE},
    ),
    "another schema": (
        lambda store: rewrite(store, "images", lambda rows: rows, schema_version="2"),
        {Kind.OTHER_SCHEMA},
    ),
    "other columns": (lambda store: rewrite(store, "files", lambda rows: rows.drop(["sha1"])), {Kind.OTHER_SCHEMA}),
    "no files": (
        lambda store: store.delete("files/early.parquet"),
        {Kind.NOT_MADE_FROM_ANYTHING},
    ),
    "no images": (
        lambda store: store.delete("images/early.parquet"),
        {Kind.NOT_MADE_FROM_ANYTHING, Kind.SHARD_WITHOUT_TABLE},
    ),
    "no embeddings": (lambda store: store.delete("embeddings/early.parquet"), {Kind.NOT_MADE_FROM_ANYTHING}),
    "no manifest": (lambda store: store.delete("manifests/early.json"), {Kind.NO_MANIFEST}),
    "an image that is no file": (
        lambda store: rewrite(store, "files", lambda rows: rows.slice(1)),
        {Kind.ROWS_DISAGREE},
    ),
    "a vector too few": (
        lambda store: rewrite(store, "embeddings", lambda rows: rows.slice(1)),
        {Kind.ROWS_DISAGREE},
    ),
    "an archive that is no partition": (lambda store: put_stored(store, "stray", ENTRIES[:1]), {Kind.NO_PARTITION}),
    "a draft": (lambda store: (store.root / "files" / ".pending-abc").write_bytes(b"half"), {Kind.LEFT_BEHIND}),
    "a lost ownership": (
        lambda store: store.put_bytes(
            "dataset/archives.parquet", to_parquet(pa.table({}), Provenance("", "", ""), {"ownership": "gone.parquet"})
        ),
        {Kind.DATASET},
    ),
}
CUT: dict[str, Kind] = {
    "dataset/archives.parquet": Kind.DATASET,
    "dataset/ownership.parquet": Kind.DATASET,
    "dataset/near_duplicates.parquet": Kind.DATASET,
    "verdicts/some.parquet": Kind.DATASET,
    "warehouse.duckdb": Kind.DATASET,
    "labels/said.parquet": Kind.LABELS,
    "models/anomaly/current.json": Kind.MODEL,
    "models/probe/current.json": Kind.MODEL,
}
MENDED = {Kind.SHARD_UNNAMED, Kind.LEFT_BEHIND}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_repair_removes_only_what_nothing_names(
    store: LocalStore, places: Places, damage: str
) -> None:
    plant, expected = DAMAGE[damage]
    before = {*contents(store)}
    plant(store)
    damaged = contents(store)
    found = visit(store, places)
    assert kinds(found) == expected
    assert all(str(diagnosis.finding) for diagnosis in found)
    assert contents(store) == damaged
    repaired = visit(store, places, repair=True)
    assert [diagnosis.finding for diagnosis in repaired] == [diagnosis.finding for diagnosis in found]
    removed = {diagnosis.finding.where for diagnosis in repaired if diagnosis.is_mended}
    assert {diagnosis.finding.kind for diagnosis in repaired if diagnosis.is_mended} == expected & MENDED
    after = contents(store)
    assert {*damaged} - {*after} == removed & {*damaged}
    assert not removed & before
    assert kinds(visit(store, places)) == expected - MENDED
    for key in after:
        if after[key] != damaged[key]:  # marked: the same rows
            assert pq.read_table(io.BytesIO(after[key])).equals(pq.read_table(io.BytesIO(damaged[key])))
    assert not list(store.abandoned())


@pytest.mark.parametrize("key", CUT)
def test_what_there_is_once_for_all_archives_is_found_where_it_cannot_be_read(
    store: LocalStore, places: Places, tmp_path: Path, key: str
) -> None:
    (tmp_path / "made").mkdir()
    publish_warehouse(store, build_warehouse(store, tmp_path / "mirror", tmp_path / "made"))
    archives = to_parquet(pa.table({}), Provenance("", "", ""), {"ownership": "ownership.parquet"})
    store.put_bytes("dataset/archives.parquet", archives)
    for table in (other for other in CUT if other.endswith(".parquet") and "archives" not in other):
        store.put_bytes(table, to_parquet(pa.table({"blake2b": [b""]}), Provenance("", "", "")))
    assert visit(store, places) == []
    store.put_bytes(key, store.get_bytes(key)[:100] if store.stat(key) else b'{"version": "gone"}')
    [found] = visit(store, places, checksums=False)
    assert (found.finding.kind, found.finding.where) == (CUT[key], key)
    store.put_bytes(key, b"{")
    assert kinds(visit(store, places, repair=True)) == {CUT[key]}


def test_checksums_reads_the_tables_of_the_warehouse(store: LocalStore, places: Places, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    path = build_warehouse(store, tmp_path / "mirror", tmp_path / "made")
    with duckdb.connect(str(path)) as warehouse:
        warehouse.execute("CREATE TABLE report AS SELECT hash(range) AS it FROM range(500000)")
    publish_warehouse(store, path)
    examined = [*examine_dataset(store), *examine_dataset(store, tmp_path)]
    assert examined == []
    cut(store, WAREHOUSE_KEY, -(2 << 20))
    assert [found.where for found in examine_dataset(store, tmp_path)] == [WAREHOUSE_KEY]


def test_without_checksums_bits_are_not_looked_at(store: LocalStore, places: Places) -> None:
    flip(store, shards_of(store, "files")[0], 512)
    assert visit(store, places, checksums=False) == []


def test_what_is_marked_is_made_again_by_the_next_run(store: LocalStore, places: Places) -> None:
    inputs = fingerprint(archive="early")
    assert unchanged(store, ["records", "files"], "early", inputs, "files")
    images = read_table(store, "images", "early").digest
    rewrite(store, "files", moved("shard_offset", 1 << 20))
    assert unchanged(store, ["records", "files"], "early", inputs, "files")
    said = [str(diagnosis) for diagnosis in visit(store, places, repair=True)]
    assert said
    assert all(line.endswith("Marked, so that the next run makes it again. Run: imgmine mine early.") for line in said)
    assert not unchanged(store, ["records", "files"], "early", inputs, "files")
    assert read_table(store, "images", "early").digest == images


def test_a_missing_shard_is_made_again_by_the_next_run(store: LocalStore) -> None:
    store.delete(shards_of(store, "files")[0])
    assert not unchanged(store, ["records", "files"], "early", fingerprint(archive="early"), "files")


def test_what_lies_about_on_this_machine_goes_unless_someone_is_at_work(store: LocalStore, places: Places) -> None:
    gated = places.scratch_root / "gated"
    gated.mkdir(parents=True)
    (gated / "early").write_bytes(b"used")
    (gated / "new").write_bytes(b"to be used")
    for stage, name in (("images", "early"), ("dataset", "all")):
        (places.scratch_root / stage / name).mkdir(parents=True)
        (places.scratch_root / stage / f"{name}.lock").touch()
    expected = {Kind.WAITING_RESULTS, Kind.LEFT_BEHIND, Kind.NO_PARTITION}
    assert kinds(visit(store, places)) == expected
    with alone_with(places.scratch_root, ["unique_files"], "early"):
        held = visit(store, places, repair=True)
    assert (gated / "early").exists()
    assert {diagnosis.finding.where for diagnosis in held if diagnosis.is_mended} == {
        str(places.scratch_root / "dataset" / "all")
    }
    mended = {diagnosis.finding.where for diagnosis in visit(store, places, repair=True) if diagnosis.is_mended}
    assert mended == {str(gated / "early"), str(places.scratch_root / "images" / "early")}
    assert not (gated / "early").exists()
    assert (gated / "new").exists()


def test_an_archive_whose_run_is_under_way_is_left_alone(store: LocalStore, places: Places) -> None:
    store.put_bytes(f"files/early/00009-{'0' * 32}.tar", b"on its way")
    before = contents(store)
    assert visit(store, places, repair=True, busy="early") == []
    with alone_with(places.scratch_root, STAGES[1:2], "early"):
        assert not any(diagnosis.is_mended for diagnosis in visit(store, places, repair=True))
    assert contents(store) == before


def test_one_archive_can_be_looked_at_alone(store: LocalStore) -> None:
    store.delete("images/late.parquet")
    assert list(examine(store, "early")) == []
    assert [finding.archive for finding in examine(store, "late")].count("late") > 0


def test_a_take_down_leaves_nothing_for_the_doctor(store: LocalStore, places: Places, tmp_path: Path) -> None:
    take_out(store, "early", {digest("two"), digest("clip")}, tmp_path, lambda _: None)
    assert visit(store, places, repair=True) == []
