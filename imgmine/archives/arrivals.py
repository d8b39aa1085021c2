"""The journal of a file that arrives in pieces: how much of each is there, known again after a kill.

The bytes themselves, and which file they are of, are `part_file`'s.
"""

import os
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path

PIECE = 64 << 20
_WORD = 8


class Arrivals:
    """Counts, in a file of 8 bytes a piece, the bytes that each piece has from its beginning on. Threads may share it.

    Piece n is `piece_bytes` long and begins at byte n × `piece_bytes`. Bytes are noted after they are written: a kill
    in between costs their repetition and nothing else.
    """

    def __init__(self, path: Path, piece_bytes: int = PIECE) -> None:
        self.path = path
        self.piece_bytes = piece_bytes
        self._lock = threading.Lock()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        noted = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        self._counts = array("Q", noted[: len(noted) // _WORD * _WORD])
        self._full = 0
        self.received = sum(self._counts)

    @property
    def prefix(self) -> int:
        """How many bytes have arrived from the first one on without a gap."""
        with self._lock:
            return self._prefix()

    def _prefix(self) -> int:
        while self._full < len(self._counts) and self._counts[self._full] == self.piece_bytes:
            self._full += 1
        begun = self._counts[self._full] if self._full < len(self._counts) else 0
        return self._full * self.piece_bytes + begun

    def add(self, start: int, end: int) -> int:
        """Note that bytes `[start, end)` are there, and return the prefix. They follow what their piece has, or are in
        it."""
        with self._lock:
            while start < end:
                number = start // self.piece_bytes
                first = number * self.piece_bytes
                until = min(end, first + self.piece_bytes)
                self._set(number, max(self._count(number), until - first))
                start = until
            return self._prefix()

    def missing(self, size: int | None) -> Iterator[tuple[int, int | None]]:
        """Yield the spans that are not there, piece by piece; of a file of unknown size, one without an end."""
        if size is None:
            yield self.prefix, None
            return
        for number in range(-(-size // self.piece_bytes)):
            first = number * self.piece_bytes
            until = min(size, first + self.piece_bytes)
            if first + self._count(number) < until:
                yield first + self._count(number), until

    def cut(self, size: int) -> None:
        """Forget what lies at or after byte `size`."""
        with self._lock:
            for number, count in enumerate(self._counts):
                kept = min(count, max(0, size - number * self.piece_bytes))
                if kept != count:
                    self._set(number, kept)
            self._full = 0

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            os.ftruncate(self._fd, 0)
            del self._counts[:]
            self._full = self.received = 0

    def remove(self) -> None:
        """Take the journal away."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; what it says stays."""
        os.close(self._fd)

    def _count(self, number: int) -> int:
        return self._counts[number] if number < len(self._counts) else 0

    def _set(self, number: int, count: int) -> None:
        if number >= len(self._counts):
            self._counts.extend([0] * (number + 1 - len(self._counts)))
        self.received += count - self._counts[number]
        self._counts[number] = count
        os.pwrite(self._fd, count.to_bytes(_WORD, "little"), number * _WORD)
