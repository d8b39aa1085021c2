"""A process that stops itself, by SIGSTOP, just before it first does a certain thing; nothing in it is replaced."""

import os
import signal
import sys
from fnmatch import fnmatchcase
from typing import Any


def stop_at(event: str, pattern: str) -> None:
    """Have this process stop, once, just before what the event tells of.

    `event` is one of Python's audit events (`open`, `os.rename`, `subprocess.Popen`); `pattern` is matched against the
    paths or the command line that come with it.
    """
    waiting = True

    def look(happening: str, details: tuple[Any, ...]) -> None:
        nonlocal waiting
        if waiting and happening == event and any(fnmatchcase(_text(detail), pattern) for detail in details):
            waiting = False
            os.kill(os.getpid(), signal.SIGSTOP)

    sys.addaudithook(look)


def _text(detail: Any) -> str:
    if isinstance(detail, str | bytes | os.PathLike):
        return os.fsdecode(detail)
    return " ".join(map(str, detail)) if isinstance(detail, list | tuple) else ""
