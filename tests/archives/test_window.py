"""The sliding window: the bytes it shows are those of the stream, whatever is asked of it in what order."""

import io

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from imgmine.archives.window import CHUNK, Window
from tests.archives.warc_files import Trickle

SIZES = st.integers(0, 50) | st.integers(0, 3 * CHUNK)


class WindowMachine(RuleBasedStateMachine):
    """Any sequence of calls, checked against the bytes themselves."""

    @initialize(size=st.integers(0, 6 * CHUNK), seed=st.integers(0, 9))
    def begin(self, size: int, seed: int) -> None:
        self.data = bytes(size // 2) + b"needle" + bytes(size - size // 2)
        self.window = Window(io.BufferedReader(Trickle(self.data, seed), 1 << 16))  # type: ignore[arg-type]

    @rule(ahead=SIZES, size=SIZES)
    def need(self, ahead: int, size: int) -> None:
        offset = self.window.released + ahead
        assert self.window.need(offset, size) == (offset + size <= len(self.data))
        assert self.window.view(offset, size) == self.data[offset : offset + size]

    @rule(ahead=SIZES)
    def release(self, ahead: int) -> None:
        self.window.release(self.window.released + ahead)

    @rule(ahead=SIZES)
    def skip(self, ahead: int) -> None:
        offset = self.window.released + ahead
        self.window.skip(offset)
        assert self.window.end >= min(offset, len(self.data))
        assert self.window.released == max(min(offset, len(self.data)), self.window.released)

    @rule(ahead=SIZES, limit=st.none() | SIZES)
    def find(self, ahead: int, limit: int | None) -> None:
        offset = self.window.released + ahead
        self.window.need(offset, 1)
        limit = None if limit is None else offset + limit
        found = self.data.find(b"needle", offset, None if limit is None else limit + len(b"needle") - 1)
        assert self.window.find(b"needle", offset, limit) == (None if found < 0 else found)

    @invariant()
    def what_was_not_released_is_in_hand(self) -> None:
        if hasattr(self, "window"):
            window = self.window
            assert window.start <= window.released <= window.end <= len(self.data)
            assert window.view(window.released, len(self.data)) == self.data[window.released : window.end]
            assert len(window.buffer) <= 2 * max(CHUNK, window.end - window.released) + 2 * CHUNK


WindowMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestWindow = WindowMachine.TestCase
