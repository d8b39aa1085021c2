"""`remove_deleted`: the data of archives whose partition a person has deleted in the UI goes too."""

from pathlib import Path

import dagster as dg

from imgmine.amounts import readable_bytes
from imgmine.dataset.removing import remove_archive
from imgmine.places import Places
from imgmine_assets.dead_runs import end_dead_runs
from imgmine_assets.failures import explained
from imgmine_assets.partitions import ARCHIVES
from imgmine_assets.under_way import run_under_way
from resources.archive_org import ArchiveOrgResource
from resources.store import StoreResource


class RemovalConfig(dg.Config):
    """`archives` are the identifiers; one that is a partition again is left alone."""

    archives: list[str]


@dg.op(description="What imgmine remove takes away: tables, shards, the manifest, cached WARC files.")
def remove_data(
    context: dg.OpExecutionContext, config: RemovalConfig, store: StoreResource, archive_org: ArchiveOrgResource
) -> None:
    """Remove the data of archives that are no partitions any more.

    Fails where a run of one waits or is at work, once the others are removed.
    """
    places = Places(store.scratch_root, Path(archive_org.cache))
    busy = []
    end_dead_runs(context.instance)
    with explained():
        opened = store.open()
        for archive in config.archives:
            if context.instance.has_dynamic_partition(ARCHIVES, archive):
                context.log.info(f"{archive} is a partition again, and stays")
            elif run_under_way(context.instance, archive) is not None:
                busy.append(archive)
            else:
                removed = remove_archive(opened, places, archive)
                context.log.info(f"{archive}: {len(removed.objects)} objects, {readable_bytes(removed.size)}, removed")
    if busy:
        raise dg.Failure(f"Runs are under way of {', '.join(busy)}. Wait for them, or end them; then run this again.")


@dg.job(
    description=(
        "Removes the data of archives whose partition was deleted in the UI; deleted_partitions asks for it. "
        "Launch statistics and find_near_duplicates after it."
    ),
)
def remove_deleted() -> None:
    """Remove what `RemovalConfig` names."""
    remove_data()
