import io
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from imgmine.dataset.doctor import archives_in
from imgmine.dataset.mending import archives_to_see, see_to_dataset
from imgmine.dataset.ownership import OWNERSHIP, BadFilesTable
from imgmine.dataset.ownership_parts import PREFIXES, BadPart, PartSummary, part_key, publish_part, read_parts
from imgmine.dataset.publishing import DatasetSummary, publish_dataset, remove_former_ownership
from imgmine.dataset.removing import data_of
from imgmine.dataset.takedown.scan import scan_store
from imgmine.places import Places
from imgmine.store.base import Store
from imgmine.store.local import LocalStore
from imgmine.store.s3 import S3Store
from imgmine.store.tables import DIGEST
from tests.dataset.small_store import digest
from tests.dataset.test_ownership import ARCHIVES
from tests.s3_server import S3Server

THREE = {"first": [digest("1"), digest("2")], "second": [digest("2"), digest("3")], "third": [digest("4")]}


def put(store: Store, archives: dict[str, list[bytes]]) -> None:
    for archive, digests in archives.items():
        out = io.BytesIO()
        pq.write_table(pa.table({"blake2b": pa.array(sorted(set(digests)), DIGEST)}), out)
        store.put_bytes(f"files/{archive}.parquet", out.getvalue())


def scratch_in(folder: Path) -> Path:
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    (folder / "scratch").mkdir(parents=True)
    return folder / "scratch"


def publish_parts(store: Store, folder: Path, prefixes: str = "".join(PREFIXES)) -> list[PartSummary]:
    return [publish_part(store, folder / "mirror", scratch_in(folder), prefix) for prefix in prefixes]


def publish(store: Store, folder: Path) -> DatasetSummary:
    # No archive is merely added: what is tested here is how the whole is made.
    return publish_dataset(store, folder / "mirror", scratch_in(folder), most_changes=-1)


def made(store: Store, folder: Path) -> dict[str, bytes]:
    """Return what is published over all archives, and the index of it, byte for byte."""
    remove_former_ownership(store)
    files = (path for path in (folder / "mirror/ownership-index").rglob("*") if path.is_file())
    indexes = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    return {stored.key: store.get_bytes(stored.key) for stored in store.list("dataset/")} | indexes


