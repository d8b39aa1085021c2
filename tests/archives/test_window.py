"""The sliding window: the bytes it shows are those of the stream, whatever is asked of it in what order."""

import io

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from imgmine.archives.window import CAPACITY, CHUNK, Window
from tests.archives.warc_files import Trickle

SIZES = st.integers(0, 50) | st.integers(0, 3 * CHUNK)


class WindowMachine(RuleBasedStateMachine):
    """Any sequence of calls, checked against the bytes themselves."""

    @initialize(size=st.integers(0, 6 * CHUNK), seed=st.integers(0, 9))
    def begin(self, size: int, seed: int) -> None:
        self.most_held = 0
        self.shown: list[tuple[memoryview, bytes]] = []
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

    @rule(ahead=SIZES, size=st.integers(1, 50))
    def look(self, ahead: int, size: int) -> None:
        offset = self.window.released + ahead
        self.window.need(offset, size)
        view = self.window.view(offset, size)
        self.shown.append((view, bytes(view)))

    @rule()
    def look_away(self) -> None:
        self.shown.clear()

    @invariant()
    def what_was_shown_stays_as_it_was(self) -> None:
        assert all(view == content for view, content in getattr(self, "shown", []))

    @invariant()
    def what_was_not_released_is_in_hand(self) -> None:
        if hasattr(self, "window"):
            window = self.window
            assert window.start <= window.released <= window.end <= len(self.data)
            assert window.view(window.released, len(self.data)) == self.data[window.released : window.end]
            self.most_held = max(self.most_held, window.end - window.released)
            assert len(window.buffer) <= 2 * max(CAPACITY, self.most_held + CHUNK)


WindowMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestWindow = WindowMachine.TestCase


def test_what_a_large_record_needed_is_given_back() -> None:
    window = Window(io.BytesIO(bytes(400 * CHUNK)))
    assert window.need(0, 20 * CHUNK)
    assert len(window.buffer) > 20 * CHUNK
    window.skip(400 * CHUNK)
    assert len(window.buffer) == CAPACITY


def test_two_buffers_take_turns_unless_somebody_looks() -> None:
    window = Window(io.BytesIO(bytes(50 * CHUNK)))
    seen = []
    buffers = []
    for offset in range(0, 40 * CHUNK, CHUNK):
        window.need(offset, CHUNK)
        if offset > 20 * CHUNK:
            seen.append(window.view(offset, 1))
        if not any(buffer is window.buffer for buffer in buffers):
            buffers.append(window.buffer)
        if offset == 20 * CHUNK:
            assert len(buffers) == 2
        window.release(offset + CHUNK)
    assert len(buffers) > 5
