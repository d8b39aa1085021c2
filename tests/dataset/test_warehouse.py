import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from imgmine.dataset.near_duplicates import NEAR_DUPLICATES_KEY
from imgmine.dataset.publishing import publish_dataset
from imgmine.dataset.relations import ARCHIVE_TABLES, DamagedTable
from imgmine.dataset.warehouse import (
    WAREHOUSE_KEY,
    DamagedWarehouse,
    build_warehouse,
    checkout_warehouse,
    open_warehouse,
    publish_warehouse,
)
from imgmine.decisions import ImageDecision, RecordDecision
from imgmine.store.base import NotInStore
from imgmine.store.local import LocalStore
from tests.dataset.small_store import Entry, digest, put_archive

FIRST = [Entry("one"), Entry("two", gate=ImageDecision.MODE), Entry("page", RecordDecision.NO_MEDIA)]
SECOND = [Entry("one"), Entry("clip", media_type="video/mp4", percentile=1)]


@pytest.fixture(params=["plain", "we'ird [x] *.\" {y}"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / request.param / "store")


def fill(store: LocalStore, folder: Path) -> None:
    put_archive(store, "archive.one", FIRST, datetime(2023, 5, 2, tzinfo=UTC))
    put_archive(store, "archive_two", SECOND, datetime(2023, 5, 1, tzinfo=UTC))
    folder.mkdir(parents=True, exist_ok=True)
    publish_dataset(store, folder / "mirror", folder)


def build(store: LocalStore, folder: Path) -> Path:
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return build_warehouse(store, folder / "mirror", scratch)


def refresh(store: LocalStore, folder: Path) -> None:
    publish_warehouse(store, build(store, folder))


def test_every_table_is_there_over_all_archives(store: LocalStore, tmp_path: Path) -> None:
    fill(store, tmp_path)
    refresh(store, tmp_path)
    with open_warehouse(store, tmp_path / "mirror", tmp_path / "reading") as warehouse:
        counts = {
            table: warehouse.execute(f"SELECT archive, count(*) FROM {table} GROUP BY ALL ORDER BY ALL").fetchall()
            for table in ARCHIVE_TABLES
        }
        owners = warehouse.execute("SELECT blake2b, archive, copies FROM ownership").fetchall()
        archives = warehouse.execute("SELECT archive, files, owned FROM archives").fetchall()
        funnel = warehouse.execute("SELECT n FROM funnel WHERE stage = 'files' AND decision = 'still'").fetchall()
        readable = warehouse.execute("SELECT digest(blake2b) FROM files WHERE size = 3").fetchall()
    assert counts == {
        "records": [("archive.one", 3), ("archive_two", 2)],
        "files": [("archive.one", 2), ("archive_two", 3)],
        "images": [("archive.one", 2), ("archive_two", 2)],
        "embeddings": [("archive.one", 1), ("archive_two", 2)],
        "anomaly_scores": [("archive.one", 1), ("archive_two", 2)],
        "watermark_scores": [("archive.one", 1), ("archive_two", 2)],
        **{table: [] for table in ("nsfw_scores", "probe_scores", "categories")},  # nobody has made them
    }
    assert (digest("one"), "archive_two", 2) in owners
    assert archives == [("archive_two", 3, 3), ("archive.one", 2, 1)]
    assert funnel == [(1,)]
    assert (digest("one").hex(),) in readable


def test_an_empty_store_has_empty_views_of_the_same_types(store: LocalStore, tmp_path: Path) -> None:
    refresh(store, tmp_path)
    with open_warehouse(store, tmp_path / "mirror", tmp_path / "reading") as warehouse:
        empty = {table: warehouse.execute(f"DESCRIBE {table}").fetchall() for table in (*ARCHIVE_TABLES, "ownership")}
        assert all(warehouse.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,) for table in empty)
        assert warehouse.execute("SELECT count(*) FROM funnel").fetchone() == (0,)
    fill(store, tmp_path)
    refresh(store, tmp_path)
    with open_warehouse(store, tmp_path / "mirror", tmp_path / "reading") as warehouse:
        assert {table: warehouse.execute(f"DESCRIBE {table}").fetchall() for table in empty} == empty


def test_reports_survive_until_they_are_made_again(store: LocalStore, tmp_path: Path) -> None:
    refresh(store, tmp_path)
    path = checkout_warehouse(store, tmp_path / "scratch")
    with duckdb.connect(str(path)) as warehouse:
        warehouse.execute("CREATE TABLE report AS SELECT 42 AS answer")
        # An earlier version may have had a table where there is a view now.
        warehouse.execute("DROP VIEW files; CREATE TABLE files (x INTEGER)")
    publish_warehouse(store, path)
    fill(store, tmp_path)
    refresh(store, tmp_path)
    with open_warehouse(store, tmp_path / "mirror", tmp_path / "reading") as warehouse:
        assert warehouse.execute("SELECT answer FROM report").fetchone() == (42,)
        assert warehouse.execute("SELECT count(*) FROM files").fetchone() == (5,)


def test_a_published_file_that_is_none_is_replaced(store: LocalStore, tmp_path: Path) -> None:
    store.put_bytes(WAREHOUSE_KEY, b"from another world" * 1000)
    fill(store, tmp_path)
    refresh(store, tmp_path)
    with open_warehouse(store, tmp_path / "mirror", tmp_path / "reading") as warehouse:
        assert warehouse.execute("SELECT count(*) FROM files").fetchone() == (5,)


