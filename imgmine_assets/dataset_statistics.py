"""`dataset_statistics`: the DuckDB warehouse over all published tables, and the plots of the dataset."""

import time

import dagster as dg
import duckdb

from imgmine.dataset.plots import statistics_plots
from imgmine.dataset.warehouse import WAREHOUSE_KEY
from imgmine.scratch import scratch_folder
from imgmine_assets import shown
from imgmine_assets.anomaly_scores import anomaly_scores
from imgmine_assets.dataset import dataset
from imgmine_assets.failures import PASSING, explained
from imgmine_assets.images import images
from resources.store import StoreResource
from resources.warehouse import WarehouseResource


@dg.asset(
    deps=[dataset, images, anomaly_scores],
    group_name="dataset",
    kinds={"duckdb"},
    owners=["team:imgmine"],
    pool="warehouse",
    retry_policy=PASSING,
    code_version="1",
)
def dataset_statistics(store: StoreResource, warehouse: WarehouseResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The warehouse: a view of each table over all archives, the funnel, ownership; dbt's reports are made in it."""
    started = time.monotonic()
    with explained(), scratch_folder(store.scratch_root, "dataset_statistics", "all") as scratch:
        opened = store.open()
        path = warehouse.build(opened, scratch)
        with duckdb.connect(str(path), read_only=True) as connection:
            plots = statistics_plots(connection)
            totals = connection.execute(
                "SELECT stage || ': ' || decision, sum(n)::BIGINT FROM funnel GROUP BY stage, decision ORDER BY ALL"
            ).fetchall()
        warehouse.publish(opened, path)
    return dg.MaterializeResult(
        metadata={
            **{name: shown.picture(png, "image/png", name) for name, png in plots.items()},
            "funnel, all archives": dg.MetadataValue.table(
                records=[dg.TableRecord({"stage: decision": name, "n": n}) for name, n in totals],
                schema=dg.TableSchema(columns=[dg.TableColumn("stage: decision"), dg.TableColumn("n", "int")]),
            ),
            "seconds": round(time.monotonic() - started, 2),
            "dagster/uri": opened.uri(WAREHOUSE_KEY),
        }
    )
