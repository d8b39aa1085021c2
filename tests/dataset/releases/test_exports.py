"""A release for other tools: one DuckDB file, and a folder that FiftyOne reads."""

import hashlib
import json
from pathlib import Path

import duckdb
import pytest

from imgmine.dataset.releases.exports import ExportRefused, export_duckdb, export_fiftyone
from imgmine.store.local import LocalStore
from tests.dataset.releases.mined_store import make, recipe_of


def test_the_metadata_are_one_duckdb_file(mined: LocalStore, tmp_path: Path) -> None:
    release = make(mined, recipe_of(select={"nsfw_below": 0.5}), tmp_path).release
    out = tmp_path / "out" / "small.duckdb"
    assert export_duckdb(mined, release, out, tmp_path / "export") == release.images
    with duckdb.connect(str(out), read_only=True) as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT shard) FROM samples").fetchall() == [(20, 5)]
        assert connection.execute("FROM dropped").fetchall() == [("nsfw", 1)]
        assert connection.execute("SELECT sum(size)::BIGINT FROM shards").fetchall() == [(release.size,)]
    with pytest.raises(ExportRefused, match="is there already"):
        export_duckdb(mined, release, out, tmp_path / "export")


@pytest.mark.parametrize("layout", ["webdataset", "parquet"])
def test_pictures_and_scores_are_a_dataset_of_fiftyone(layout: str, mined: LocalStore, tmp_path: Path) -> None:
    release = make(mined, recipe_of(layouts=[layout]), tmp_path).release
    folder = tmp_path / "fiftyone"
    assert export_fiftyone(mined, release, folder, tmp_path / "export", limit=9) == 9
    # Without a version, FiftyOne takes it for its first format, which needs no schema.
    assert "version" not in json.loads((folder / "metadata.json").read_text())
    samples = json.loads((folder / "samples.json").read_text())["samples"]
    assert len(samples) == len(list((folder / "data").iterdir())) == 9
    for sample in samples:
        payload = (folder / sample["filepath"]).read_bytes()
        assert hashlib.blake2b(payload, digest_size=32).hexdigest() == sample["blake2b"]
        assert sample["metadata"]["size_bytes"] == len(payload)
        assert sample["category"]["_cls"] == "Classification"
    with pytest.raises(ExportRefused, match="is not empty"):
        export_fiftyone(mined, release, folder, tmp_path / "export")
