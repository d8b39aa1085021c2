"""Which run of an archive waits or is at work."""

import dagster as dg

_ENDED = frozenset({dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED})


def run_under_way(instance: dg.DagsterInstance, archive: str) -> dg.DagsterRun | None:
    """Return a run of the archive that waits or is at work. A killed one counts until it is ended."""
    statuses = [status for status in dg.DagsterRunStatus if status not in _ENDED]
    found = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": archive}, statuses=statuses), limit=1)
    return found[0] if found else None
