"""A file in scratch that holds payloads, each once, until it is known which of them are kept.

It knows payloads by their BLAKE2b alone; why one is in it, and for how long, is the pass's business.
"""

from pathlib import Path
from types import TracebackType
from typing import NamedTuple


class SpooledPayload(NamedTuple):
    """Where a payload lies in the spool's file."""

    offset: int
    size: int


class Spool:
    """Payloads end to end in `path`, in the order in which they were added. The file goes when the context is left."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = path.open("wb+", buffering=1 << 20)
        self._end = 0
        self._payloads: dict[bytes, SpooledPayload] = {}

    def add(self, blake2b: bytes, payload: bytes | memoryview) -> None:
        """Append a payload, unless it is there already."""
        if blake2b not in self._payloads:
            self._stream.write(payload)
            self._payloads[blake2b] = SpooledPayload(self._end, len(payload))
            self._end += len(payload)

    def flush(self) -> None:
        """Make everything added so far readable at `path`."""
        self._stream.flush()

    def find(self, blake2b: bytes) -> SpooledPayload:
        """Return where a payload is. Raises `KeyError` where it was never added."""
        return self._payloads[blake2b]

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)
        # Closing flushes, which on a full disk fails once more and would hide what went wrong first.
        try:
            self._stream.close()
        except OSError:
            if kind is None:
                raise
