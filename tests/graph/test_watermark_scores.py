"""`watermark_scores` in the graph: judged once, decided anew by a threshold, and nothing where it cannot be."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from imgmine.demo.archives import make_archives
from imgmine.demo.exchanges import Kind
from imgmine.models.watermark.cards import SHIPPED_NAME
from imgmine.store.tables import WATERMARK_SCORES, parquet_metadata
from imgmine_assets.partitions import add_archives
from tests.graph.mined import Workplace, published, workplace
from tests.models.small_clip import small_clip
from tests.models.watermark.picture_model import picture_model

NAME = "watermark_scores"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """An archive that was mined as far as its vectors."""
    root = tmp_path_factory.mktemp("archive.org")
    make_archives(root, kinds=[Kind.MAY_3], records=50)
    with workplace(tmp_path_factory.mktemp("home"), root, watermark_model=SHIPPED_NAME) as made:
        add_archives(made.instance, [archive(made)])
        assert run(made, "raw_archives", "unique_files", "images", "embeddings").success
        yield made


def archive(work: Workplace) -> str:
    [item] = work.server.root.glob("*/item.json")
    return item.parent.name


def run(work: Workplace, *assets: str) -> dg.ExecuteInProcessResult:
    return work.defs.resolve_job_def("mine_archive").execute_in_process(
        instance=work.instance,
        partition_key=archive(work),
        asset_selection=[dg.AssetKey(name) for name in assets],
        run_config={"loggers": {"console": {}}},
        raise_on_error=False,
    )


def changed(work: Workplace, **settings: object) -> Workplace:
    return replace(work, settings=replace(work.settings, **settings))  # type: ignore[arg-type]


def path(work: Workplace, table: str = NAME) -> Path:
    return work.store / table / f"{archive(work)}.parquet"


def test_with_another_embedder_nothing_is_made_or_lost(work: Workplace, tmp_path: Path) -> None:
    as_it_was = published(work.store)
    result = run(changed(work, embedder=str(small_clip(tmp_path / "clip"))), NAME)
    assert result.success
    assert not result.get_asset_materialization_events()
    assert published(work.store) == as_it_was


def test_every_image_is_judged_once_and_another_threshold_only_decides_anew(work: Workplace) -> None:
    as_it_was = published(work.store)
    result = run(work, NAME)
    assert result.success
    assert all(each.passed for each in result.get_asset_check_evaluations())
    [event] = result.get_asset_materialization_events()
    sheets = str(event.materialization.metadata["contact sheets"].value)
    assert "data:image/webp" in sheets
    assert "data:image/png" in sheets
    table = pq.read_table(path(work))
    probabilities = table["probability"].to_pylist()
    assert table.schema.names == WATERMARK_SCORES.names
    assert table["blake2b"].equals(pq.read_table(path(work, "embeddings"))["blake2b"])
    assert 0 <= min(probabilities) < max(probabilities) <= 1

    threshold = sorted(probabilities)[len(table) // 2]
    result = run(changed(work, watermark_threshold=threshold), NAME)
    said = [entry.user_message for entry in work.instance.all_logs(result.run_id)]
    assert any("no picture is judged again" in message for message in said)
    again = pq.read_table(path(work))
    assert again["probability"].equals(table["probability"])
    expected = ["watermarked" if each >= threshold else "kept" for each in probabilities]
    assert again["decision"].to_pylist() == expected
    assert {key for key, digest in published(work.store).items() if as_it_was.get(key) != digest} == {
        f"{NAME}/{archive(work)}.parquet"
    }
    assert run(changed(work, watermark_threshold=0.0), NAME).success
    assert set(pq.read_table(path(work))["decision"].to_pylist()) == {"watermarked"}


def test_a_whole_picture_model_judges_in_its_place(work: Workplace, tmp_path: Path) -> None:
    assert run(changed(work, watermark_model=str(picture_model(tmp_path / "red"))), NAME).success
    assert parquet_metadata(path(work).read_bytes())["model"].startswith("red-")
    assert pq.read_table(path(work)).num_rows == pq.read_table(path(work, "embeddings")).num_rows


def test_a_model_that_is_not_there_fails_and_loses_nothing(work: Workplace) -> None:
    as_it_was = published(work.store)
    result = run(changed(work, watermark_model="absent"), NAME)
    assert not result.success
    failures = [event for event in result.all_events if event.is_step_failure or event.is_step_up_for_retry]
    assert any("No watermark classifier 'absent'" in str(event.event_specific_data) for event in failures)
    assert published(work.store) == as_it_was
