"""A window that slides over a stream which need not seek: the bytes in hand, by their offset in the file.

What the bytes mean is the business of those who look through it.
"""

from typing import BinaryIO

CHUNK = 1 << 20
CAPACITY = 2 << 20
# Buffers up to this size are kept for a while once a record was large: the next large one saves their making.
_KEPT_CAPACITY = 8 * CAPACITY
_TURNS_KEPT = 8


class Window:
    """The bytes `[start, end)` of a stream, in one buffer that grows only while its user holds on to them.

    The user says what it needs (`need`) and what it is done with (`release`); nothing is read twice. A buffer that is
    full gives way to another, and is used again once nobody looks into it: so what was shown stays as it was shown.

    Attributes:
        buffer: byte `offset` of the file is `buffer[offset - start]`. It may be another object after each `need`.
        all: the whole buffer as a view.
        start: the offset of the first byte in hand.
        end: the offset after the last one.
        released: what lies before this offset may be gone after the next `need`.
    """

    __slots__ = (
        "_ended",
        "_readinto",
        "_spare",
        "_stream",
        "_turns_spared",
        "all",
        "buffer",
        "end",
        "released",
        "start",
    )

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._readinto = getattr(stream, "readinto", None)
        self.released = 0
        self._ended = False
        self._spare: bytearray | None = None
        self._turns_spared = 0  # how often in a row a quarter of the buffer would have done
        self.buffer = bytearray(CAPACITY)
        self.all = memoryview(self.buffer)
        self.start = 0
        self.end = 0

    def need(self, offset: int, size: int) -> bool:
        """Have `size` bytes from `offset` on in hand; False where the stream ends before (what there is, is in hand).

        What lies before `offset` stays in hand too, until it is released.
        """
        wanted = offset + size
        while self.end < wanted and not self._ended:
            self._read()
        return self.end >= wanted

    def view(self, offset: int, size: int) -> memoryview:
        """Show bytes, as far as they are in hand, without a copy. While the view lives, a whole buffer does."""
        return self.all[offset - self.start : min(offset + size, self.end) - self.start]

    def release(self, offset: int) -> None:
        """Let go of what lies before `offset`, as far as it was read."""
        self.released = max(self.released, min(offset, self.end))

    def skip(self, offset: int) -> None:
        """Read on to `offset`, or to the stream's end, keeping nothing of what lies before it."""
        self.release(offset)
        while self.end < offset and not self._ended:
            self._read()
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

    def _read(self) -> None:
        """Read once more; where there is little room, first make some."""
        if len(self.buffer) - (self.end - self.start) < CHUNK // 4:
            self._make_room()
        at = self.end - self.start
        room = self.all[at : at + CHUNK]
        if self._readinto is not None:
            count = self._readinto(room) or 0
        else:
            data = self._stream.read(len(room))
            count = len(data)
            room[:count] = data
        self.end += count
        self._ended = count == 0

    def _make_room(self) -> None:
        """Go over to another buffer, with what is held at its front; to a larger one if that is much."""
        capacity = len(self.buffer)
        kept = self.all[self.released - self.start : self.end - self.start]
        size = len(kept)
        self._turns_spared = 0 if size > capacity // 4 else self._turns_spared + 1
        if size + CHUNK > capacity:
            # A length may lie: the buffer doubles as bytes really arrive, it is not made as large as a file claims.
            capacity *= 2
        elif capacity > CAPACITY and self._turns_spared > (0 if capacity > _KEPT_CAPACITY else _TURNS_KEPT):
            capacity //= 2
            self._turns_spared = 0
        spare, self._spare = self._spare, None
        if spare is None or len(spare) != capacity or _is_seen(spare):
            spare = None  # gone before its successor is made
        buffer = bytearray(capacity) if spare is None else spare
        view = memoryview(buffer)
        view[:size] = kept
        if len(self.buffer) == capacity:
            self._spare = self.buffer
        self.buffer, self.all = buffer, view
        self.start = self.released


def _is_seen(buffer: bytearray) -> bool:
    """Tell whether any memoryview of the buffer lives: while one does, its size cannot be changed."""
    try:
        buffer.append(buffer.pop())
    except BufferError:
        return True
    return False
