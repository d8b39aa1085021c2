"""`gmm_model`: what says how usual an image is, fitted to the reference images, with its card.

It is a Gaussian mixture, or the detector that IMGMINE_DETECTOR names; how it is fitted is in `anomaly_fit`.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import dagster as dg

from imgmine.dataset.takedown.listings import listed
from imgmine.images.decoder_pool import DecoderPool, PictureRequest
from imgmine.images.samples import Sample, captioned_samples
from imgmine.models import anomaly_fit
from imgmine.models.alike import group_strangers
from imgmine.models.anomaly_card import TEXT, anomaly_card
from imgmine.models.anomaly_model import AnomalyModel, AnomalyModelError
from imgmine.models.published_anomaly_model import (
    NoAnomalyModel,
    OtherEmbedder,
    current_anomaly_model,
    publish_anomaly_model,
    version_folder,
)
from imgmine.models.reference import Reference, chosen_archives, reference_from_folder, sample_embeddings
from imgmine.models.showing import Screen
from imgmine.models.vectors import embedder_of
from imgmine.store.base import Store
from imgmine.store.object_file import open_parquet
from imgmine.store.publish import fingerprint, read_table
from imgmine.store.tables import key_values, table_key
from imgmine_assets import shown
from imgmine_assets.checks import warning
from imgmine_assets.embeddings import embeddings
from imgmine_assets.failures import PASSING, explained
from imgmine_assets.judgement import with_code_version
from imgmine_assets.score_sheets import Captions, odd_and_usual
from resources.decoders import DecodersResource
from resources.models import ModelsResource
from resources.store import StoreResource

# No smaller: what is safe to show is told from it.
_THUMBNAIL = 256


class GmmConfig(dg.Config):
    """What a person may set when they materialize it."""

    seed: int = 0


@dg.asset(
    deps=[embeddings],
    group_name="models",
    kinds={"scikit-learn"},
    owners=["team:imgmine"],
    retry_policy=PASSING,
    code_version=anomaly_fit.CODE_VERSION,
    check_specs=[
        warning("gmm_model", "not_overfitted", "Images of the fit score as held-out ones do."),
        warning("gmm_model", "every_reference_picture_is_used", "No picture of the reference folder was left out."),
    ],
)
def gmm_model(
    context: dg.AssetExecutionContext,
    config: GmmConfig,
    store: StoreResource,
    models: ModelsResource,
    decoders: DecodersResource,
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """A Gaussian mixture over the reference images' vectors, chosen by BIC and held-out likelihood, and calibrated.

    IMGMINE_DETECTOR may name another detector. The reference is the folder IMGMINE_REFERENCE, or else a seeded sample
    of the dataset's own images.
    """
    started = time.monotonic()
    with explained(), contextlib.ExitStack() as exits:
        opened = store.open()
        embedder = models.load_embedder()
        archives: Sequence[str] = ()
        pool = exits.enter_context(decoders.start()) if models.reference_folder is not None else None
        if models.reference_folder is not None and pool is not None:
            reference = reference_from_folder(models.reference_folder, embedder, pool, seed=config.seed)
        else:
            archives = _archives_of(opened, embedder.version, config.seed)
            tables = (read_table(opened, "embeddings", archive).read() for archive in archives)
            reference = sample_embeddings(tables, seed=config.seed)
        context.log.info(f"{len(reference.keys)} reference images, from {reference.source}")
        settings = anomaly_fit.FitSettings(
            seed=config.seed, detector=models.detector, percentile=models.anomaly_percentile
        )
        inputs = fingerprint(
            reference=reference.digest,
            embedder=embedder.version,
            settings=settings,
            code_version=anomaly_fit.CODE_VERSION,
        )
        model = _fitted_before(context, opened, inputs)
        as_before = model is not None
        if model is None:
            groups, alike = group_strangers(reference.vectors)
            about = {**reference.about(), "inputs": inputs, "groups": len(set(groups.tolist())), "alike_from": alike}
            model = anomaly_fit.fit_anomaly_model(reference.vectors, embedder.version, settings, about, groups)
        card = anomaly_card(model, models.anomaly_percentile)
        if not as_before:
            publish_anomaly_model(opened, model, card)
        sheets = _sheets(opened, model, reference, pool, archives, models.screen())
    return _result(opened, model, card, sheets, reference, as_before, time.monotonic() - started)


def gmm_model_of(detector: str) -> dg.AssetsDefinition:
    """Return the asset with the detector in its code version: with another it is stale, and what it scored."""
    return with_code_version(gmm_model, f"{anomaly_fit.CODE_VERSION} {detector}")


def _archives_of(store: Store, embedder: str, seed: int) -> Sequence[str]:
    """The archives that the sample is drawn from: of those whose vectors are of this embedder.

    Raises `OtherEmbedder` where there are vectors, but all of other models.
    """
    others: Counter[str] = Counter()

    def serves(archive: str) -> bool:
        # The end of the file alone says it: with all archives of another model, the tables would be tens of gigabytes.
        with open_parquet(store, table_key("embeddings", archive)) as table:
            found = embedder_of(key_values(table.metadata))
        if found != embedder:
            others[found] += 1
        return found == embedder

    names = (found.key.removeprefix("embeddings/").removesuffix(".parquet") for found in store.list("embeddings/"))
    archives = chosen_archives(names, seed, serves=serves)
    if others and not archives:
        listed_others = ", ".join(f"{count} of {model}" for model, count in sorted(others.items()))
        raise OtherEmbedder(
            f"No archive has vectors of the embedder in use, {embedder}: {listed_others}. Materialize embeddings "
            "again, or set IMGMINE_EMBEDDER to the model that made them."
        )
    return archives


def _fitted_before(context: dg.AssetExecutionContext, store: Store, inputs: str) -> AnomalyModel | None:
    """The model in use where it was fitted to the same; one that cannot be read is fitted anew."""
    try:
        model = current_anomaly_model(store)
    except NoAnomalyModel:
        return None
    except AnomalyModelError as unreadable:
        context.log.warning(f"The model in use is fitted anew: {unreadable}")
        return None
    return model if model.report["reference"].get("inputs") == inputs else None


def _result(
    store: Store,
    model: AnomalyModel,
    card: dict[str, bytes],
    sheets: dict[str, str],
    reference: Reference,
    as_before: bool,
    seconds: float,
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    folder = version_folder(model.version)
    chosen = {"components": model.report["chosen"]["components"]} if "chosen" in model.report else {}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(model.version),
        metadata={
            "card": shown.card(card, TEXT),
            "reference pictures": shown.page(sheets),
            "detector": model.kind,
            "reference": reference.source,
            "reference images": len(reference.keys),
            "pictures left out": len(reference.rejected),
            **chosen,
            "warnings": dg.MetadataValue.md("\n".join(f"- {text}" for text in model.report["warnings"]) or "none"),
            "unchanged": as_before,
            "seconds": round(seconds, 2),
            "in the store": shown.links(store, [f"{folder}/{name}" for name in (*card, *model.files())]),
            "dagster/uri": store.uri(folder),
        },
        check_results=list(_checks(model, reference)),
    )


def _checks(model: AnomalyModel, reference: Reference) -> Iterator[dg.AssetCheckResult]:
    overfit = model.report["overfit"]
    yield dg.AssetCheckResult(
        check_name="not_overfitted",
        passed=not overfit["clear"],
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"an image of the fit scores higher than a held-out one {overfit['share']:.0%} ± "
            f"{2 * overfit['share_error']:.0%} of the time, where 50% would be none"
        ),
        metadata={"share": round(overfit["share"], 4), "difference of the mean scores": overfit["gap"]},
    )
    left_out = reference.about()["rejected_files"]
    problems = {"left out": shown.rows_table({"picture": "string"}, [[text] for text in left_out])} if left_out else {}
    yield dg.AssetCheckResult(
        check_name="every_reference_picture_is_used",
        passed=not reference.rejected,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(reference.keys)} pictures used, {len(reference.rejected)} did not pass the gate",
        metadata=problems,
    )


def _sheets(
    store: Store,
    model: AnomalyModel,
    reference: Reference,
    pool: DecoderPool | None,
    archives: Sequence[str],
    screen: Screen,
) -> dict[str, str]:
    """The reference's own oddest and most usual pictures: whether what is in it belongs there."""
    scores = model.score(reference.vectors)
    pages = odd_and_usual(reference.keys, scores, model.percentile(scores))
    captions = {key: caption for page in pages.values() for key, caption in page.items()}
    pictures = _folder_pictures(reference, captions, pool) if pool else _stored_pictures(store, captions, archives)
    return {
        heading: shown.sheet([pictures[key] for key in page if key in pictures], "pictures", screen)
        for heading, page in pages.items()
    }


def _folder_pictures(reference: Reference, captions: Captions, pool: DecoderPool) -> dict[bytes, Sample]:
    path_of = dict(zip(reference.keys, reference.paths, strict=True))
    requests = [PictureRequest(path_of[key], 0, path_of[key].stat().st_size) for key in captions]
    thumbnails = pool.thumbnails(requests, _THUMBNAIL)
    return {key: (thumbnail, caption) for (key, caption), thumbnail in zip(captions.items(), thumbnails, strict=True)}


def _stored_pictures(store: Store, captions: Captions, archives: Sequence[str]) -> dict[bytes, Sample]:
    """The previews of a sample's images, from the archives that it was drawn from."""
    found: dict[bytes, Sample] = {}
    for archive in archives:
        wanted = {key: caption for key, caption in captions.items() if key not in found}
        if not wanted:
            break
        images = listed(store, read_table(store, "images", archive).read())
        here = {key: wanted[key] for key in images["blake2b"].to_pylist() if key in wanted}
        found |= dict(zip(here, captioned_samples(images, here, store.get_range), strict=True))
    return found
