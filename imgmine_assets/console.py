"""What a run prints on the terminal: messages of the steps and failures, not Dagster's every event."""

import logging
import os

import dagster as dg


class _Concise(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", {})
        where = meta.get("step_key") or meta.get("job_name") or "run"
        return f"  {where}: {meta.get('orig_message') or record.getMessage()}"


def _is_for_people(record: logging.LogRecord) -> bool:
    is_event = getattr(record, "dagster_meta", {}).get("dagster_event") is not None
    is_dagsters_own = f"{os.sep}dagster{os.sep}_core{os.sep}" in record.pathname
    return record.levelno >= logging.ERROR or (record.levelno >= logging.INFO and not is_event and not is_dagsters_own)


@dg.logger(None, "Messages and failures, a line each.")
def concise_console(context: dg.InitLoggerContext) -> logging.Logger:
    """Return the logger of a run's terminal."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Concise())
    handler.addFilter(_is_for_people)
    log = logging.Logger("imgmine.console", level=logging.INFO)
    log.addHandler(handler)
    return log
