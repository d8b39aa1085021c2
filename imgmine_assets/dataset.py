"""`dataset`: which archive owns each file, over all archives that have been mined."""

import time

import dagster as dg

from imgmine.dataset import publishing
from imgmine.dataset.archives import ARCHIVES
from imgmine.dataset.ownership import OWNERSHIP
from imgmine.dataset.ownership_inputs import CODE_VERSION
from imgmine.scratch import scratch_folder
from imgmine_assets.failures import PASSING, explained
from imgmine_assets.partitions import known_archives
from imgmine_assets.shown import links, schemas_of
from imgmine_assets.unique_files import unique_files
from resources.store import StoreResource
from resources.warehouse import WarehouseResource


@dg.asset(
    deps=[unique_files],
    group_name="dataset",
    kinds={"duckdb", "parquet"},
    owners=["team:imgmine"],
    pool="warehouse",
    retry_policy=PASSING,
    code_version=CODE_VERSION,
)
def dataset(
    context: dg.AssetExecutionContext, store: StoreResource, warehouse: WarehouseResource
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The owner of each file: the earliest archive that has it, by publicdate, then identifier.

    It covers what has been mined so far, and is the same in whatever order that happened. Where all partitions of
    `ownership_parts` are there, made of the same tables, they are joined: for hundreds of millions of files on several
    machines. Nobody else needs them.
    """
    started = time.monotonic()
    known = known_archives(context.instance)
    with explained(), scratch_folder(store.scratch_root, "dataset", "all") as scratch:
        opened = store.open()
        summary = warehouse.own(opened, scratch, known)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(summary.digest),
        metadata={
            "archives mined": summary.archives_mined,
            "archives known": summary.archives_known,
            "coverage": f"{summary.archives_mined} of {summary.archives_known} archives, {summary.coverage:.1%}",
            "files": summary.files,
            "distinct files": summary.distinct,
            "in more than one archive": summary.repeated,
            "archives without a publicdate": ", ".join(summary.undated) or "none",
            **({"joined from": "ownership_parts"} if summary.joined else {}),
            "unchanged": not summary.changed,
            "seconds": round(time.monotonic() - started, 2),
            "dagster/row_count": summary.distinct,
            "ownership": links(opened, summary.ownership),
            **schemas_of({"archives": ARCHIVES, "ownership": OWNERSHIP}),
            "dagster/uri": opened.uri(publishing.ARCHIVES_KEY),
        },
    )
