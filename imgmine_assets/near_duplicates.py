"""`near_duplicates`: groups of images that show the same picture, over all archives that have been mined."""

import time
from collections.abc import Callable

import dagster as dg
import numpy as np

from imgmine.cores import usable_cores
from imgmine.dataset import near_duplicates as stage
from imgmine.dataset.near_groups import HOWS, NEAR_DUPLICATES
from imgmine.dataset.near_samples import sampled_near_duplicates
from imgmine.dataset.takedown_log import read_log
from imgmine.dataset.warehouse import hide_blocked
from imgmine.demo.photographs import reference_photographs
from imgmine.scratch import scratch_folder
from imgmine_assets import shown
from imgmine_assets.column_lineage import lineage_of
from imgmine_assets.embeddings import embeddings
from imgmine_assets.failures import PASSING, explained
from imgmine_assets.images import images
from imgmine_assets.progress import log_progress
from resources.models import ModelsResource
from resources.store import StoreResource
from resources.warehouse import WarehouseResource

_NAME = "near_duplicates"


@dg.asset(
    deps=[images, embeddings],
    group_name="dataset",
    kinds={"opencv", "parquet"},
    owners=["team:imgmine"],
    retry_policy=PASSING,
    code_version=stage.CODE_VERSION,
)
def near_duplicates(
    context: dg.AssetExecutionContext, store: StoreResource, warehouse: WarehouseResource, models: ModelsResource
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Recompressed, resized, slightly cropped, mirrored and captioned copies, each with the image that is kept for it.

    The largest is kept, then the earliest. PDQ hashes and vectors find candidates, pixels confirm them.
    """
    started = time.monotonic()
    with explained(), scratch_folder(store.scratch_root, _NAME, "all") as scratch:
        opened = store.open()
        found = stage.publish_near_duplicates(
            opened,
            warehouse.mirror_folder,
            scratch,
            embedder=models.load_card().version,
            usual_vectors=lambda: _usual_vectors(models),
            blocked=read_log(opened).blocked,
            threads=usable_cores(),
            on_progress=_progress(context),
        )
        # The warehouse's view of the groups is made anew too: where there were none before, it has no row.
        (views := scratch / "warehouse").mkdir()
        hide_blocked(opened, warehouse.mirror_folder, views)
        samples = sampled_near_duplicates(opened, warehouse.mirror_folder, scratch)
    screen = models.screen()
    return dg.MaterializeResult(
        data_version=dg.DataVersion(found.digest),
        metadata={
            "images": found.images,
            "groups": found.groups,
            "near-duplicates": found.dropped,
            "share": f"{found.dropped / found.images:.2%}" if found.images else "no images",
            "how they were found": shown.counts_table(found.by_how, "how", HOWS),
            "some of them": shown.page(
                {f"{how}: {HOWS[how]}": shown.sheet(pairs, how, screen) for how, pairs in samples.items()}
            ),
            "pairs looked at": found.judged,
            "pairs remembered": found.remembered,
            "unchanged": not found.changed,
            "seconds": round(time.monotonic() - started, 2),
            "dagster/row_count": found.dropped + found.groups,
            "dagster/uri": opened.uri(stage.NEAR_DUPLICATES_KEY),
            **shown.schemas_of({"near_duplicates": NEAR_DUPLICATES}),
            **lineage_of(_NAME),
        },
    )


def _usual_vectors(models: ModelsResource) -> np.ndarray:
    """Vectors of the photographs that ship with imgmine, around whose mean all others are looked at."""
    pictures = (path.read_bytes() for path in reference_photographs())
    return np.concatenate(list(models.load_embedder().embed(pictures)))


def _progress(context: dg.AssetExecutionContext) -> stage.Progress:
    steps: dict[str, Callable[..., None]] = {}

    def report(step: str, done: int, total: int) -> None:
        units = {"sketch": "archives", "look": "images"}
        if step not in steps:
            steps[step] = log_progress(context.log, step, unit=units.get(step, "keys"))
        steps[step](done, total)

    return report
