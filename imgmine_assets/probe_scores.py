"""`probe_scores`: for each image of an archive, how likely each label applies, by the probes."""

import time
from collections.abc import Iterator

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from imgmine.decisions import PROBE_MEANINGS, ProbeDecision
from imgmine.models import probe_model as stage
from imgmine.models.probe_model import NoProbes, ProbeModel
from imgmine.models.showing import Screen
from imgmine.models.vectors import embedder_of, require_embedder
from imgmine.scratch import scratch_folder
from imgmine.store.base import Store
from imgmine.store.publish import content_digest, fingerprint, read_table
from imgmine_assets import shown
from imgmine_assets.checks import blocking, judgement_problems, result
from imgmine_assets.embeddings import embeddings
from imgmine_assets.failures import explained
from imgmine_assets.judgement import judgement, publish_if_changed
from imgmine_assets.probe_model import probe_model
from imgmine_assets.score_sheets import likeliest
from resources.models import ModelsResource
from resources.store import StoreResource

_NAME = "probe_scores"


@judgement(
    _NAME,
    deps=[embeddings, probe_model],
    description="How likely each label applies to each image. Nothing is made of it before probe_model is.",
    code_version=stage.CODE_VERSION,
    check_specs=[blocking(_NAME, "every_image_has_its_labels", "There is one row for each vector and label.")],
)
def probe_scores(
    context: dg.AssetExecutionContext, store: StoreResource, models: ModelsResource
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    """Score the vectors of one archive."""
    archive = context.partition_key
    started = time.monotonic()
    with explained(), scratch_folder(store.scratch_root, _NAME, archive):
        opened = store.open()
        try:
            model = stage.current_probes(opened)
        except NoProbes as missing:
            context.log.info(f"{archive} is not scored: {missing}")
            return
        vectors = read_table(opened, "embeddings", archive)
        require_embedder(embedder_of(vectors.metadata), model.embedder, archive, "probe_model")
        inputs = fingerprint(embeddings=vectors.origin, model=model.version, code_version=stage.CODE_VERSION)
        about = {"model": model.version, "embedder": model.embedder}
        as_before = publish_if_changed(
            context,
            opened,
            _NAME,
            inputs,
            stage.CODE_VERSION,
            lambda: (stage.score_archive(vectors.read(), model), about),
        )
        yield _result(opened, archive, model, models.screen(), as_before, time.monotonic() - started)


def _result(
    store: Store, archive: str, model: ProbeModel, screen: Screen, as_before: bool, seconds: float
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    published = read_table(store, _NAME, archive)
    table = published.read()
    images, vectors = (read_table(store, name, archive).read() for name in ("images", "embeddings"))
    parts = {label: table.filter(pc.equal(table["label"], label)) for label in model.labels}
    problems = [
        f"{label}: {problem}"
        for label, part in parts.items()
        for problem in judgement_problems(_NAME, part, vectors, ProbeDecision)
    ]
    pages = {
        label: likeliest(part["blake2b"].to_pylist(), part["probability"].to_numpy()) for label, part in parts.items()
    }
    sheets = shown.captioned_sheets(store, images, pages, screen)
    sections = {label: f"{sheets[label]}\n\n{_histogram(label, part)}" for label, part in parts.items()}
    decisions = {
        f"{label}: {decision}": count
        for label, part in parts.items()
        for decision, count in shown.count_values(part, "decision").items()
    }
    meanings = {f"{label}: {decision}": PROBE_MEANINGS[decision] for label in parts for decision in ProbeDecision}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_digest(published.digest.encode())),
        metadata={
            "decisions": shown.counts_table(decisions, "decision", meanings),
            "contact sheets": shown.page(sections),
            "probes": model.version,
            **shown.publication(store, published, table, as_before, seconds, "rows"),
        },
        check_results=[result("every_image_has_its_labels", archive, problems, f"{table.num_rows} rows")],
    )


def _histogram(label: str, part: pa.Table) -> str:
    return shown.histogram(part["probability"].to_pylist(), f"probability of {label}", "images")
