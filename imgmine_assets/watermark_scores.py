"""`watermark_scores`: how probable a watermark is on each image of an archive. It flags; it drops none."""

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from imgmine.cores import usable_cores
from imgmine.decisions import WATERMARK_MEANINGS, WatermarkDecision
from imgmine.models.cards import CARD_FILE, ModelError
from imgmine.models.kept_pictures import Originals
from imgmine.models.showing import Screen
from imgmine.models.vectors import embedder_of
from imgmine.models.watermark import scores as stage
from imgmine.models.watermark.cards import find_classifier, read_classifier_card
from imgmine.models.watermark.classifier import OtherEmbedder, judge_archive, require_vectors
from imgmine.scratch import scratch_folder
from imgmine.store.base import Store
from imgmine.store.publish import content_digest, fingerprint, published_with, read_table
from imgmine_assets import shown
from imgmine_assets.checks import blocking, judgement_problems, result
from imgmine_assets.embeddings import embeddings
from imgmine_assets.failures import explained
from imgmine_assets.images import images
from imgmine_assets.judgement import Made, judgement, publish_if_changed, with_code_version
from imgmine_assets.progress import log_progress
from imgmine_assets.score_sheets import just_above, likeliest
from imgmine_assets.shard_access import shard_reader
from resources.models import ModelsResource
from resources.store import StoreResource

_NAME = "watermark_scores"
_THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)


@judgement(
    _NAME,
    deps=[images, embeddings],
    description=(
        "How probable a watermark is on each image, by a classifier of its vector and those of its quadrants, "
        "or the one that IMGMINE_WATERMARK_MODEL names. It flags images; it drops none."
    ),
    code_version=stage.CODE_VERSION,
    check_specs=[
        blocking(_NAME, "every_image_has_a_watermark_score", "There is one score for each vector."),
        blocking(_NAME, "watermark_scores_are_of_the_embedder", "The vectors that were judged are the embedder's."),
    ],
    kinds=("onnx", "parquet"),
)
def watermark_scores(
    context: dg.AssetExecutionContext, store: StoreResource, models: ModelsResource
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    """Judge the pictures of one archive."""
    archive = context.partition_key
    started = time.monotonic()
    with explained(), scratch_folder(store.scratch_root, _NAME, archive) as scratch:
        opened = store.open()
        vectors = read_table(opened, "embeddings", archive)
        try:
            classifier = models.load_watermark()
            if classifier is None:
                context.log.info(f"{archive} is not judged: IMGMINE_WATERMARK_MODEL is none")
                return
            require_vectors(classifier, embedder_of(vectors.metadata), archive)
        except OtherEmbedder as other:
            context.log.info(f"{archive} is not judged: {other}")
            return
        gated = read_table(opened, "images", archive)
        chosen = models.watermark_threshold
        threshold = classifier.card.threshold if chosen is None else chosen
        version = classifier.card.version
        # In the table's metadata: what the probabilities depend on, which the threshold is no part of.
        judged = fingerprint(
            images=gated.origin, embeddings=vectors.origin, model=version, code_version=stage.CODE_VERSION
        )
        inputs = fingerprint(judged=judged, threshold=threshold)

        def judge() -> Made:
            table = published_with(opened, _NAME, archive, judged=judged)
            if table is None:
                with shard_reader(opened, scratch) as read:
                    probabilities = judge_archive(
                        archive,
                        gated.read(),
                        vectors.read(),
                        read,
                        classifier,
                        originals=Originals(read_table(opened, "files", archive).read(), read),
                        threads=usable_cores(),
                        progress=log_progress(context.log, "judge", unit="images"),
                    )
                table = stage.decided(vectors.read()["blake2b"], probabilities, threshold)
            else:
                context.log.info(f"{archive}: another threshold; no picture is judged again")
                table = stage.decided_again(table, threshold)
            return table, {
                "model": version,
                "embedder": embedder_of(vectors.metadata),
                "threshold": f"{threshold:g}",
                "judged": judged,
            }

        as_before = publish_if_changed(context, opened, _NAME, inputs, stage.CODE_VERSION, judge)
        yield _result(opened, archive, models.screen(), as_before, time.monotonic() - started)


def watermark_scores_of(model: str, folder: Path) -> dg.AssetsDefinition:
    """Return the asset with the classifier's version in its code version: another one makes its partitions stale.

    `folder` has the models that were added. A classifier that is not there is told when it is to run, not here.
    """
    try:
        version = read_classifier_card(find_classifier(model, folder) / CARD_FILE).version
    except ModelError:
        version = model
    return with_code_version(watermark_scores, f"{stage.CODE_VERSION} {version}")


def _result(store: Store, archive: str, screen: Screen, as_before: bool, seconds: float) -> dg.MaterializeResult:  # type: ignore[type-arg]
    published = read_table(store, _NAME, archive)
    table = published.read()
    gated = read_table(store, "images", archive).read()
    vectors = read_table(store, "embeddings", archive)
    rows = (table["blake2b"].to_pylist(), table["probability"].to_numpy())
    sheets = {"The likeliest": likeliest(*rows), "At each threshold": just_above(*rows, _THRESHOLDS)}
    embedder, judged = embedder_of(vectors.metadata), published.metadata["embedder"]
    mixed = [] if judged == embedder else [f"judged were vectors of {judged}; those published are of {embedder}"]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_digest(published.digest.encode())),
        metadata={
            "decisions": shown.counts_table(shown.count_values(table, "decision"), "decision", WATERMARK_MEANINGS),
            "contact sheets": shown.page(
                {
                    **shown.captioned_sheets(store, gated, sheets, screen),
                    "Probabilities": shown.histogram(rows[1].tolist(), "probability of a watermark", "images"),
                }
            ),
            "model": published.metadata["model"],
            "watermarked from": float(published.metadata["threshold"]),
            **shown.publication(store, published, table, as_before, seconds, "images"),
        },
        check_results=[
            result(
                "every_image_has_a_watermark_score",
                archive,
                judgement_problems(_NAME, table, vectors.read(), WatermarkDecision),
                f"{table.num_rows} scores",
            ),
            result("watermark_scores_are_of_the_embedder", archive, mixed, f"{table.num_rows} scores by {judged}"),
        ],
    )
