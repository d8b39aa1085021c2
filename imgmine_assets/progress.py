"""Progress of a long step: a line in the run's log every few seconds, with the rate and the time left."""

import logging
import time
from collections.abc import Callable

from imgmine.amounts import readable_bytes, readable_seconds


def log_progress(log: logging.Logger, what: str, unit: str = "bytes", every: float = 5.0) -> Callable[..., None]:
    """Return a callback `(done, total, …)` that logs at most once in `every` seconds."""
    started = last = time.monotonic()
    first: int | None = None

    def readable(amount: float) -> str:
        return readable_bytes(amount) if unit == "bytes" else f"{amount:.0f} {unit}"

    def report(done: int, total: int, *_: object) -> None:
        nonlocal last, first
        now = time.monotonic()
        if first is None:
            first = done
        if now - last < every:
            return
        last = now
        rate = (done - first) / (now - started)
        left = f", {readable_seconds((total - done) / rate)} left" if rate > 0 else ""
        share = f"{done / total:.0%} of {readable(total)}" if total else readable(done)
        log.info(f"{what}: {share}, {readable(rate)}/s{left}")

    return report
