"""`anomaly_scores`: how usual each image of an archive is among the reference images."""

import time
from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from imgmine.decisions import SCORE_MEANINGS, ScoreDecision
from imgmine.models import scores as stage
from imgmine.models.anomaly_model import AnomalyModel
from imgmine.models.drift import Drift, measure_drift
from imgmine.models.published_anomaly_model import NoAnomalyModel, current_anomaly_model, require_same_embedder
from imgmine.models.showing import Screen
from imgmine.models.vectors import embedder_of
from imgmine.scratch import scratch_folder
from imgmine.store.base import Store
from imgmine.store.publish import content_digest, fingerprint, read_table
from imgmine_assets import shown
from imgmine_assets.checks import blocking, funnel_problems, result, share_at_most, warning
from imgmine_assets.embeddings import embeddings
from imgmine_assets.failures import explained
from imgmine_assets.gmm_model import gmm_model
from imgmine_assets.judgement import judgement, publish_if_changed
from imgmine_assets.score_sheets import at_thresholds, odd_and_usual
from resources.models import ModelsResource
from resources.store import StoreResource

_NAME = "anomaly_scores"
# A reference of photographs finds the collection's drawings and screenshots odd, which is what it is for. Where nearly
# everything is odd, it is a reference for something else.
_MOST_ANOMALOUS = 0.75


@judgement(
    _NAME,
    deps=[embeddings, gmm_model],
    description=(
        "How usual each image is: its log-likelihood under the mixture, or the score of the detector that "
        "IMGMINE_DETECTOR names, its calibrated percentile, and a decision by percentile. Nothing is made of "
        "it before gmm_model is."
    ),
    code_version=stage.CODE_VERSION,
    check_specs=[
        blocking(_NAME, "every_image_has_a_score", "There is one score for each vector."),
        warning(_NAME, "scores_have_not_drifted", "The scores are spread as those of held-out reference images."),
        warning(_NAME, "reference_suits_the_images", "Not nearly all images are odd by the reference's measure."),
    ],
)
def anomaly_scores(
    context: dg.AssetExecutionContext, store: StoreResource, models: ModelsResource
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    """Score the vectors of one archive."""
    archive = context.partition_key
    started = time.monotonic()
    with explained(), scratch_folder(store.scratch_root, _NAME, archive):
        opened = store.open()
        try:
            model = current_anomaly_model(opened)
        except NoAnomalyModel as missing:
            context.log.info(f"{archive} is not scored: {missing}")
            return
        vectors = read_table(opened, "embeddings", archive)
        require_same_embedder(model, embedder_of(vectors.metadata), archive)
        if model.kind != models.detector:
            context.log.warning(
                f"IMGMINE_DETECTOR is {models.detector}, and the model in use is by {model.kind}, which scores until "
                "another is fitted: launch the job fit_gmm."
            )
        percentile = models.anomaly_percentile
        inputs = fingerprint(
            embeddings=vectors.origin, model=model.version, percentile=percentile, code_version=stage.CODE_VERSION
        )
        about = {"model": model.version, "embedder": model.embedder, "percentile": f"{percentile:g}"}
        as_before = publish_if_changed(
            context,
            opened,
            _NAME,
            inputs,
            stage.CODE_VERSION,
            lambda: (stage.score_archive(vectors.read(), model, percentile), about),
        )
        screen = models.screen()
        yield _result(opened, archive, model, percentile, screen, as_before, time.monotonic() - started)


def _result(
    store: Store,
    archive: str,
    model: AnomalyModel,
    percentile: float,
    screen: Screen,
    as_before: bool,
    seconds: float,
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    published = read_table(store, _NAME, archive)
    table = published.read()
    tables = {name: read_table(store, name, archive).read() for name in ("records", "files", "images", "embeddings")}
    decisions = shown.count_values(table, "decision")
    scores = table["log_likelihood"].to_numpy()
    own_sample = model.report["reference"].get("own_sample", True)
    drift = measure_drift(scores, model.calibration.scores, own_sample=own_sample, fitted=model.training_scores)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_digest(published.digest.encode())),
        metadata={
            "decisions": shown.counts_table(decisions, "decision", SCORE_MEANINGS),
            "contact sheets": shown.page(
                {
                    **_sheets(store, table, tables["images"], screen),
                    "Scores": shown.histogram(scores.tolist(), model.report["score"], "images"),
                    "Percentiles": shown.histogram(
                        table["percentile"].to_pylist(), "percentile of the reference images", "images"
                    ),
                }
            ),
            "anomaly model": f"{model.kind} {model.version}",
            "anomalous below percentile": percentile,
            **shown.publication(store, published, table, as_before, seconds, "images"),
        },
        check_results=[
            result(
                "every_image_has_a_score",
                archive,
                funnel_problems("scores", **tables, scores=table),
                f"{table.num_rows} scores",
            ),
            _drift_result(archive, drift),
            share_at_most(
                "reference_suits_the_images",
                archive,
                decisions[ScoreDecision.ANOMALOUS],
                table.num_rows,
                _MOST_ANOMALOUS,
            ),
        ],
    )


def _drift_result(archive: str, drift: Drift) -> dg.AssetCheckResult:
    side = "more" if drift.more_usual > 0.5 else "less"
    return dg.AssetCheckResult(
        check_name="scores_have_not_drifted",
        passed=not drift.is_clear,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{archive}: {drift.images} images; Kolmogorov-Smirnov distance to held-out reference images "
            f"{drift.distance:.2f}, where more than {drift.allowed:.2g} counts, p = {drift.p_value:.1g}; an image is "
            f"{side} usual than a reference image {max(drift.more_usual, 1 - drift.more_usual):.0%} of the time"
        ),
        metadata={
            "distance": round(drift.distance, 4),
            "allowed distance": drift.allowed,
            "p-value": drift.p_value,
            "more usual than a reference image": round(drift.more_usual, 4),
        },
    )


def _sheets(store: Store, scores: pa.Table, images: pa.Table, screen: Screen) -> dict[str, str]:
    """Contact sheets of the oddest and the most usual images, and of those at each threshold, with percentiles."""
    rows = (scores["blake2b"].to_pylist(), scores["log_likelihood"].to_numpy(), scores["percentile"].to_numpy())
    pages = {**odd_and_usual(*rows), "At each threshold": at_thresholds(*rows)}
    return shown.captioned_sheets(store, images, pages, screen)
