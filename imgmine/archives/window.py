"""A window that slides over a stream which need not seek: the bytes in hand, by their offset in the file.

What the bytes mean is the business of those who look through it.
"""

from typing import BinaryIO

CHUNK = 1 << 20


class Window:
    """The bytes `[start, end)` of a stream, in one buffer that grows only while its user holds on to them.

    The user says what it needs (`need`) and what it is done with (`release`); nothing is read twice.

    Attributes:
        buffer: byte `offset` of the file is `buffer[offset - start]`. It may be another object after each `need`.
        start: the offset of the first byte in hand.
        end: the offset after the last one.
        released: what lies before this offset may be gone after the next `need`.
    """

    __slots__ = ("_ended", "_readinto", "_stream", "_view", "buffer", "end", "released", "start")

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._readinto = getattr(stream, "readinto", None)
        self.released = 0
        self._ended = False
        self.buffer = bytearray(CHUNK)
        self._view = memoryview(self.buffer)
        self.start = 0
        self.end = 0

    def need(self, offset: int, size: int) -> bool:
        """Have `size` bytes from `offset` on in hand; False where the stream ends before (what there is, is in hand).

        What lies before `offset` stays in hand too, until it is released.
        """
        wanted = offset + size
        while self.end < wanted and not self._ended:
            self._read(wanted)
        return self.end >= wanted

    def view(self, offset: int, size: int) -> memoryview:
        """Show bytes, as far as they are in hand, without a copy: good until the next `need`, `skip` or `find`."""
        return self._view[offset - self.start : min(offset + size, self.end) - self.start]

    def release(self, offset: int) -> None:
        """Let go of what lies before `offset`, as far as it was read."""
        self.released = max(self.released, min(offset, self.end))

    def skip(self, offset: int) -> None:
        """Read on to `offset`, or to the stream's end, keeping nothing of what lies before it."""
        self.release(offset)
        while self.end < offset and not self._ended:
            self._read(offset)
            self.release(offset)

    def find(self, pattern: bytes, offset: int, limit: int | None = None) -> int | None:
        """Return where the first `pattern` at or after `offset` begins, if that is before `limit` and the stream's end.

        What was looked through in vain is released.
        """
        while limit is None or offset < limit:
            stop = self.end if limit is None else min(self.end, limit + len(pattern) - 1)
            at = self.buffer.find(pattern, offset - self.start, stop - self.start)
            if at >= 0:
                return self.start + at
            offset = max(offset, stop - len(pattern) + 1)
            self.release(offset)
            if not self.need(offset, len(pattern)):
                break
        return None

    def _read(self, wanted: int) -> None:
        """Read once more; where there is little room, first make some."""
        if len(self.buffer) - (self.end - self.start) < len(self.buffer) // 4:
            self._make_room(wanted)
        room = self._view[self.end - self.start :]
        if self._readinto is not None:
            count = self._readinto(room) or 0
        else:
            data = self._stream.read(len(room))
            count = len(data)
            room[:count] = data
        self.end += count
        self._ended = count == 0

    def _make_room(self, wanted: int) -> None:
        """Move what is held to the front of the buffer, or of a larger one."""
        capacity = len(self.buffer)
        kept = self._view[self.released - self.start : self.end - self.start]
        size = len(kept)
        if size > capacity // 2:
            # A length may lie: the buffer doubles as bytes really arrive, it is not made as large as a file claims.
            capacity = min(2 * capacity, max(wanted - self.released, capacity) + CHUNK)
        elif size <= CHUNK // 2:
            capacity = CHUNK  # what one large record needed is given back
        if capacity != len(self.buffer):
            self.buffer = bytearray(capacity)
            self._view = memoryview(self.buffer)
        self._view[:size] = kept
        self.start = self.released
