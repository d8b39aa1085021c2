"""Progress of a long step: a line in the run's log every few seconds, with the rate and the time left."""

import logging
import time
from collections.abc import Callable

from imgmine.amounts import readable_bytes, readable_seconds


def log_progress(log: logging.Logger, what: str, unit: str = "bytes", every: float = 5.0) -> Callable[..., None]:
    """Return a callback `(done, total, …)` that logs at most once in `every` seconds."""
    last = time.monotonic()
    started: tuple[float, int] | None = None

    def readable(amount: float) -> str:
        return readable_bytes(amount) if unit == "bytes" else f"{amount:.0f} {unit}"

    def report(done: int, total: int, *_: object) -> None:
        nonlocal last, started
        now = time.monotonic()
        # What was there at the first report was not done at any rate that is known.
        started = started or (now, done)
        if now - last < every:
            return
        last = now
        seconds, progressed = now - started[0], done - started[1]
        rate = progressed / seconds if seconds else 0
        at = f", {readable(rate)}/s, {readable_seconds((total - done) / rate)} left" if rate > 0 else ""
        share = f"{done / total:.0%} of {readable(total)}" if total else readable(done)
        log.info(f"{what}: {share}{at}")

    return report
