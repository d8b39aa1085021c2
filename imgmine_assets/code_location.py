"""The code location of the graph, as `workspace.yaml` names it, and the link of a run to it.

Dagster has no public way to make a run of a code location without a server; the few of its internals that this takes
are used here and nowhere else.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import RemoteRepositoryOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths

WORKSPACE = Path(__file__).resolve().parents[1] / "workspace.yaml"


def create_linked_run(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    run_id: str,
    archive: str | None,
    config: Mapping[str, Any],
) -> dg.DagsterRun:
    """Create a run that the UI shows beside those it launches itself: in the job's history, and to run again.

    `JobDefinition.execute_in_process` makes runs that belong to no code location, which the UI shows in a bare list.
    """
    [location] = location_origins_from_yaml_paths([str(WORKSPACE)])
    repository = RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME)
    partition = job.get_tags_for_partition_key(archive, selected_asset_keys=None) if archive else {}
    return instance.create_run_for_job(
        job,
        run_id=run_id,
        run_config=config,
        tags={**job.run_tags, **partition},
        remote_job_origin=repository.get_job_origin(job.name),
    )


def execute_here(job: dg.JobDefinition, instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Execute a run in this process, to its end, and return whether it succeeded. A failure is not raised."""
    return execute_run(InMemoryJob(job), run, instance, raise_on_error=False).success
