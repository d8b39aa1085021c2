"""What a contender of `bench/extract.py` tells of itself: its stages, and how many images it accepted.

Standard library alone, since peers run it in an environment of their own. How a contender is measured from without is
`extract`'s business.
"""

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Stages:
    """CPU seconds of each stage of this process and its ended children, and when the stages were."""

    def __init__(self) -> None:
        self.cpu: defaultdict[str, float] = defaultdict(float)
        self.spans: list[tuple[str, float, float]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what is done inside. Processes that it starts must have ended when it is left."""
        cpu, began = cpu_seconds(), time.monotonic()
        yield
        self.cpu[name] += cpu_seconds() - cpu
        self.spans.append((name, began, time.monotonic()))

    def report(self, images: int, **more: Any) -> None:
        """Print the one line that `extract` reads."""
        print(json.dumps({"images": images, "cpu": self.cpu, "spans": self.spans, **more}), flush=True)


def cpu_seconds() -> float:
    """Return the CPU seconds, user and system, of this process and of its children that have ended."""
    return sum(os.times()[:4])


def job() -> dict[str, Any]:
    """Return what `extract` asks for: the JSON file that is the only argument."""
    task: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    return task
