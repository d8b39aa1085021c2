"""What judges images over several archives: drift warns, an archive without images has empty tables, models never mix.

The archives' tables are written as the stages before leave them; nothing is mined.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from imgmine.demo.photographs import reference_photographs
from imgmine.images.previews import preview_jpeg
from imgmine.models.cards import find_model, load_card
from imgmine.models.probe_model import ProbeModel, publish_probes, withdraw_probes
from imgmine.models.watermark.cards import SHIPPED_NAME
from imgmine.scratch import TABLE_STAGES, alone_with
from imgmine.store.local import LocalStore
from imgmine.store.publish import publish
from imgmine.store.tables import IMAGES, Provenance, parquet_metadata
from imgmine_assets.embeddings import embeddings_of
from imgmine_assets.partitions import add_archives
from tests.dataset.small_store import Entry, put_manifest, tables_of
from tests.graph.mined import Workplace, published, stale, workplace
from tests.models.small_clip import small_clip

USUAL, ODD, EMPTY = "usual", "odd", "empty"
BEFORE = ("raw_archives", "unique_files", "images")
JUDGED = {"embeddings", "anomaly_scores", "categories"}


def photographs() -> list[bytes]:
    """Small previews of 100 photographs, some of them mirrored."""
    found = []
    for path in reference_photographs():
        with Image.open(path) as picture:
            picture.draft("RGB", (224, 224))
            found.append(picture.convert("RGB"))
    found += [ImageOps.mirror(picture) for picture in found[: 100 - len(found)]]
    return [preview_jpeg(picture) for picture in found]


def noise(count: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    return [preview_jpeg(Image.fromarray(rng.integers(0, 256, (224, 224, 3), np.uint8))) for _ in range(count)]


def put_images(work: Workplace, archive: str, previews: Sequence[bytes]) -> None:
    """Publish what `images` and the assets before it leave of an archive with these previews."""
    store = LocalStore(work.store)
    tables = tables_of(archive, [Entry(f"{archive} {number}") for number in range(len(previews))])
    rows, shard = tables["images"].to_pylist(), io.BytesIO()
    for row, preview in zip(rows, previews, strict=True):
        row |= {"preview_offset": shard.tell(), "preview_size": len(preview)}
        with Image.open(io.BytesIO(preview)) as picture:
            row |= {"width": picture.width, "height": picture.height}
        shard.write(preview)
    if rows:
        store.put_bytes(rows[0]["preview_shard"], shard.getvalue())
    put_manifest(store, archive, None)
    made = {**{name: tables[name] for name in ("records", "files")}, "images": pa.Table.from_pylist(rows, IMAGES)}
    publish(store, archive, made, Provenance("test", "1", "0"))
    add_archives(work.instance, [archive])
    for asset in BEFORE:
        work.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=archive))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """An archive of photographs, which the detector was fitted to, one of noise, and one without any image."""
    served = tmp_path_factory.mktemp("archive.org")
    with workplace(tmp_path_factory.mktemp("home"), served, detector="knn", show_nsfw=True) as made:
        put_images(made, USUAL, photographs())
        assert run(made, USUAL, "embeddings").success
        assert made.run("fit_gmm").succeeded
        assert run(made, USUAL, "anomaly_scores", "categories").success
        put_images(made, ODD, noise(15))
        put_images(made, EMPTY, [])
        assert run(made, ODD, "embeddings").success
        yield made


def run(work: Workplace, archive: str, *assets: str) -> dg.ExecuteInProcessResult:
    return work.defs.resolve_job_def("mine_archive").execute_in_process(
        instance=work.instance,
        partition_key=archive,
        asset_selection=[dg.AssetKey(name) for name in assets],
        run_config={"loggers": {"console": {}}},
        raise_on_error=False,
    )


def why(result: dg.ExecuteInProcessResult) -> str:
    """The failures of a run's steps; none of them is tried again, since another model stays another."""
    assert not any(event.is_step_up_for_retry for event in result.all_events)
    found = [event for event in result.all_events if event.is_step_failure]
    return " ".join(str(event.event_specific_data) for event in found)


def table(work: Workplace, name: str, archive: str) -> Path:
    return work.store / name / f"{archive}.parquet"


def model_of(work: Workplace, name: str, archive: str) -> str:
    return parquet_metadata(table(work, name, archive).read_bytes())["model"]


def outdated(work: Workplace, archive: str) -> set[str]:
    return stale(work, archive) & JUDGED


