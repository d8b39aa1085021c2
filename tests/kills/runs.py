"""Runs of the real graph in processes of their own, to be killed.

When to kill and what to check is `campaign`'s business.
"""

import importlib
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.forked import forking, start
from tests.kills.moments import WORKER_KILLED, Stage, Step, Victim, Watch, kill, workers_of

PATIENCE_S = 180.0
STAGES = ("raw_archives", "unique_files", "images")

# Small enough that the miniature has several of each; what is published depends on the first, so it is the same always.
_PREVIEW_SHARD_BYTES = 100_000
_PIECE_BYTES = 300_000
_PART_BYTES = 100_000


class Hangs(Exception):
    """A run does not come to its end."""


@dataclass
class Run:
    """A run that is under way, or has ended."""

    process: ForkServerProcess
    output: Path
    killed: Victim | None = None
    """What `kill` has killed; a worker also where the run itself did."""
    worker_killed_in: Stage | None = None
    steps: list[tuple[Stage, float]] = field(default_factory=list)
    """The steps so far, and when each was heard of."""
    _pipe: Connection | None = None

    @property
    def counts(self) -> Counter[Stage]:
        return Counter(stage for stage, _ in self.steps)

    @property
    def stage(self) -> Stage:
        """Where it is, or was last."""
        return self.steps[-1][0] if self.steps else Stage.START

    @property
    def has_ended(self) -> bool:
        return self._pipe is None

    @property
    def succeeded(self) -> bool:
        return self.process.exitcode == 0

    def listen(self, seconds: float) -> None:
        """Hear of steps for so long at most; return at once when there are some, or the run has ended."""
        if self._pipe is None or not self._pipe.poll(seconds):
            return
        letters = os.read(self._pipe.fileno(), 1 << 16).decode()
        now = time.monotonic()
        for letter in letters:
            if letter == WORKER_KILLED:
                self.killed, self.worker_killed_in = Victim.WORKER, self.stage
            else:
                self.steps.append((Stage(letter), now))
        if not letters:
            self._pipe.close()
            self._pipe = None
            self.process.join(10)

    def wait(self) -> None:
        """Return when it has ended. Raises `Hangs`, after it was killed."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.has_ended:
            self.listen(1.0)
            if time.monotonic() > deadline:
                self.kill(Victim.GROUP)
                raise Hangs(f"no end after {PATIENCE_S:.0f} s, in the stage {self.stage.label}: see {self.output}")

    def kill(self, victim: Victim) -> None:
        """Kill it, or one of its workers, now."""
        assert self.process.pid is not None
        self.killed = kill(self.process.pid, victim)

    def workers(self) -> list[int]:
        """Return the process ids of those of its decoders that live."""
        return workers_of(self.process.pid or 0)

    def said(self) -> str:
        return self.output.read_text(errors="replace") if self.output.exists() else ""


def start_run(home: Path, archive: str, environ: Mapping[str, str], output: Path, kill_at: Step | None = None) -> Run:
    """Begin a run that mines the archive, from the Internet Archive to previews."""
    receiver, sender = forking().Pipe(duplex=False)
    process = start(_mine, home, archive, dict(environ), output, kill_at, sender)
    sender.close()
    return Run(process, output, _pipe=receiver)


def _mine(
    home: Path, archive: str, environ: Mapping[str, str], output: Path, kill_at: Step | None, pipe: Connection
) -> None:
    """Be a run: in a process group of its own, with these variables and no others of ours."""
    os.setsid()
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for name in list(os.environ):
        if name.startswith(("IMGMINE_", "DAGSTER_", "AWS_")):
            del os.environ[name]
    os.environ.update(environ)
    os.chdir(home)
    _make_small()

    import dagster as dg

    from imgmine.settings import load_settings
    from imgmine_assets.code_location import create_linked_run, execute_here
    from imgmine_assets.definitions import build_defs
    from imgmine_assets.instance import open_instance
    from imgmine_assets.partitions import add_archives

    Watch(pipe.fileno(), home, kill_at).begin()
    settings = load_settings()
    with open_instance(settings) as instance:
        add_archives(instance, [archive])
        job = build_defs(settings=settings).resolve_job_def("mine_archive")
        job = job.get_subset(asset_selection={dg.AssetKey(name) for name in STAGES})
        run = create_linked_run(job, instance, str(uuid.uuid4()), archive, {"loggers": {"console": {}}})
        succeeded = execute_here(job, instance, run)
    with suppress(OSError):
        pipe.close()
    sys.exit(0 if succeeded else 1)


def _make_small() -> None:
    """Change the defaults of sizes that no setting has, so that small archives have many shards, pieces and parts."""
    for module, owner, parameter, size in (
        ("imgmine.images.archive", "gate_archive", "shard_bytes", _PREVIEW_SHARD_BYTES),
        ("imgmine.archives.download", "fetch_archive", "piece_bytes", _PIECE_BYTES),
        ("imgmine.store.s3", "S3Store.__init__", "part_bytes", _PART_BYTES),
    ):
        function = importlib.import_module(module)
        for name in owner.split("."):
            function = getattr(function, name)
        defaults = function.__kwdefaults__
        assert parameter in defaults, f"{module}.{owner} has no {parameter}"
        defaults[parameter] = size
