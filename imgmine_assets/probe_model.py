"""`probe_model`: logistic regression on what people labelled, with its cross-validated card."""

import time
from collections.abc import Iterator

import dagster as dg

from imgmine.dataset.labelled import labelled_vectors
from imgmine.dataset.labels import read_labels
from imgmine.models import probe_model as stage
from imgmine.models.category_list import read_categories
from imgmine.models.probe_card import TEXT, probe_card
from imgmine.models.probe_model import NoProbes, ProbeModel, ProbeModelError
from imgmine.scratch import scratch_folder
from imgmine.store.base import Store
from imgmine.store.publish import fingerprint
from imgmine_assets import shown
from imgmine_assets.embeddings import embeddings
from imgmine_assets.failures import PASSING, explained
from imgmine_assets.labels import labels
from resources.models import ModelsResource
from resources.store import StoreResource
from resources.warehouse import WarehouseResource

_NAME = "probe_model"
_MOST_NAMED = 3


# Where labels are too few nothing is materialized; see `anomaly_scores` for why it is no `dg.asset`.
@dg.multi_asset(
    name=_NAME,
    specs=[
        dg.AssetSpec(
            _NAME,
            deps=[labels, embeddings],
            skippable=True,
            description=(
                "For each label that enough pictures have, a logistic regression on their vectors, with its "
                "cross-validated AUROC. Where all labels are too few, it says so and nothing is made."
            ),
            group_name="models",
            kinds={"scikit-learn"},
            owners=["team:imgmine"],
            code_version=stage.CODE_VERSION,
        )
    ],
    can_subset=True,
    retry_policy=PASSING,
)
def probe_model(
    context: dg.AssetExecutionContext, store: StoreResource, models: ModelsResource, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    """Fit the probes."""
    started = time.monotonic()
    with explained(), scratch_folder(store.scratch_root, _NAME, "all") as scratch:
        opened = store.open()
        log = read_labels(opened, warehouse.mirror_folder)
        embedder = models.load_card().version
        names = read_categories(models.category_file).names
        found = labelled_vectors(opened, scratch, log, embedder, names)
        inputs = fingerprint(
            labels=log.digest,
            pictures={label: labelled.digest for label, labelled in sorted(found.labelled.items())},
            embedder=embedder,
            exclusive=names,
            code_version=stage.CODE_VERSION,
        )
        model = _fitted_before(context, opened, inputs)
        as_before = model is not None
        if model is None:
            model = stage.fit_probes(found.labelled, embedder, {"inputs": inputs})
        if found.missing:
            some = ", ".join(digest.hex() for digest in sorted(found.missing)[:_MOST_NAMED])
            context.log.warning(f"{stage.without_vectors(model)} Of {len(found.missing)}, the first: {some}.")
        if not model.labels:
            stage.require_vectors(model, found.others)
            stage.withdraw_probes(opened)
            context.log.info(f"No probe is fitted. {_refusals(model)}")
            return
        if not as_before:
            stage.publish_probes(opened, model, probe_card(model))
        yield _result(opened, model, len(found.missing), as_before, time.monotonic() - started)


def _fitted_before(context: dg.AssetExecutionContext, store: Store, inputs: str) -> ProbeModel | None:
    """The probes in use where they were fitted to the same; those that cannot be read are fitted anew."""
    try:
        model = stage.current_probes(store)
    except NoProbes:
        return None
    except ProbeModelError as unreadable:
        context.log.warning(f"The probes in use are fitted anew: {unreadable}")
        return None
    return model if model.report.get("inputs") == inputs else None


def _refusals(model: ProbeModel) -> str:
    told = [f"{label}: {report['refused']}" for label, report in model.report["labels"].items()]
    return " ".join(told) or "Nothing is labelled: imgmine label add gives labels."


def _result(store: Store, model: ProbeModel, missing: int, as_before: bool, seconds: float) -> dg.MaterializeResult:  # type: ignore[type-arg]
    folder, card = f"{stage.FOLDER}/{model.version}", probe_card(model)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(model.version),
        metadata={
            "card": shown.card(card, TEXT),
            "probes": ", ".join(model.labels),
            "embedder": model.embedder,
            "labelled pictures without a vector": missing,
            "unchanged": as_before,
            "seconds": round(seconds, 2),
            "in the store": shown.links(
                store, [f"{folder}/{name}" for name in (*card, stage.REPORT_FILE, stage.PARAMETERS_FILE)]
            ),
            "dagster/uri": store.uri(folder),
        },
    )
