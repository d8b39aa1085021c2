"""Runs of the `imgmine` command in processes of their own, to be stopped, looked at, and killed.

What must be true after a kill is in the tests.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.forked import start
from tests.graph.stopping import stop_at

_PATIENCE_S = 120


@dataclass
class Command:
    """A running `imgmine` command; `output` is the file that gets all that it prints."""

    process: ForkServerProcess
    output: Path

    def printed(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_until_stopped(self) -> None:
        """Return once it has stopped itself."""
        self.wait_for(lambda: _state(self.process.pid or 0) in "Tt")

    def wait_for(self, reached: Callable[[], bool]) -> None:
        """Return once something is true; fail where the command ends before it is."""
        deadline = time.monotonic() + _PATIENCE_S
        while not reached():
            assert self.process.is_alive(), f"it ended before it was killed:\n{self.printed()}"
            assert time.monotonic() < deadline, f"nothing happened for {_PATIENCE_S} s:\n{self.printed()}"
            time.sleep(0.005)

    def decoders(self) -> list[int]:
        """Return the process ids of its decoders: each has the number of the process that started it on its line."""
        return [
            pid for pid, words in _commands() if "imgmine.images.worker" in words and str(self.process.pid) in words
        ]

    def kill(self) -> None:
        """End it with SIGKILL, whatever it is doing."""
        self.process.kill()
        self.process.join(10)


@contextmanager
def mining(
    archive: str, environ: Mapping[str, str], folder: Path, moment: tuple[str, str] | None = None
) -> Iterator[Command]:
    """Run `imgmine mine ARCHIVE`; with a `moment`, an audit event and a pattern of paths, it stops itself there."""
    output = folder / "output.txt"
    running = Command(start(_mine, archive, dict(environ), folder, output, moment), output)
    try:
        yield running
    finally:
        running.kill()


def _mine(archive: str, environ: dict[str, str], folder: Path, output: Path, moment: tuple[str, str] | None) -> None:
    """Be the command, as if it were started in the folder, with these variables and no others of ours."""
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for name in [name for name in os.environ if name.startswith(("IMGMINE_", "DAGSTER_", "AWS_"))]:
        del os.environ[name]
    os.environ.update(environ)
    os.chdir(folder)  # so that no `.env` of the checkout is read
    if moment is not None:
        stop_at(*moment)
    sys.argv = ["imgmine", "mine", archive]

    from imgmine_assets.cli import main

    main()


def _state(pid: int) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        # After the command in brackets, which may hold anything, comes the state.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "-"


def _commands() -> Iterator[tuple[int, list[str]]]:
    """Yield the process id and the command line of every process that is not a zombie."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            yield int(folder.name), words