def both_ways(archives: dict[str, list[bytes]], folder: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return what is made without parts, and what is joined of them."""
    ways = []
    for name in ("whole", "parts"):
        store = LocalStore(folder / name / "store")
        put(store, archives)
        if name == "parts":
            publish_parts(store, folder / name)
        assert publish(store, folder / name).joined == (name == "parts")
        ways.append(made(store, folder / name))
    return ways[0], ways[1]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")
    put(store, THREE)
    return store


@settings(max_examples=4)
@given(archives=ARCHIVES)
def test_of_any_archives_the_parts_joined_are_the_whole(archives: list[list[bytes]]) -> None:
    with TemporaryDirectory() as temporary:
        named = {f"archive_{number}": digests for number, digests in enumerate(archives)}
        whole, joined = both_ways(named, Path(temporary))
    assert joined == whole


def test_joined_and_made_at_once_a_table_of_several_row_groups_has_equal_bytes(tmp_path: Path) -> None:
    random = np.random.default_rng(0).bytes(32 * 135_000)
    rows = [random[at : at + 32] for at in range(0, len(random), 32)]
    whole, joined = both_ways({"a": rows[:90_000], "b": rows[80_000:]}, tmp_path)
    assert joined.keys() == whole.keys()
    assert all(joined[key] == whole[key] for key in whole)
    [table] = [data for key, data in whole.items() if key.startswith("dataset/ownership-")]
    assert pq.read_metadata(io.BytesIO(table)).num_row_groups == 2
    assert any(key.endswith("high") for key in whole), "the index is compared too"


def test_the_parts_of_a_remote_store_are_joined_to_the_same_bytes(
    s3_server: S3Server, store: LocalStore, tmp_path: Path
) -> None:
    remote = S3Store(
        s3_server.bucket,
        "parts",
        s3_server.endpoint,
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
    )
    put(remote, THREE)
    publish_parts(remote, tmp_path / "remote")
    assert publish(remote, tmp_path / "remote").joined
    assert list((tmp_path / "remote/scratch").iterdir()) == []
    publish(store, tmp_path)
    assert made(remote, tmp_path / "remote") == made(store, tmp_path)


def test_a_part_says_who_owns_what_and_is_made_once(store: LocalStore, tmp_path: Path) -> None:
    parts = publish_parts(store, tmp_path)
    rows = [row for prefix in PREFIXES for row in pq.read_table(store.root / part_key(prefix)).to_pylist()]
    assert {row["blake2b"]: (row["archive"], row["copies"]) for row in rows} == {
        digest("1"): ("first", 1),
        digest("2"): ("first", 2),
        digest("3"): ("second", 1),
        digest("4"): ("third", 1),
    }
    assert all(pq.read_schema(store.root / part_key(prefix)).equals(OWNERSHIP) for prefix in PREFIXES)
    assert sum(part.found.distinct for part in parts) == 4
    assert sum(part.found.repeated for part in parts) == 1
    assert all(part.changed and part.archives == 3 for part in parts)
    before = list(store.list("ownership_parts/"))
    again = publish_parts(store, tmp_path)
    assert [part.found for part in again] == [part.found for part in parts]
    assert not any(part.changed for part in again)
    assert list(store.list("ownership_parts/")) == before


def test_where_a_part_is_missing_the_whole_is_made_without_them(store: LocalStore, tmp_path: Path) -> None:
    publish_parts(store, tmp_path, "0123456789abcde")
    assert not publish(store, tmp_path).joined
    whole = made(store, tmp_path)
    store.delete("dataset/archives.parquet")
    publish_parts(store, tmp_path, "f")
    assert publish(store, tmp_path).joined
    assert made(store, tmp_path) == whole


def test_parts_of_other_tables_are_no_parts_and_go(store: LocalStore, tmp_path: Path) -> None:
    publish_parts(store, tmp_path)
    put(store, {"third": [digest("2")]})
    publish_parts(store, tmp_path, "0")
    assert not publish(store, tmp_path).joined
    assert [stored.key for stored in store.list("ownership_parts/")] == [part_key("0")]
    publish_parts(store, tmp_path)
    store.delete("dataset/archives.parquet")
    assert publish(store, tmp_path).joined
    table = next(data for key, data in made(store, tmp_path).items() if key.startswith("dataset/ownership-"))
    assert digest("4") not in pq.read_table(io.BytesIO(table))["blake2b"].to_pylist()


def test_a_part_that_is_none_counts_as_missing(store: LocalStore, tmp_path: Path) -> None:
    publish_parts(store, tmp_path)
    store.put_bytes(part_key("7"), b"PAR1 nothing PAR1")
    assert len(read_parts(store)) == 15
    assert not publish(store, tmp_path).joined


def test_a_part_that_cannot_be_read_to_its_end_is_named_and_nothing_is_published(
    store: LocalStore, tmp_path: Path
) -> None:
    publish_parts(store, tmp_path)
    prefix = digest("1").hex()[0]
    data = store.get_bytes(part_key(prefix))
    at = data.index(digest("1"))
    store.put_bytes(part_key(prefix), data[: at - 20] + b"\xff" * 20 + data[at:])
    with pytest.raises(BadPart, match=rf"ownership_parts/{prefix}\.parquet cannot be joined"):
        publish(store, tmp_path)
    assert list(store.list("dataset/")) == []
    store.delete(part_key(prefix))
    assert not publish(store, tmp_path).joined


def test_an_archive_that_is_mined_meanwhile_makes_no_part(store: LocalStore, tmp_path: Path) -> None:
    def mine(done: int, total: int) -> None:
        put(store, {"third": [digest("5")]})

    with pytest.raises(BadFilesTable, match="third is being mined again"):
        publish_part(store, tmp_path / "mirror", scratch_in(tmp_path), "0", on_progress=mine)
    assert list(store.list("ownership_parts/")) == []


def test_there_are_16_prefixes_and_no_others(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no prefix of a part: '10'"):
        publish_part(store, tmp_path, tmp_path, "10")


def test_what_was_taken_down_is_in_no_part_once_the_dataset_follows(store: LocalStore, tmp_path: Path) -> None:
    publish_parts(store, tmp_path)
    publish(store, tmp_path)

    def found() -> list[str]:
        return [line.partition(":")[0] for line in scan_store(store, [digest("4")], {}, scratch_in(tmp_path)).found]

    assert part_key(digest("4").hex()[0]) in found()
    put(store, {"third": []})
    publish(store, tmp_path)
    remove_former_ownership(store)
    assert found() == []


def test_no_archive_is_called_like_a_part(store: LocalStore, tmp_path: Path) -> None:
    publish_parts(store, tmp_path)
    publish(store, tmp_path)
    places = Places(tmp_path / "scratches", tmp_path / "cache")
    assert archives_in(store) == archives_to_see(store, places) == set(THREE)
    assert list(see_to_dataset(store, places)) == []
    assert not any(data_of(store, places, "3"))
