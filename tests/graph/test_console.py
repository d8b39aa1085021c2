"""What a run prints on the terminal: its messages, warnings and progress; not what Dagster and dagster-dbt tell."""

import logging

import dagster as dg
import pytest

from imgmine_assets import progress
from imgmine_assets.console import concise_console
from imgmine_assets.progress import log_progress


@dg.op
def speaks(context: dg.OpExecutionContext) -> None:
    context.log.debug("for nobody")
    context.log.info("two files, 6 MiB")
    context.log.warning("a record is damaged")
    context.log.error("the store refuses")
    context.log.info("op 'speaks' did not yield or return expected outputs {'made'}.")


@dg.op
def dbt_reports(context: dg.OpExecutionContext) -> None:
    context.log.info("Running dbt command")
    context.log.error("it failed")


def test_messages_are_printed_a_line_each_and_dagsters_own_are_not(capfd: pytest.CaptureFixture[str]) -> None:
    @dg.job(logger_defs={"console": concise_console})
    def talking() -> None:
        speaks()
        dbt_reports()

    talking.execute_in_process(run_config={"loggers": {"console": {}}})
    assert sorted(capfd.readouterr().err.splitlines()) == [
        "  dbt_reports: it failed",
        "  speaks: a record is damaged",
        "  speaks: the store refuses",
        "  speaks: two files, 6 MiB",
    ]


def test_progress_has_the_rate_since_the_first_report_and_the_time_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 100.0, 102.0, 110.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO):
        report = log_progress(logging.getLogger("test"), "download", every=5)
        report(1 << 20, 21 << 20)  # what an earlier run has brought
        report(3 << 20, 21 << 20)
        report(11 << 20, 21 << 20)
    assert caplog.messages == [
        "download: 5% of 21.0 MiB",
        "download: 52% of 21.0 MiB, 1.0 MiB/s, 10 s left",
    ]
