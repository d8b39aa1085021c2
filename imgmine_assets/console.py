"""What a run prints on the terminal: messages of the steps and failures, not Dagster's every event."""

import logging

import dagster as dg

# dagster-dbt tells all that it calls and observes; what failed are checks, which are events.
_DBT = "dbt_reports"


class _Concise(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", {})
        where = meta.get("step_key") or meta.get("job_name") or "run"
        return f"  {where}: {meta.get('orig_message') or record.getMessage()}"


def _is_for_people(record: logging.LogRecord) -> bool:
    # Dagster hands all on itself, whoever said it: where a message comes from can be told by what it says alone.
    meta = getattr(record, "dagster_meta", {})
    if record.levelno >= logging.ERROR:
        return True
    is_event = meta.get("dagster_event") is not None
    # That a table is not made, because what it is made of is not there yet, is said in our own words.
    is_dagsters_own = "did not yield or return expected outputs" in record.getMessage()
    is_dbts = meta.get("step_key") == _DBT
    return record.levelno >= logging.INFO and not (is_event or is_dagsters_own or is_dbts)


@dg.logger(None, "Messages and failures, a line each.")
def concise_console(context: dg.InitLoggerContext) -> logging.Logger:
    """Return the logger of a run's terminal."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Concise())
    handler.addFilter(_is_for_people)
    log = logging.Logger("imgmine.console", level=logging.INFO)
    log.addHandler(handler)
    return log
