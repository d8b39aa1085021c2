"""A process that ends of a sudden, as a killed one does, before one of the steps in which it changes files."""

import os
import sys
from pathlib import Path
from typing import Any

ENDED = 9
"""The exit status of a process that was ended."""

# What changes files, as Python's audit events call it.
_STEPS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}


class Steps:
    """Counts the steps in which this process changes files below a folder, from its making on; `done` is how many."""

    def __init__(self, folder: Path, end_before: int | None = None) -> None:
        """The process ends at once before step `end_before`, the first being 0."""
        self._folder = f"{folder}/"
        self._end_before = end_before
        self.done = 0
        sys.addaudithook(self._on_event)  # which stays until the process ends

    def _on_event(self, event: str, details: tuple[Any, ...]) -> None:
        if event not in _STEPS or not str(details[0]).startswith(self._folder):
            return
        if event == "open" and not (details[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        if self.done == self._end_before:
            os._exit(ENDED)
        self.done += 1
