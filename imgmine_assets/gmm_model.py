"""`gmm_model`: the mixture that says how usual an image is, fitted to the reference images, with its card."""

import time
from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from imgmine.models import gmm_fit
from imgmine.models.gmm import GmmModel
from imgmine.models.gmm_card import CHOICE_PLOT, SCORES_PLOT, TEXT, gmm_card
from imgmine.models.published_gmm import NoMixture, current_gmm, publish_gmm, version_folder
from imgmine.models.reference import Reference, chosen_archives, reference_from_folder, sample_embeddings
from imgmine.store.base import Store
from imgmine.store.publish import fingerprint, read_table
from imgmine_assets import shown
from imgmine_assets.embeddings import embeddings
from imgmine_assets.failures import PASSING, explained
from resources.decoders import DecodersResource
from resources.models import ModelsResource
from resources.store import StoreResource


class GmmConfig(dg.Config):
    """What a person may set when they materialize it."""

    seed: int = 0


@dg.asset(
    deps=[embeddings],
    group_name="models",
    kinds={"scikit-learn"},
    owners=["team:imgmine"],
    retry_policy=PASSING,
    code_version=gmm_fit.CODE_VERSION,
)
def gmm_model(
    context: dg.AssetExecutionContext,
    config: GmmConfig,
    store: StoreResource,
    models: ModelsResource,
    decoders: DecodersResource,
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """A Gaussian mixture over the reference images' vectors, chosen by BIC and held-out likelihood, and calibrated.

    The reference is the folder IMGMINE_REFERENCE, or else a seeded sample of the dataset's own images.
    """
    started = time.monotonic()
    with explained():
        opened = store.open()
        embedder = models.load_embedder()
        if models.reference_folder is not None:
            with decoders.start() as pool:
                reference = reference_from_folder(models.reference_folder, embedder, pool, seed=config.seed)
        else:
            reference = sample_embeddings(_tables(opened, embedder.version, config.seed), seed=config.seed)
        context.log.info(f"{len(reference.keys)} reference images, from {reference.source}")
        settings = gmm_fit.FitSettings(seed=config.seed, percentile=models.anomaly_percentile)
        inputs = fingerprint(
            reference=reference.digest, embedder=embedder.version, settings=settings, code_version=gmm_fit.CODE_VERSION
        )
        model = _fitted_before(opened, inputs)
        as_before = model is not None
        if model is None:
            model = gmm_fit.fit_gmm(
                reference.vectors, embedder.version, settings, {**reference.about(), "inputs": inputs}
            )
        card = gmm_card(model, models.anomaly_percentile)
        if not as_before:
            publish_gmm(opened, model, card)
    return _result(opened, model, card, reference, as_before, time.monotonic() - started)


def _tables(store: Store, embedder: str, seed: int) -> Iterator[pa.Table]:
    """The embeddings of the archives that the sample is drawn from, as far as they are of this embedder."""
    names = (found.key for found in store.list("embeddings/"))
    archives = [name.removeprefix("embeddings/").removesuffix(".parquet") for name in names]
    for archive in chosen_archives(archives, seed):
        table = read_table(store, "embeddings", archive)
        if table.metadata["model"] == embedder:
            yield table.read()


def _fitted_before(store: Store, inputs: str) -> GmmModel | None:
    try:
        model = current_gmm(store)
    except NoMixture:
        return None
    return model if model.report["reference"].get("inputs") == inputs else None


def _result(
    store: Store, model: GmmModel, card: dict[str, bytes], reference: Reference, as_before: bool, seconds: float
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    chosen = model.report["chosen"]
    folder = version_folder(model.version)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(model.version),
        metadata={
            "card": dg.MetadataValue.md(_self_contained(card)),
            "reference": reference.source,
            "reference images": len(reference.keys),
            "components": chosen["components"],
            "warnings": dg.MetadataValue.md("\n".join(f"- {text}" for text in model.report["warnings"]) or "none"),
            "unchanged": as_before,
            "seconds": round(seconds, 2),
            "in the store": shown.links(store, [f"{folder}/{name}" for name in (*card, *model.files())]),
            "dagster/uri": store.uri(folder),
        },
    )


def _self_contained(card: dict[str, bytes]) -> str:
    """Return the card's text with its pictures in it: their files are in the store, which the UI does not read."""
    text = card[TEXT].decode()
    for name in (CHOICE_PLOT, SCORES_PLOT):
        text = text.replace(f"({name})", f"({shown.data_uri(card[name], 'image/png')})")
    return text
