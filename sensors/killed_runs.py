"""Looks for runs whose process was killed, also when no run begins that would find them.

How a dead run is known and ended is `imgmine_assets.dead_runs`' business.
"""

import dagster as dg

from imgmine_assets.dead_runs import end_dead_runs


# It runs unless it is turned off: after a power cut the dead runs take up all places, and so no run begins.
@dg.sensor(
    name="killed_runs",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Marks runs of this machine whose process was killed as failed, so that others take their places; Dagster's "
        "own monitoring does not look after such runs."
    ),
)
def killed_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """End the dead runs; ask for nothing."""
    ended = end_dead_runs(context.instance)
    return dg.SkipReason(f"Killed, and now marked as failed: {', '.join(ended)}." if ended else "No run was killed.")
