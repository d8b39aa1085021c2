"""`dataset_statistics`: the DuckDB warehouse over all published tables, and the plots of the dataset."""

import time
from collections.abc import Sequence

import dagster as dg
import duckdb

from imgmine.dataset.funnel import FunnelCount
from imgmine.dataset.models_used import ModelUsed, disagreements
from imgmine.dataset.plots import STAGES, statistics_plots
from imgmine.dataset.publishing import remove_former_ownership
from imgmine.dataset.warehouse import WAREHOUSE_KEY
from imgmine.scratch import scratch_folder
from imgmine_assets import shown
from imgmine_assets.anomaly_scores import anomaly_scores
from imgmine_assets.categories import categories
from imgmine_assets.checks import allowed_difference, one_model, one_model_result, warning
from imgmine_assets.column_lineage import lineage_of
from imgmine_assets.dataset import dataset
from imgmine_assets.failures import PASSING, explained
from imgmine_assets.images import KEPT_TOLERANCE, USUALLY_KEPT, images
from imgmine_assets.near_duplicates import near_duplicates
from imgmine_assets.nsfw_scores import nsfw_scores
from imgmine_assets.probe_scores import probe_scores
from imgmine_assets.watermark_scores import watermark_scores
from resources.store import StoreResource
from resources.warehouse import WarehouseResource

_NAME = "dataset_statistics"
_FAR_SHOWN = 50
_KEPT = """
SELECT archive, coalesce(sum(n) FILTER (decision = 'kept'), 0)::BIGINT, sum(n)::BIGINT
FROM funnel WHERE stage = 'images' GROUP BY archive ORDER BY archive
"""
_TOTALS = "SELECT stage, decision, sum(n)::BIGINT AS n FROM funnel GROUP BY ALL ORDER BY n DESC, decision"


_POPULATION = "SELECT quantity, archives, value, low, high, method FROM population"
_MODELS = "SELECT of_table, model, embedder, archives FROM models"
_PLOTS = "statistics"
_FUNNEL_TYPES = ("VARCHAR", "VARCHAR", "VARCHAR", "BIGINT")


@dg.asset(
    deps=[dataset, near_duplicates, images, anomaly_scores, nsfw_scores, watermark_scores, probe_scores, categories],
    group_name="dataset",
    kinds={"duckdb"},
    owners=["team:imgmine"],
    pool="warehouse",
    retry_policy=PASSING,
    code_version="1",
    check_specs=[
        warning(
            _NAME,
            "archives_keep_the_usual_share",
            "About 76% of the files of each archive pass the gate. Names the archives that are far from it.",
        ),
        one_model(_NAME),
    ],
)
def dataset_statistics(store: StoreResource, warehouse: WarehouseResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The warehouse: a view of each table over all archives, the funnel, ownership; dbt's reports are made in it."""
    started = time.monotonic()
    with explained(), scratch_folder(store.scratch_root, _NAME, "all") as scratch:
        opened = store.open()
        path = warehouse.build(opened, scratch)
        with duckdb.connect(str(path), read_only=True) as connection:
            plots = statistics_plots(connection)
            totals = connection.execute(_TOTALS).fetchall()
            kept = connection.execute(_KEPT).fetchall()
            population = connection.execute(_POPULATION).fetchall()
            used = [ModelUsed(*row) for row in connection.execute(_MODELS).fetchall()]
        for name, png in plots.items():
            opened.put_bytes(f"{_PLOTS}/{name}.png", png)
        warehouse.publish(opened, path)
        remove_former_ownership(opened)
    return dg.MaterializeResult(
        metadata={
            "funnel": _funnel_table(totals),
            "plots": shown.page(
                {name.capitalize(): shown.picture(png, "image/png", name) for name, png in plots.items()}
            ),
            "distinct files": shown.rows_table(
                dict.fromkeys(["quantity", "archives", "value", "low", "high", "method"], "string"),
                map(_spelt, population),
            ),
            "models": shown.rows_table(
                {"of table": "string", "model": "string", "embedder": "string", "archives": "int"},
                [[each.of_table, each.model, each.embedder or "", each.archives] for each in used],
            ),
            "files of the plots": shown.links(opened, [f"{_PLOTS}/{name}.png" for name in plots]),
            "dagster/column_schema": dg.TableSchema(
                [dg.TableColumn(name, kind) for name, kind in zip(FunnelCount._fields, _FUNNEL_TYPES, strict=True)]
            ),
            **lineage_of("funnel"),
            "archives": len(kept),
            "seconds": round(time.monotonic() - started, 2),
            "dagster/uri": opened.uri(WAREHOUSE_KEY),
        },
        check_results=[_usual_archives(kept), one_model_result("the dataset", disagreements(used))],
    )


def _spelt(row: Sequence[object]) -> list[object]:
    """A row with its numbers as people write them; those up to 1 are shares."""
    return [(f"{cell:,.0f}" if cell > 1 else f"{cell:.1%}") if isinstance(cell, float) else cell for cell in row]


def _usual_archives(kept: Sequence[tuple[str, int, int]]) -> dg.AssetCheckResult:
    """Say which archives keep an unusual share of their files, the farthest first."""
    far = []
    for archive, count, total in kept:
        difference = abs(count / total - USUALLY_KEPT)
        if difference > allowed_difference(total, USUALLY_KEPT, KEPT_TOLERANCE):
            far.append((difference, archive, count, total))
    far.sort(reverse=True)
    farthest = shown.rows_table(
        {"archive": "string", "kept": "int", "of": "int", "share": "string"},
        [(archive, count, total, f"{count / total:.1%}") for _, archive, count, total in far[:_FAR_SHOWN]],
    )
    return dg.AssetCheckResult(
        check_name="archives_keep_the_usual_share",
        passed=not far,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(far)} of {len(kept)} archives are far from the usual {USUALLY_KEPT:.0%}",
        metadata={"archives far from it": len(far)} | ({"the farthest": farthest} if far else {}),
    )


def _funnel_table(totals: Sequence[tuple[str, str, int]]) -> dg.MetadataValue:
    """The funnel over all archives, stage by stage; shares are of a stage's rows."""
    of_stage = {stage: sum(n for name, _, n in totals if name == stage) for stage in STAGES}
    return shown.rows_table(
        {"stage": "string", "decision": "string", "n": "int", "share of the stage": "string"},
        [
            (stage, decision, n, shown.share_bar(n, of_stage[stage]))
            for stage, decision, n in sorted(totals, key=lambda row: STAGES.index(row[0]))
        ],
    )
