"""Which models the tables are of: counted by archive, and told where they are several."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from imgmine.dataset.models_used import ModelUsed, disagreements, models_used
from imgmine.dataset.relations import UnreadableFile
from imgmine.dataset.warehouse import build_warehouse, connect
from imgmine.models.cards import VECTORS_CODE
from imgmine.store.local import LocalStore
from imgmine.store.publish import publish
from imgmine.store.tables import ANOMALY_SCORES, Provenance
from tests.dataset.small_store import Entry, put_archive


def put(store: LocalStore, archive: str, **about: Mapping[str, str]) -> None:
    """Publish tables, whose rows do not matter, that say this of the model that filled them."""
    for table, said in about.items():
        rows = pa.Table.from_pylist([], ANOMALY_SCORES)
        publish(store, archive, {table: rows}, Provenance(table, VECTORS_CODE, "0"), extra=said)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    made = LocalStore(tmp_path / "store")
    for archive, score in (("one", "gmm-1"), ("two", "gmm-1"), ("three", "knn-2")):
        put(
            made,
            archive,
            embeddings={"model": "clip"},
            anomaly_scores={"model": score, "embedder": "clip"},
            nsfw_scores={"model": "open"},
            categories={"categories": "abc", "embedder": "clip"},
        )
    return made


def folders(store: LocalStore) -> dict[str, Path]:
    names = ("files", "embeddings", "anomaly_scores", "nsfw_scores", "categories")
    return {name: store.root / name for name in names}


def test_archives_are_counted_by_table_model_and_embedder(store: LocalStore) -> None:
    assert models_used(folders(store)) == [
        ModelUsed("anomaly_scores", "gmm-1", "clip", 2),
        ModelUsed("anomaly_scores", "knn-2", "clip", 1),
        ModelUsed("categories", "abc", "clip", 3),
        ModelUsed("embeddings", "clip", "clip", 3),
        ModelUsed("nsfw_scores", "open", None, 3),
    ]
    assert {each.archives for each in models_used(folders(store), ["one", "two"])} == {2}


def test_a_table_of_two_models_is_told_and_one_of_each_is_not(store: LocalStore) -> None:
    assert disagreements(models_used(folders(store))) == [
        "anomaly_scores: gmm-1 on clip in 2 archives, knn-2 on clip in 1 archive"
    ]
    assert disagreements(models_used(folders(store), ["one", "two"])) == []


def test_tables_that_were_made_of_another_embedders_vectors_are_told(store: LocalStore) -> None:
    for archive in ("one", "two", "three"):
        put(store, archive, embeddings={"model": "siglip"}, anomaly_scores={"model": "gmm-3", "embedder": "siglip"})
    assert disagreements(models_used(folders(store))) == ["the tables are of vectors of clip and siglip"]


def test_a_table_that_cannot_be_read_is_named(store: LocalStore) -> None:
    store.put_bytes("nsfw_scores/two.parquet", b"cut")
    with pytest.raises(UnreadableFile, match=r"nsfw_scores/two\.parquet cannot be read .*imgmine doctor"):
        models_used(folders(store))


def test_the_warehouse_has_them(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    put_archive(store, "one", [Entry("a"), Entry("b")])
    (scratch := tmp_path / "scratch").mkdir()
    with connect(build_warehouse(store, tmp_path / "mirror", scratch), read_only=True) as warehouse:
        found = warehouse.execute("SELECT of_table, archives FROM models ORDER BY ALL").fetchall()
    assert found == [("anomaly_scores", 1), ("embeddings", 1), ("watermark_scores", 1)]
