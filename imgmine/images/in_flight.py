"""How much one producer of requests has under way, in bytes: what bounds memory, whatever the number of files.

A request is charged for the most that it may come to, and its result for what it is. Who waits for room decides the
producer.
"""

import threading


class InFlight:
    """A sum of bytes and the limit that it should keep to. Threads may share it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._lock = threading.Lock()

    def has_room(self, size: int) -> bool:
        """Tell whether so many bytes more fit. Where nothing is under way, anything does."""
        return not self._bytes or self._bytes + size <= self._limit

    def add(self, size: int) -> None:
        """Count so many bytes more, or fewer where `size` is negative."""
        with self._lock:
            self._bytes += size
