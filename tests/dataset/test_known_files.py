"""Files of earlier archives, found by their SHA-1."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmine.archives.item import read_manifest
from imgmine.dataset.known_files import KnownFiles, known_before
from imgmine.errors import ImgmineError
from imgmine.store.local import LocalStore
from tests.dataset.small_store import Entry, digest, list_hashes, put_archive, put_manifest

# Few values, whose first eight bytes are the same for many.
sha1s = st.builds(lambda first, last: bytes([first]) * 8 + bytes([last]) * 12, st.integers(0, 2), st.integers(0, 2))
digests = st.integers(0, 20).map(lambda number: bytes([number]) * 32)


def put_tables(folder: Path, tables: list[list[tuple[bytes, bytes]]]) -> list[Path]:
    paths = []
    for number, rows in enumerate(tables):
        columns = [
            pa.array([sha1 for sha1, _ in rows], pa.binary(20)),
            pa.array([blake2b for _, blake2b in rows], pa.binary(32)),
        ]
        paths.append(folder / f"{number}.parquet")
        pq.write_table(pa.table(columns, ["sha1", "blake2b"]), paths[-1], row_group_size=2)
    return paths


@given(st.lists(st.lists(st.tuples(sha1s, digests), max_size=6), max_size=3), st.sets(sha1s), st.sets(digests))
def test_a_file_is_found_by_its_sha1_unless_another_has_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    tables: list[list[tuple[bytes, bytes]]],
    wanted: set[bytes],
    names: set[bytes],
) -> None:
    known = KnownFiles(put_tables(tmp_path_factory.mktemp("tables"), tables))
    having: dict[bytes, set[bytes]] = {}
    for sha1, blake2b in (row for rows in tables for row in rows):
        having.setdefault(sha1, set()).add(blake2b)
    assert known.by_sha1(wanted) == {
        sha1: next(iter(having[sha1])) for sha1 in wanted if len(having.get(sha1, ())) == 1
    }
    assert known.has_all(names) == (names <= {blake2b for found in having.values() for blake2b in found})


def test_only_published_archives_that_come_before_are_asked(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    dates = {"b-first": 1, "a-second": 2, "b-same": 2, "a-later": 3}
    for archive, day in dates.items():
        put_archive(store, archive, [Entry(archive)], datetime(2023, 5, day, tzinfo=UTC))
    put_manifest(store, "a-not-mined", datetime(2023, 5, 1, tzinfo=UTC))
    item = read_manifest(store.get_bytes("manifests/b-same.json"))
    sha1 = {archive: list_hashes(archive)["sha1"] for archive in [*dates, "a-not-mined"]}
    found = known_before(store, tmp_path / "mirror", item).by_sha1(sha1.values())
    assert found == {sha1[archive]: digest(archive) for archive in ("b-first", "a-second")}


def test_a_table_without_the_column_knows_nothing_and_a_broken_one_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"blake2b": pa.array([b"x" * 32], pa.binary(32))}), tmp_path / "old.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 is not enough")
    assert KnownFiles([tmp_path / "old.parquet"]).by_sha1({b"y" * 20}) == {}
    with pytest.raises(ImgmineError, match="cannot be read"):
        KnownFiles([tmp_path / "broken.parquet"]).by_sha1({b"y" * 20})
