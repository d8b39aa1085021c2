"""Runs of the command line that were killed: they are marked as failed, and their places in the pools given back.

Runs that the UI launches are not here: Dagster's own processes watch those.
"""

import contextlib
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

_KILLED = "The process of this run was killed. The next run of the archive goes on from what was kept."


def _locks(instance: dg.DagsterInstance) -> Path:
    return Path(instance.root_directory) / "running"


@contextmanager
def marked_as_running(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Hold a lock in the run's name. It is the kernel's and goes with the process, however that ends."""
    path = _locks(instance) / run_id
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink()


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs whose process is gone as failed, and return their ids.

    Without this a run that is killed while it downloads keeps its place in the pool for ever, and once all places are
    taken so, every run waits.
    """
    ended = []
    for path in sorted(_locks(instance).glob("*")):
        # Gone: it came to its end just now.
        with contextlib.suppress(FileNotFoundError), path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            run = instance.get_run_by_id(path.name)
            if run is None:
                continue  # its process has made the file, and is about to take the lock
            if not run.is_finished:
                instance.report_run_failed(run, _KILLED)
                ended.append(run.run_id)
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            path.unlink(missing_ok=True)
    return ended