def drift(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    [check] = [each for each in result.get_asset_check_evaluations() if each.check_name == "scores_have_not_drifted"]
    return check


def test_the_archive_that_the_detector_was_fitted_to_has_not_drifted(work: Workplace) -> None:
    check = drift(run(work, USUAL, "anomaly_scores"))
    assert check.passed, check.description


def test_a_detector_that_is_set_but_not_fitted_is_told(work: Workplace) -> None:
    result = run(replace(work, settings=replace(work.settings, detector="gmm")), USUAL, "anomaly_scores")
    assert result.success
    told = [entry.user_message for entry in work.instance.all_logs(result.run_id)]
    assert any("IMGMINE_DETECTOR is gmm, and the model in use is by knn" in message for message in told)


def test_an_archive_of_another_kind_warns_of_drift_and_fails_nothing(work: Workplace) -> None:
    result = run(work, ODD, "anomaly_scores", "categories")
    assert result.success, why(result)
    check = drift(result)
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert str(check.description).startswith(f"{ODD}: 15 images; ")
    assert check.metadata["distance"].value == 1


def test_an_archive_without_images_has_empty_tables_and_passes_every_check(work: Workplace) -> None:
    card = load_card(find_model(work.settings.embedder))
    store = LocalStore(work.store)
    weights = np.zeros((1, card.dimension))
    publish_probes(store, ProbeModel(card.version, ("good",), weights, np.zeros(1), {"labels": {}}), {})
    try:
        names = [each.removesuffix("_scores") + "_scores" for each in ("anomaly", "nsfw", "watermark", "probe")]
        judging = replace(work, settings=replace(work.settings, watermark_model=SHIPPED_NAME))
        result = run(judging, EMPTY, "embeddings", *names, "categories")
    finally:
        withdraw_probes(store)
    assert result.success, why(result)
    assert all(check.passed for check in result.get_asset_check_evaluations())
    for name in ("embeddings", *names, "categories"):
        assert pq.read_table(table(work, name, EMPTY)).num_rows == 0
        assert pq.read_schema(table(work, name, EMPTY)).field("blake2b").nullable is False


def test_nothing_is_read_or_judged_while_files_are_taken_out_of_the_archive(work: Workplace) -> None:
    archive = "absent"  # so what reads before it holds the lock finds nothing
    add_archives(work.instance, [archive])
    judging = ["anomaly_scores", "categories", "nsfw_scores", "probe_scores", "watermark_scores"]
    with alone_with(work.settings.scratch, TABLE_STAGES, archive):
        for stages in (["images"], judging):
            result = run(work, archive, *stages)
            failures = {event.step_key: event for event in result.all_events if event.is_step_failure}
            assert sorted(failures) == stages
            for failure in failures.values():
                assert "is being made by another run" in str(failure.event_specific_data)


def test_after_another_model_vectors_never_mix_and_each_archive_is_stale_until_it_is_made_again(
    work: Workplace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clip = small_clip(tmp_path_factory.mktemp("clip"))
    former, version = load_card(find_model(work.settings.embedder)).version, load_card(clip).version
    assert (outdated(work, USUAL), outdated(work, ODD)) == (set(), set())
    after = replace(work, settings=replace(work.settings, embedder=str(clip)))
    assert (outdated(after, USUAL), outdated(after, ODD)) == ({"embeddings"}, {"embeddings"})

    # One archive has the new model's vectors: what was fitted to the former's refuses them, and nothing is lost.
    as_it_was = published(after.store)
    assert run(after, USUAL, "embeddings").success
    changed = {key for key, digest in published(after.store).items() if as_it_was.get(key) != digest}
    assert changed == {f"embeddings/{USUAL}.parquet"}
    assert pq.read_schema(table(after, "embeddings", USUAL)).field("embedding").type.list_size == 512
    assert (outdated(after, USUAL), outdated(after, ODD)) == ({"anomaly_scores", "categories"}, {"embeddings"})
    as_it_was = published(after.store)
    refused = run(after, USUAL, "anomaly_scores")
    assert not refused.success
    assert version in why(refused)
    assert former in why(refused)
    assert published(after.store) == as_it_was

    # The new fit draws on new vectors alone, and the former's are now the ones that are refused.
    assert after.run("fit_gmm").succeeded
    assert run(after, USUAL, "anomaly_scores").success
    assert (outdated(after, USUAL), outdated(after, ODD)) == ({"categories"}, {"embeddings", "anomaly_scores"})
    as_it_was = published(after.store)
    refused = run(after, ODD, "anomaly_scores")
    assert not refused.success
    assert former in why(refused)
    assert published(after.store) == as_it_was

    result = run(after, ODD, "embeddings", "anomaly_scores")
    assert result.success, why(result)
    assert outdated(after, ODD) == {"categories"}
    assert {model_of(after, "embeddings", archive) for archive in (USUAL, ODD)} == {version}
    assert model_of(after, "anomaly_scores", USUAL) == model_of(after, "anomaly_scores", ODD)


def test_the_code_version_is_the_models_and_a_missing_model_is_told_later(tmp_path: Path) -> None:
    clip = small_clip(tmp_path / "clip")
    versions = {model: set(embeddings_of(model, tmp_path).code_versions_by_key.values()) for model in ("x", str(clip))}
    assert versions[str(clip)] == {f"2 {load_card(clip).version}"}
    assert versions["x"] == {"2 x"}
