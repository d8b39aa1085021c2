"""The daily look at what is left failed: which archives, at which step, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from imgmine_assets.dataset import dataset
from imgmine_assets.partitions import known_archives

# Each reason is read from its run's event log.
_REASONS_SHOWN = 100


@dataclass(frozen=True, slots=True)
class LeftFailed:
    """An archive whose last run failed: at which step, why, and in which run."""

    archive: str
    step: str
    reason: str
    run_id: str


def left_failed(runs: Sequence[dg.DagsterRun]) -> dict[str, dg.DagsterRun]:
    """Return, by archive, the runs that failed and were not followed by another; `runs` are newest first."""
    latest: dict[str, dg.DagsterRun] = {}
    for run in runs:
        archive = run.tags.get("dagster/partition")
        if archive is not None:
            latest.setdefault(archive, run)
    return {archive: run for archive, run in sorted(latest.items()) if run.status == dg.DagsterRunStatus.FAILURE}


def failed_archives(instance: dg.DagsterInstance) -> dict[str, dg.DagsterRun]:
    """Return, by archive, the last run of every archive whose last run failed.

    Releases are partitions too, and an archive that was removed is none any more.
    """
    failed = known_archives(instance) & {
        run.tags.get("dagster/partition", "")
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    }
    newest = (instance.get_runs(dg.RunsFilter(tags={"dagster/partition": archive}), limit=1) for archive in failed)
    return left_failed([run for runs in newest for run in runs])


def describe(instance: dg.DagsterInstance, failures: Mapping[str, dg.DagsterRun]) -> list[LeftFailed]:
    """Return the reason of each failure, as the step that failed gave it; of the first hundred only."""
    described = []
    for archive, run in list(failures.items())[:_REASONS_SHOWN]:
        records = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
        event = records[-1].event_log_entry.dagster_event if records else None
        data = event.step_failure_data if event else None
        if data is None:
            described.append(LeftFailed(archive, "", "The run ended before any step failed: see its log.", run.run_id))
            continue
        reason = data.user_failure_data.description if data.user_failure_data else None
        message = reason or (data.error.message if data.error else "") or "no message"
        described.append(LeftFailed(archive, event.step_key or "" if event else "", message.strip(), run.run_id))
    return described


# On `dataset`, not on `raw_archives`: a check of a partitioned asset would run with every archive.
@dg.asset_check(
    asset=dataset,
    description="Runs daily: no archive is left failed, at any step. Says which are, and why.",
)
def no_archive_left_failed(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Pass when the last run of every archive succeeded or is under way."""
    failures = failed_archives(context.instance)
    known = len(known_archives(context.instance))
    return dg.AssetCheckResult(
        passed=not failures,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(failures)} of {known} archives are left failed",
        metadata={
            "archives left failed": dg.MetadataValue.table(
                records=[
                    dg.TableRecord({"archive": one.archive, "step": one.step, "reason": one.reason, "run": one.run_id})
                    for one in describe(context.instance, failures)
                ],
                schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in ("archive", "step", "reason", "run")]),
            ),
        },
    )


look_at_failures = dg.define_asset_job(
    "look_at_failures",
    dg.AssetSelection.checks(no_archive_left_failed),
    description="Says which archives are left failed, and why.",
)
