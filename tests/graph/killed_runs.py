"""Runs of the `imgmine` command in processes of their own, to be stopped, looked at, and killed.

What must be true after a kill is in the tests.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PATIENCE_S = 120


@dataclass
class Command:
    """A running `imgmine` command; `output` is the file that gets all that it prints."""

    process: subprocess.Popen[bytes]
    output: Path

    def printed(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_until_stopped(self) -> None:
        """Return once it has stopped itself."""
        self.wait_for(lambda: _state(self.process.pid) in "Tt")

    def wait_for(self, reached: Callable[[], bool]) -> None:
        """Return once something is true; fail where the command ends before it is."""
        deadline = time.monotonic() + _PATIENCE_S
        while not reached():
            assert self.process.poll() is None, f"it ended before it was killed:\n{self.printed()}"
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
        self.process.wait(10)


@contextmanager
def mining(
    archive: str, environ: Mapping[str, str], folder: Path, stop_at: tuple[str, str] | None = None
) -> Iterator[Command]:
    """Run `imgmine mine ARCHIVE`; with `stop_at`, an audit event and a pattern of paths, it stops itself there."""
    main = ["-m", "tests.graph.stopping_command", *stop_at] if stop_at else ["-c", _MAIN]
    command = [sys.executable, "-W", "ignore", *main, "mine", archive]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**_clean_environ(), **environ}, stdout=output, stderr=subprocess.STDOUT
        )
    running = Command(process, folder / "output.txt")
    try:
        yield running
    finally:
        running.kill()


_MAIN = "from imgmine_assets.cli import main; main()"


def _clean_environ() -> dict[str, str]:
    """This process's environment without what configures imgmine; no `.env` of the checkout is read either."""
    ours = ("IMGMINE_", "DAGSTER_", "AWS_")
    return {**{name: value for name, value in os.environ.items() if not name.startswith(ours)}, "PYTHONPATH": str(ROOT)}


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
