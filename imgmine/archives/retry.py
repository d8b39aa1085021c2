"""When to ask again: how long to wait after a failure, and for how many failures in a row.

What counts as a failure is for those who ask: `archive_org` and `download`.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Answers that a later request may not get. Everything else that is no success is final.
TEMPORARY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class TemporaryFailure(Exception):
    """One attempt failed, and another may not. `retry_after` is what the server asks for, in seconds."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient to be. All times are in seconds.

    `attempts` bounds the failures in a row; whoever makes progress begins to count anew. The wait doubles from
    `first_wait` to `longest_wait`, less up to half of it at random, so that many clients do not come back at once. A
    server's Retry-After is kept to in full; one beyond `longest_retry_after` is not waited for: the caller gives up.
    """

    attempts: int = 8
    first_wait: float = 1.0
    longest_wait: float = 120.0
    longest_retry_after: float = 3600.0
    sleep: Callable[[float], None] = time.sleep

    def wait(self, failures: int, failure: TemporaryFailure) -> bool:
        """Wait as the `failures`th failure in a row (from 1) wants it; return False, at once, to give up instead."""
        if failures >= self.attempts:
            return False
        asked = failure.retry_after or 0.0
        if asked > self.longest_retry_after:
            return False
        doubled = min(self.longest_wait, self.first_wait * 2.0 ** (failures - 1))
        self.sleep(max(asked, doubled * random.uniform(0.5, 1.0)))
        return True


def retry_after_seconds(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, given as a number or as a date; None without one."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        if text.isdecimal():
            return float(text)
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
