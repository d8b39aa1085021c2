"""Runs whose process was killed: they are marked as failed, and their places in the pools given back.

How a run makes known that its process lives is here too; how it is executed is in `executor`.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

_KILLED = "The process of this run was killed. The next run goes on from what was kept."


def _locks(instance: dg.DagsterInstance) -> Path:
    return Path(instance.root_directory) / "running"


@contextmanager
def marked_as_running(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Hold a lock in the run's name. It is the kernel's and goes with the process, however that ends."""
    path = _locks(instance) / f"{run_id}.lock"
    path.parent.mkdir(exist_ok=True)
    unheld = path.with_suffix(".new")
    with unheld.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unheld.rename(path)
        try:
            yield
        finally:
            path.unlink()


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs of this machine whose process is gone as failed, and return their ids.

    Without this a run that is killed keeps its place among those at once, and in the pool if it was downloading, for
    ever; once all places are taken so, every run waits.
    """
    ended = []
    for path in sorted(_locks(instance).glob("*.lock")):
        # Gone: it came to its end just now.
        with contextlib.suppress(FileNotFoundError), path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if os.fstat(lock.fileno()).st_nlink == 0:
                continue  # taken away since it was opened: its run came to its end and is about to say so
            run = instance.get_run_by_id(path.stem)
            if run is not None and not run.is_finished:
                instance.report_run_failed(run, _KILLED)
                ended.append(run.run_id)
            instance.event_log_storage.free_concurrency_slots_for_run(path.stem)
            path.unlink(missing_ok=True)
    return ended
