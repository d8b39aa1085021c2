"""`takedown_applied`: the log of take-downs carried out, on everything that is published, and the proof of it."""

import time
from pathlib import Path

import dagster as dg

from imgmine.amounts import readable_bytes
from imgmine.dataset.publishing import remove_former_ownership
from imgmine.dataset.takedown.applying import apply_log
from imgmine.dataset.takedown.from_lists import note_listed
from imgmine.dataset.takedown.report import Report, report_keys
from imgmine.dataset.takedown.scan import ScanMode
from imgmine.dataset.warehouse import hide_blocked
from imgmine.places import Places
from imgmine.scratch import scratch_folder
from imgmine_assets.checks import blocking, result
from imgmine_assets.embeddings import embeddings
from imgmine_assets.failures import PASSING, explained
from imgmine_assets.images import images
from imgmine_assets.partitions import known_archives
from imgmine_assets.progress import log_progress
from imgmine_assets.unique_files import unique_files
from resources.archive_org import ArchiveOrgResource
from resources.blocklist import BlocklistResource
from resources.store import StoreResource
from resources.warehouse import WarehouseResource

_NAME = "takedown_applied"
_MOST_OBSERVED = 1000
_CHECK = "nothing_of_it_is_left"


class TakedownConfig(dg.Config):
    """`scan` is how much is read to prove it: `full`, `by-size` or `affected`. `drop_raw` empties the archive cache of
    the WARC files that have what was taken down."""

    scan: str = ScanMode.FULL.value
    drop_raw: bool = False


@dg.asset(
    deps=[unique_files, images, embeddings],
    group_name="dataset",
    kinds={"tar", "parquet"},
    owners=["team:imgmine"],
    pool="warehouse",
    retry_policy=PASSING,
    code_version="1",
    check_specs=[blocking(_NAME, _CHECK, "A scan over the whole store finds nothing of what was taken down.")],
)
def takedown_applied(
    context: dg.AssetExecutionContext,
    config: TakedownConfig,
    store: StoreResource,
    warehouse: WarehouseResource,
    archive_org: ArchiveOrgResource,
    blocklist: BlocklistResource,
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """What `imgmine takedown` blocks goes out of shards, tables, vectors and releases; only what holds it is rewritten.
    What a list of hashes names (`IMGMINE_BLOCKLIST`) and was mined before it came is put onto the log first.

    What was taken back is noted to be mined again.
    """
    started = time.monotonic()
    known = known_archives(context.instance)
    with explained(), scratch_folder(store.scratch_root, _NAME, "all") as scratch:
        opened = store.open()
        lists = blocklist.load()
        noted = note_listed(opened, warehouse.mirror_folder, lists)
        if noted:
            context.log.info(f"{noted} files that lists of hashes name were put onto the log")

        def follow() -> None:
            if known or list(opened.list("files/")):
                warehouse.own(opened, _made(scratch / "dataset"), known)
            if hide_blocked(opened, warehouse.mirror_folder, _made(scratch / "warehouse")):
                remove_former_ownership(opened)

        report = apply_log(
            opened,
            warehouse.mirror_folder,
            Places(store.scratch_root, Path(archive_org.cache)),
            scratch,
            lists=lists,
            scan=ScanMode(config.scan),
            drop_raw=config.drop_raw,
            follow=follow,
            progress=log_progress(context.log, "archives", unit="archives"),
            scan_progress=log_progress(context.log, "scan"),
        )
    _observe(context, report)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(report.log.head),
        metadata={
            "report": dg.MetadataValue.md(report.as_text()),
            "files blocked now": len(report.log.blocked),
            "new of lists of hashes": noted,
            "files taken out": report.files,
            "shards rewritten": report.shards,
            "rows": report.rows,
            "archives": len(report.archives),
            "releases corrected": len(report.releases),
            "to be mined again": ", ".join(report.to_mine) or "none",
            "bytes scanned": readable_bytes(report.scan.bytes_hashed if report.scan else 0),
            "seconds": round(time.monotonic() - started, 2),
            "dagster/uri": opened.uri(report_keys(report.log)[0]),
        },
        check_results=[_check(report)],
    )


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _check(report: Report) -> dg.AssetCheckResult:
    scan = report.scan
    problems = [f"not done: {name} is being worked on" for name in report.busy]
    if scan is None:
        return result(_CHECK, "the store", [*problems, "nothing was scanned"], "nothing")
    problems += [*scan.found, *(f"not read: {unread}" for unread in scan.unread)]
    looked_at = f"{scan.members} members of {scan.shards} shards and {scan.values} values scanned"
    return result(_CHECK, "the store", problems, looked_at)


def _observe(context: dg.AssetExecutionContext, report: Report) -> None:
    """Tell on the page of each partition that was rewritten what happened to it, as far as there are not too many."""
    told = 0
    for change in report.archives:
        for table in change.tables:
            name = table.key.partition("/")[0]
            told += 1
            if told > _MOST_OBSERVED:
                return
            context.log_event(
                dg.AssetObservation(
                    "unique_files" if name in ("records", "files") else name,
                    partition=change.archive,
                    description=f"{table.rows} rows of {name} were taken down",
                    metadata={"before": table.before, "after": table.after, "log": report.log.head},
                )
            )
