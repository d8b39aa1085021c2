"""What runs by the clock: the statistics, and the look at which archives are left failed."""

import dagster as dg

from imgmine_assets.failed_archives import look_at_failures
from imgmine_assets.jobs import statistics

daily_statistics = dg.ScheduleDefinition(
    name="daily_statistics",
    job=statistics,
    cron_schedule="0 3 * * *",
    description="Ownership, warehouse and reports over everything mined so far, at 03:00 UTC.",
)
daily_failures = dg.ScheduleDefinition(
    name="daily_failures",
    job=look_at_failures,
    cron_schedule="0 6 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Which archives are left failed, and why, at 06:00 UTC.",
)
