"""`ownership_parts`: `dataset`'s ownership in 16 partitions, for those who have several machines for it."""

import time

import dagster as dg

from imgmine.dataset.ownership import OWNERSHIP
from imgmine.dataset.ownership_inputs import CODE_VERSION
from imgmine.dataset.ownership_parts import OWNERSHIP_PARTS, part_key, publish_part
from imgmine.scratch import scratch_folder
from imgmine_assets.failures import PASSING, explained
from imgmine_assets.partitions import first_digits
from imgmine_assets.progress import log_progress
from imgmine_assets.shown import column_schema
from imgmine_assets.unique_files import unique_files
from resources.store import StoreResource
from resources.warehouse import WarehouseResource


# `dataset` does not depend on it: it would be shown as missing something for ever to all who need no parts.
@dg.asset(
    name=OWNERSHIP_PARTS,
    partitions_def=first_digits,
    deps=[dg.AssetDep(unique_files, partition_mapping=dg.AllPartitionMapping())],
    group_name="dataset",
    kinds={"parquet"},
    owners=["team:imgmine"],
    retry_policy=PASSING,
    code_version=CODE_VERSION,
)
def ownership_parts(
    context: dg.AssetExecutionContext, store: StoreResource, warehouse: WarehouseResource
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The owner of each file whose BLAKE2b begins with this digit.

    For hundreds of millions of files on several machines: launch a backfill of `own_in_parts`, all 16, while nothing is
    mined; then `statistics`, whose `dataset` joins them. Without them `dataset` makes the same table by itself. Parts
    that were made before an archive came, changed or went are made again by the next backfill; `dataset` removes them.
    """
    started = time.monotonic()
    prefix = context.partition_key
    with explained(), scratch_folder(store.scratch_root, OWNERSHIP_PARTS, prefix) as scratch:
        opened = store.open()
        progress = log_progress(context.log, "archives", unit="archives")
        summary = publish_part(opened, warehouse.mirror_folder, scratch, prefix, on_progress=progress)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(summary.digest),
        metadata={
            "archives mined": summary.archives,
            "distinct files": summary.found.distinct,
            "in more than one archive": summary.found.repeated,
            "unchanged": not summary.changed,
            "seconds": round(time.monotonic() - started, 2),
            "dagster/row_count": summary.found.distinct,
            "dagster/column_schema": column_schema(OWNERSHIP),
            "dagster/uri": opened.uri(part_key(prefix)),
        },
    )
