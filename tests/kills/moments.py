"""Where a run is while it works, and its end at a chosen moment: what happens inside the process that is killed.

Nothing of the run is replaced: Python's audit events tell of every file that is opened for writing, renamed or removed,
every process started and every request sent. Which moment is chosen, and what must be true after it, is `campaign`'s.
"""

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Stage(StrEnum):
    """What a run is doing; each value is what `Watch` writes."""

    START = "s"
    """Dagster is being set up: nothing of the archive is touched yet."""
    FETCH = "f"
    PASS = "p"
    GATE = "g"
    PUBLISH = "u"
    """A shard is being put, or tables are, up to the beginning of the next stage."""

    @property
    def label(self) -> str:
        """Its name for people."""
        return self.name.lower()


_BY_SCRATCH = {
    "raw_archives": Stage.FETCH,
    "unique_files": Stage.PASS,
    "images": Stage.GATE,
}
WORKER_KILLED = "K"


class Victim(StrEnum):
    """Which processes are killed."""

    GROUP = "the run and its workers"
    RUN = "the run alone"
    WORKER = "one worker"


@dataclass(frozen=True, slots=True)
class Step:
    """Just before the `number`-th step (from 0) of a stage."""

    stage: Stage
    number: int
    victim: Victim


class Watch:
    """Writes a letter for each step to a pipe, as the audit hook of this process, and kills at a step."""

    def __init__(self, pipe: int, home: Path, kill_at: Step | None) -> None:
        self._pipe = pipe
        self._home = f"{home}/"
        self._kill_at = kill_at
        self._stage = Stage.START
        self._tables_begun = False
        self._puts: dict[int, str] = {}
        self._counts: Counter[Stage] = Counter()
        self._looking = threading.local()

    def begin(self) -> None:
        """Look from now on; a hook cannot be taken away again."""
        sys.addaudithook(self._hook)

    def _hook(self, event: str, details: tuple[Any, ...]) -> None:
        if event not in _EVENTS or getattr(self._looking, "busy", False):
            return
        self._looking.busy = True
        try:
            self._look(event, details)
        finally:
            self._looking.busy = False

    def _look(self, event: str, details: tuple[Any, ...]) -> None:
        thread = threading.get_ident()
        if event == "http.client.send":
            self._on_request(thread, details[1])
        elif event == "open":
            if not isinstance(details[2], int) or not details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
            path = _path(details[0])
            if not path.startswith(self._home):
                return
            self._puts.pop(thread, None)
            self._on_open(thread, path)
        elif event != "subprocess.Popen" and not any(_path(detail).startswith(self._home) for detail in details):
            return
        stage = Stage.PUBLISH if self._tables_begun or self._puts else self._stage
        number, self._counts[stage] = self._counts[stage], self._counts[stage] + 1
        os.write(self._pipe, stage.value.encode())
        at = self._kill_at
        if at is not None and (at.stage, at.number) == (stage, number):
            if kill(os.getpid(), at.victim) is Victim.WORKER:
                os.write(self._pipe, WORKER_KILLED.encode())
            else:
                signal.pause()  # the signal is on its way: this thread does nothing more
        if event in ("os.rename", "os.remove"):
            self._puts.pop(thread, None)

    def _on_open(self, thread: int, path: str) -> None:
        folder, _, name = path.removeprefix(self._home).rpartition("/")
        if name.startswith(".pending-") and folder.startswith("store/"):
            self._put(thread, folder, is_table=folder.count("/") == 1)
        elif folder.startswith("scratch/") and name.endswith(".lock"):
            self._stage = _BY_SCRATCH.get(folder.removeprefix("scratch/"), self._stage)
            self._tables_begun = False
            self._puts.clear()

    def _on_request(self, thread: int, data: Any) -> None:
        method, _, rest = bytes(data[:2000]).partition(b" ") if isinstance(data, bytes | bytearray) else (b"", b"", b"")
        if method not in (b"GET", b"HEAD", b"PUT", b"POST", b"DELETE"):
            return  # a body that follows its head
        self._puts.pop(thread, None)
        target = rest.partition(b" ")[0].partition(b"?")[0].decode(errors="replace")
        if method in (b"PUT", b"POST", b"DELETE") and ".pending-" not in target:
            self._put(thread, target, is_table=not target.endswith(".tar"))

    def _put(self, thread: int, what: str, is_table: bool) -> None:
        if is_table:
            self._tables_begun = True
        else:
            self._puts[thread] = what


_EVENTS = frozenset(
    {
        "http.client.send",
        "open",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.truncate",
        "subprocess.Popen",
    }
)


def _path(detail: Any) -> str:
    return os.fsdecode(detail) if isinstance(detail, str | bytes | os.PathLike) else ""


def kill(run: int, victim: Victim) -> Victim:
    """Kill a run that leads its process group, or what of it is asked for; return what was killed.

    Where no worker is there, it is the whole group.
    """
    if victim is Victim.WORKER:
        for worker in workers_of(run):
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
                return Victim.WORKER
        victim = Victim.GROUP
    with suppress(ProcessLookupError):
        if victim is Victim.GROUP:
            os.killpg(run, signal.SIGKILL)
        else:
            os.kill(run, signal.SIGKILL)
    return victim


def workers_of(run: int) -> list[int]:
    """Return the process ids of a run's decoders, newest first."""
    return sorted(_workers(run), reverse=True)


def _workers(run: int) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            # Each has the number of the process that started it on its line.
            if "imgmine.images.worker" in words and str(run) in words:
                yield int(folder.name)
