"""What can be made to go wrong in the miniature Internet Archive, and how often.

Here is which faults there are and which of them meet a request; what they do to the answer is `server`'s.
"""

import fnmatch
import threading
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class FaultKind(StrEnum):
    """Kinds of faults; in brackets the parameters of `Fault` that they use."""

    STATUS = "status"
    """Answer with `status` and, if given, `retry_after` (Retry-After as it is sent: seconds or a date)."""
    SLOW_START = "slow_start"
    """Wait `seconds` before the answer."""
    GARBAGE = "garbage"
    """Answer 200 with a page of HTML that says that something is wrong."""
    CUT = "cut"
    """Close the connection after `after` bytes of the body."""
    STALL = "stall"
    """Send nothing for `seconds` after `after` bytes of the body."""
    FLIP = "flip"
    """Invert the byte at offset `after` of the file."""
    IGNORE_RANGE = "ignore_range"
    """Answer a request for a range with 200 and the whole file."""
    WRONG_RANGE = "wrong_range"
    """Answer a request for a range with 206 and the bytes from offset `after` on, and say so in Content-Range."""
    THROTTLE = "throttle"
    """Send `rate` bytes a second on each connection, or, where `shared`, on all of them together."""
    DARK = "dark"
    """Make items dark; `path` is matched against the identifier."""
    RESTRICTED = "restricted"
    """Make items restricted; `path` is matched against the identifier."""
    PRIVATE = "private"
    """Make files private; `path` is matched against `<identifier>/<name>`."""
    SEARCH_ERROR = "search_error"
    """Answer a search with 200 and an error in JSON."""
    SEARCH_SHORT = "search_short"
    """End a search early: a page with half of its items and no cursor, though the total says that there are more."""


# These describe how things are, not what happens to one request: they hold until they are cleared.
STANDING = frozenset({FaultKind.THROTTLE, FaultKind.DARK, FaultKind.RESTRICTED, FaultKind.PRIVATE})


@dataclass(slots=True)
class Fault:
    """One fault. `path` is a pattern (`*`, `?`) for the path of the URL; `times` how many more requests it meets, None
    for all of them. The other parameters are for some kinds: see `FaultKind`.
    """

    kind: FaultKind
    path: str = "*"
    times: int | None = 1
    status: int = 503
    retry_after: str | None = None
    seconds: float = 1.0
    after: int = 0
    rate: float = 1_000_000.0
    shared: bool = False

    def __post_init__(self) -> None:
        self.kind = FaultKind(self.kind)
        if self.kind in STANDING:
            self.times = None
        if self.times is not None and self.times < 1:
            raise ValueError(f"a fault that meets {self.times} requests is none")


class Faults:
    """The faults of a running server. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, kind: FaultKind | str, **parameters: Any) -> None:
        """Let something go wrong: `faults.add("cut", after=1000, times=3, path="*.zst")`."""
        fault = Fault(FaultKind(kind), **parameters)
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Let everything be well again."""
        with self._lock:
            self._faults.clear()

    def take(self, kind: FaultKind, path: str) -> Fault | None:
        """Return the oldest fault of the kind that meets this path, used up by one; None if all is well."""
        with self._lock:
            for fault in self._faults:
                if fault.kind is kind and fnmatch.fnmatchcase(path, fault.path):
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times <= 0:
                            self._faults.remove(fault)
                    return fault
        return None

    def listed(self) -> list[dict[str, Any]]:
        """Return what is still to go wrong, as JSON has it."""
        with self._lock:
            return [asdict(fault) for fault in self._faults]
