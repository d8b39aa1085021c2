"""Another embedding model: exactly what lies downstream is stale, and only that is made again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from imgmine.demo.archives import make_archives
from imgmine.demo.exchanges import Kind
from imgmine.models.cards import load_card
from imgmine.store.tables import parquet_metadata
from imgmine_assets.embeddings import embeddings_of
from tests.graph.mined import Workplace, published, workplace
from tests.models.small_clip import small_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    [made] = make_archives(tmp_path_factory.mktemp("archive.org"), kinds=[Kind.MAY_15], records=40)
    return made.folder


@pytest.fixture(scope="module")
def mined_once(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    with workplace(tmp_path_factory.mktemp("once"), archive.parent) as work:
        [outcome] = work.mine([archive.name])
        assert outcome.succeeded, outcome
        yield work


def stale(work: Workplace, archive: str) -> set[str]:
    """The assets whose partition of this archive the UI shows as made, but not up to date."""
    graph = work.defs.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(work.instance, graph, LoadingContextForTest(work.instance))
    keys = [key for key in graph.materializable_asset_keys if graph.get(key).is_partitioned]
    return {key.to_user_string() for key in keys if resolver.get_status(key, archive).value == "STALE"}


def test_another_model_makes_the_vectors_stale_and_nothing_before_them(
    mined_once: Workplace, archive: Path, clip: Path
) -> None:
    assert stale(mined_once, archive.name) == set()
    after = replace(mined_once, settings=replace(mined_once.settings, embedder=str(clip)))
    assert stale(after, archive.name) == {"embeddings"}
    as_it_was = published(after.store)
    [outcome] = after.mine([archive.name])
    assert outcome.succeeded, outcome
    changed = {key for key, digest in published(after.store).items() if as_it_was.get(key) != digest}
    assert changed == {f"embeddings/{archive.name}.parquet"}
    table = after.store / f"embeddings/{archive.name}.parquet"
    assert parquet_metadata(table.read_bytes())["model"] == load_card(clip).version
    assert pq.read_schema(table).field("embedding").type.list_size == 512
    # It can tell no categories: those by the former model stay, and show as out of date.
    assert stale(after, archive.name) == {"categories"}


def test_the_code_version_is_the_models_and_a_missing_model_is_told_later(clip: Path, tmp_path: Path) -> None:
    versions = {model: set(embeddings_of(model, tmp_path).code_versions_by_key.values()) for model in ("x", str(clip))}
    assert versions[str(clip)] == {f"2 {load_card(clip).version}"}
    assert versions["x"] == {"2 x"}
