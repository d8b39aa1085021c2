"""A file in scratch that holds payloads, each once, until it is known which of them are kept.

It knows payloads by their BLAKE2b alone; why one is in it, and for how long, is the pass's business.
"""

import threading
from pathlib import Path
from types import TracebackType
from typing import NamedTuple


class SpooledPayload(NamedTuple):
    """Where a payload lies in the spool's file."""

    offset: int
    size: int


class Spool:
    """Payloads end to end in `path`, readable there as soon as they were added. Threads may share it.

    The file goes when the context is left; with `stays`, only where it is left by an error.
    """

    def __init__(self, path: Path, *, stays: bool = False) -> None:
        self.path = path
        self._stays = stays
        self._stream = path.open("wb", buffering=0)
        self._end = 0
        self._payloads: dict[bytes, SpooledPayload] = {}
        self._lock = threading.Lock()

    def add(self, blake2b: bytes, payload: bytes | memoryview) -> SpooledPayload:
        """Append a payload, unless it is there already, and return where it is."""
        with self._lock:
            if blake2b not in self._payloads:
                left = memoryview(payload)
                while left:
                    left = left[self._stream.write(left) :]
                self._payloads[blake2b] = SpooledPayload(self._end, len(payload))
                self._end += len(payload)
            return self._payloads[blake2b]

    def find(self, blake2b: bytes) -> SpooledPayload:
        """Return where a payload is. Raises `KeyError` where it was never added."""
        return self._payloads[blake2b]

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or not self._stays:
            self.path.unlink(missing_ok=True)
        self._stream.close()
