"""Sees to it that the data of an archive go when its partition was deleted in the UI.

How they are removed is `imgmine_assets.remove_deleted`'s business.
"""

import json
from pathlib import Path

import dagster as dg

from imgmine.dataset.removing import data_of
from imgmine.places import Places
from imgmine_assets.partitions import known_archives
from imgmine_assets.remove_deleted import remove_deleted
from resources.archive_org import ArchiveOrgResource
from resources.store import StoreResource

_PARTITION = "dagster/partition"


def no_partitions_any_more(instance: dg.DagsterInstance) -> set[str]:
    """Return the partitions of which there have been runs, and that are none of the archives' now.

    So a Dagster home that is new to a store, and knows none of its archives, calls none of them deleted.
    """
    had_runs = {value for _, values in instance.get_run_tags(tag_keys=[_PARTITION]) for value in values}
    return had_runs - known_archives(instance)


# Off until a person wants it: what it removes is gone.
@dg.sensor(
    name="deleted_partitions",
    job_name=remove_deleted.name,  # the job itself would have Dagster warn of a parameter that it gives to itself
    minimum_interval_seconds=60,
    description=(
        "Removes tables, shards and cached files of archives whose partition was deleted in the UI, as imgmine remove "
        "does. Turn it on if deleting a partition is to delete its data. Archives that this Dagster never ran are left."
    ),
)
def deleted_partitions(
    context: dg.SensorEvaluationContext, store: StoreResource, archive_org: ArchiveOrgResource
) -> dg.SensorResult:
    """Ask for one run for all archives that were deleted since the last tick and of which there are data."""
    gone = no_partitions_any_more(context.instance)
    seen = set(json.loads(context.cursor)) if context.cursor else set()
    opened, places = store.open(), Places(store.scratch_root, Path(archive_org.cache))
    deleted = [archive for archive in sorted(gone - seen) if any(data_of(opened, places, archive))]
    cursor = json.dumps(sorted(gone))
    if not deleted:
        return dg.SensorResult(skip_reason="No partition with data was deleted.", cursor=cursor)
    config = {"ops": {"remove_data": {"config": {"archives": deleted}}}}
    return dg.SensorResult(run_requests=[dg.RunRequest(run_config=config)], cursor=cursor)