def test_a_reader_keeps_its_warehouse_while_a_new_one_is_published(store: LocalStore, tmp_path: Path) -> None:
    fill(store, tmp_path)
    refresh(store, tmp_path)
    count = "SELECT coalesce(sum(n), 0) FROM funnel WHERE stage = 'records'"
    with open_warehouse(store, tmp_path / "mirror", tmp_path / "reading") as former:
        put_archive(store, "archive_three", [Entry("three")])
        refresh(store, tmp_path)
        assert former.execute(count).fetchone() == (5,)
        with open_warehouse(store, tmp_path / "mirror", tmp_path / "reading") as latter:
            assert latter.execute(count).fetchone() == (6,)
    assert list((tmp_path / "reading").glob("*.duckdb*")) == []


def test_readers_never_fail_while_warehouses_are_published(store: LocalStore, tmp_path: Path) -> None:
    fill(store, tmp_path)
    refresh(store, tmp_path)
    built = build(store, tmp_path)
    done = threading.Event()
    seen: list[object] = []

    def read() -> None:
        while not done.is_set():
            with open_warehouse(store, tmp_path / "mirror", tmp_path / "reading") as warehouse:
                seen.append(warehouse.execute("SELECT count(*) FROM funnel").fetchone())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(10):
            publish_warehouse(store, built)
    finally:
        done.set()
        reader.join()
    assert len(seen) > 0
    assert len(set(seen)) == 1


def test_somebody_who_holds_the_file_open_for_writing_holds_nobody_up(store: LocalStore, tmp_path: Path) -> None:
    fill(store, tmp_path)
    refresh(store, tmp_path)
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(store.local_copy(WAREHOUSE_KEY, tmp_path))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with open_warehouse(store, tmp_path / "mirror", tmp_path / "reading") as warehouse:
            assert warehouse.execute("SELECT count(*) FROM files").fetchone() == (5,)
        refresh(store, tmp_path)
        holder.stdin.close()


def test_the_file_in_the_store_works_by_itself(store: LocalStore, tmp_path: Path) -> None:
    fill(store, tmp_path)
    refresh(store, tmp_path)
    shutil.rmtree(tmp_path / "scratch")
    with duckdb.connect(str(store.local_copy(WAREHOUSE_KEY, tmp_path)), read_only=True) as warehouse:
        assert warehouse.execute("SELECT count(*) FROM anomaly_scores").fetchone() == (3,)


def test_an_archive_mined_later_is_seen_by_the_views(store: LocalStore, tmp_path: Path) -> None:
    fill(store, tmp_path)
    refresh(store, tmp_path)
    put_archive(store, "archive_three", [Entry("three")])
    with open_warehouse(store, tmp_path / "mirror", tmp_path / "reading") as warehouse:
        assert warehouse.execute("SELECT count(*) FROM files").fetchone() == (6,)


def test_a_copy_of_the_store_answers_from_its_own_tables(store: LocalStore, tmp_path: Path) -> None:
    fill(store, tmp_path)
    refresh(store, tmp_path)
    shutil.copytree(store.root, tmp_path / "moved")
    moved = LocalStore(tmp_path / "moved")
    put_archive(store, "archive_three", [Entry("three")])
    moved.delete("files/archive.one.parquet")
    published = moved.get_bytes(WAREHOUSE_KEY)
    for each, counts in ((store, (6, 3)), (moved, (3, 1))):
        with open_warehouse(each, tmp_path / "mirror", tmp_path / "reading") as warehouse:
            found = warehouse.execute("SELECT count(*), count(DISTINCT archive) FROM files").fetchone()
            assert found == counts
            assert warehouse.execute("SELECT count(*) FROM ownership").fetchone() == (4,)
            with pytest.raises(duckdb.InvalidInputException, match="read-only"):
                warehouse.execute("DROP VIEW files")
    assert moved.get_bytes(WAREHOUSE_KEY) == published
    assert list((tmp_path / "reading").glob("*.duckdb*")) == []


def test_views_follow_the_mirror_of_a_remote_store(store: LocalStore, tmp_path: Path) -> None:
    class Mirrored(LocalStore):
        def mirror_path(self, prefix: str, folder: Path) -> Path:
            return folder / prefix

        def mirror(self, prefix: str, suffix: str, folder: Path) -> Path:
            (self.root / prefix).mkdir(parents=True, exist_ok=True)
            shutil.copytree(self.root / prefix, folder / prefix, dirs_exist_ok=True)
            return folder / prefix

    fill(store, tmp_path)
    remote = Mirrored(store.root)
    refresh(remote, tmp_path)
    shutil.rmtree(tmp_path / "mirror")
    with open_warehouse(remote, tmp_path / "elsewhere", tmp_path / "reading") as warehouse:
        assert warehouse.execute("SELECT count(*) FROM files").fetchone() == (5,)


def test_what_cannot_be_read_is_named_with_what_to_do(store: LocalStore, tmp_path: Path) -> None:
    fill(store, tmp_path)
    refresh(store, tmp_path)
    store.put_bytes(NEAR_DUPLICATES_KEY, b"cut")
    with pytest.raises(DamagedTable, match=f"{NEAR_DUPLICATES_KEY} .* launch the job find_near_duplicates"):
        build(store, tmp_path)
    store.put_bytes(WAREHOUSE_KEY, store.get_bytes(WAREHOUSE_KEY)[:100])
    with pytest.raises(DamagedWarehouse, match=rf"{WAREHOUSE_KEY} .* Launch the job statistics\."):
        open_warehouse(store, tmp_path / "mirror", tmp_path / "reading")
    assert list((tmp_path / "reading").glob("*.duckdb*")) == []


def test_without_a_warehouse_the_error_says_what_to_do(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(NotInStore, match="Materialize"):
        open_warehouse(store, tmp_path / "mirror", tmp_path)
