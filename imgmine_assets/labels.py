"""`labels`: what people said of pictures, as far as they have said it. The log itself is written by `imgmine label`."""

import dagster as dg

from imgmine.dataset import labels as log
from imgmine_assets import shown
from imgmine_assets.failures import PASSING, explained
from resources.store import StoreResource
from resources.warehouse import WarehouseResource


@dg.asset(
    group_name="models",
    kinds={"parquet"},
    owners=["team:imgmine"],
    retry_policy=PASSING,
    code_version=log.CODE_VERSION,
)
def labels(store: StoreResource, warehouse: WarehouseResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """What people labelled: a log that is only added to (`imgmine label add`, `imgmine label import`)."""
    with explained():
        opened = store.open()
        found = log.read_labels(opened, warehouse.mirror_folder)
    counts = found.counts()
    return dg.MaterializeResult(
        data_version=dg.DataVersion(found.digest),
        metadata={
            "labels": shown.rows_table(
                {"label": "string", "applies": "int", "does not": "int"},
                [(label, yes, no) for label, (yes, no) in counts.items()],
            ),
            "dagster/row_count": found.entries,
            "dagster/uri": opened.uri(log.FOLDER),
        },
    )
