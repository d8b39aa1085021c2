"""Published or not there: a run killed at any write leaves the earlier version whole, and the next run finishes."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from imgmine.store.base import NotInStore, Store
from imgmine.store.local import LocalStore
from imgmine.store.opening import open_store
from imgmine.store.publish import content_digest, fingerprint, publish, read_table, unchanged
from imgmine.store.tables import RECORDS, table_key
from tests.s3_server import S3Server
from tests.store.published_stage import ARCHIVE, PAYLOADS, TABLES, made, provenance, publish_version

ROOT = Path(__file__).parents[2]

# Two shards and two tables are put, then two former shards are deleted; one shard is the same in both versions.
SHARDS, WRITES = 2, 2 + 2 + 2
BEFORE_THE_LAST_TABLE = SHARDS + 1


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def everything(store: Store) -> dict[str, bytes]:
    return {stored.key: store.get_bytes(stored.key) for stored in store.list("")}


def published_version(store: Store) -> int:
    """Return which version the table that counts is of, having read every file that it names out of its shard."""
    files = read_table(store, "files", ARCHIVE)
    payloads = [store.get_range(row["shard"], row["shard_offset"], row["size"]) for row in files.read().to_pylist()]
    (version,) = (version for version, of_version in PAYLOADS.items() if of_version == payloads)
    assert files.metadata["inputs"] == provenance(version).inputs
    return version


def run_killed(url: str, endpoint: str, kill_at: int, folder: Path, environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "tests.store.published_stage", url, endpoint, "2", str(kill_at), str(folder)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def check_a_kill(store: Store, kill: Callable[[int, Path], None], kill_at: int, tmp_path: Path) -> None:
    undisturbed = LocalStore(tmp_path / "undisturbed")
    publish_version(undisturbed, 2, tmp_path / "undisturbed drafts")
    publish_version(store, 1, tmp_path / "first drafts")

    kill(kill_at, tmp_path / "killed drafts")

    finished = kill_at > BEFORE_THE_LAST_TABLE
    assert published_version(store) == (2 if finished else 1)
    inputs = provenance(2).inputs
    assert unchanged(store, TABLES, ARCHIVE, inputs, "files") == finished
    if not finished:
        publish_version(store, 2, tmp_path / "second drafts")
        assert unchanged(store, TABLES, ARCHIVE, inputs, "files")
    assert published_version(store) == 2
    assert everything(store) == everything(undisturbed), "byte for byte, and no former shard is left"


@pytest.mark.parametrize("kill_at", range(WRITES))
def test_a_kill_at_any_write_leaves_one_version_whole_and_the_next_run_finishes(
    store: LocalStore, tmp_path: Path, kill_at: int
) -> None:
    check_a_kill(store, lambda at, folder: run_killed(store.url, "", at, folder, {}), kill_at, tmp_path)


@pytest.mark.parametrize("kill_at", [1, BEFORE_THE_LAST_TABLE, WRITES - 1])
def test_a_kill_on_s3_leaves_one_version_whole_and_the_next_run_finishes(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    environ = s3_server.environ(f"publish/{uuid.uuid4().hex}")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    url, endpoint = environ["IMGMINE_STORE"], environ["IMGMINE_S3_ENDPOINT"]
    store = open_store(url, endpoint)
    check_a_kill(store, lambda at, folder: run_killed(url, endpoint, at, folder, environ), kill_at, tmp_path)


def test_publishing_twice_writes_the_same_bytes_and_says_so(store: LocalStore, tmp_path: Path) -> None:
    first = publish_version(store, 1, tmp_path / "a")
    before = everything(store)
    assert publish_version(store, 1, tmp_path / "b") == first
    assert everything(store) == before
    assert first == {name: content_digest(before[table_key(name, ARCHIVE)]) for name in TABLES}
    assert first == {name: read_table(store, name, ARCHIVE).digest for name in TABLES}


def test_shards_that_are_there_already_are_not_put_again(store: LocalStore, tmp_path: Path) -> None:
    publish_version(store, 1, tmp_path / "a")
    tags = {stored.key: stored.tag for stored in store.list("files/")}
    publish_version(store, 1, tmp_path / "b")
    for stored in store.list(f"files/{ARCHIVE}/"):
        assert stored.tag == tags[stored.key]


def test_the_bytes_put_so_far_are_told(store: LocalStore, tmp_path: Path) -> None:
    tables, shards = made(1, tmp_path)
    told: list[tuple[int, int]] = []
    publish(store, ARCHIVE, tables, provenance(1), shards, "files", lambda done, total: told.append((done, total)))
    sizes = [shard.size for shard in shards]
    assert told == [(sum(sizes[: number + 1]), sum(sizes)) for number in range(len(sizes))]


def test_other_archives_and_other_folders_are_left_alone(store: LocalStore, tmp_path: Path) -> None:
    others = [f"files/{ARCHIVE}0/0.tar", f"previews/{ARCHIVE}/0.tar", f"files/{ARCHIVE[:-1]}/0.tar"]
    for key in others:
        store.put_bytes(key, b"another's")
    publish_version(store, 1, tmp_path / "a")
    publish_version(store, 2, tmp_path / "b")
    assert {key: store.get_bytes(key) for key in others} == dict.fromkeys(others, b"another's")


def test_a_stage_without_files_publishes_an_empty_table_and_drops_its_former_shards(
    store: LocalStore, tmp_path: Path
) -> None:
    publish_version(store, 1, tmp_path)
    publish(store, ARCHIVE, {"files": pa.table({"size": pa.array([], pa.int64())})}, provenance(2), [], "files")
    assert list(store.list("files/" + ARCHIVE + "/")) == []
    assert unchanged(store, ["files"], ARCHIVE, provenance(2).inputs, "files")
    assert read_table(store, "files", ARCHIVE).read().num_rows == 0


def test_a_table_that_cannot_be_written_leaves_the_store_as_it_was(store: LocalStore, tmp_path: Path) -> None:
    publish_version(store, 1, tmp_path / "a")
    before = everything(store)
    tables, shards = made(2, tmp_path / "b")
    unfit = pa.table({"archive": pa.array([None], pa.string())}, schema=pa.schema([RECORDS.field("archive")]))
    with pytest.raises(pa.ArrowInvalid):
        publish(store, ARCHIVE, {**tables, "records": unfit}, provenance(2), shards, "files")
    assert everything(store) == before


def test_a_shard_that_another_run_swept_away_is_put_again(store: LocalStore, tmp_path: Path) -> None:
    tables, shards = made(2, tmp_path / "drafts")

    class SweptOnce(LocalStore):
        """Loses a shard between the shards and the tables, as when another run of the archive ends just then."""

        def put_bytes(self, key: str, data: bytes) -> None:
            store.delete(shards[1].key)
            super().put_bytes(key, data)

    publish(SweptOnce(store.root), ARCHIVE, tables, provenance(2), shards, "files")
    assert published_version(store) == 2


def test_a_stage_is_unchanged_only_with_its_inputs_its_tables_and_its_shards(store: LocalStore, tmp_path: Path) -> None:
    inputs = provenance(1).inputs
    assert not unchanged(store, TABLES, ARCHIVE, inputs, "files")
    publish_version(store, 1, tmp_path)
    assert unchanged(store, TABLES, ARCHIVE, inputs, "files")
    assert unchanged(store, TABLES, ARCHIVE, inputs, None)
    assert not unchanged(store, TABLES, ARCHIVE, "other inputs", "files")
    assert not unchanged(store, [*TABLES, "images"], ARCHIVE, inputs, "files")
    assert not unchanged(store, TABLES, "another archive", inputs, "files")

    shard = next(store.list(f"files/{ARCHIVE}/"))
    data = store.get_bytes(shard.key)
    store.delete(shard.key)
    assert not unchanged(store, TABLES, ARCHIVE, inputs, "files")
    store.put_bytes(shard.key, data)
    assert unchanged(store, TABLES, ARCHIVE, inputs, "files")


def test_asking_about_a_folder_that_is_not_the_stages_own_removes_nothing(store: LocalStore, tmp_path: Path) -> None:
    publish_version(store, 1, tmp_path)
    publish(store, ARCHIVE, {"images": pa.table({"size": [1]})}, provenance(1))
    before = everything(store)
    assert not unchanged(store, ["images"], ARCHIVE, provenance(1).inputs, "files")
    assert everything(store) == before


def test_a_table_that_was_never_published_is_missing(store: LocalStore) -> None:
    with pytest.raises(NotInStore, match=r"files/nothing\.parquet"):
        read_table(store, "files", "nothing")


def test_a_fingerprint_changes_with_any_input_and_not_with_their_order() -> None:
    base = fingerprint(records="ab", limit=1, percentile=5.0)
    assert fingerprint(percentile=5.0, limit=1, records="ab") == base
    others = [
        fingerprint(records="abc", limit=1, percentile=5.0),
        fingerprint(records="ab", limit="1", percentile=5.0),
        fingerprint(records="ab", limit=1, percentile=5.5),
        fingerprint(records="ab", limit=1),
        fingerprint(records="ab\nlimit=1", percentile=5.0),
    ]
    assert len({base, *others}) == 6
