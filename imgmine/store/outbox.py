"""Putting shards into a store from a thread of its own, while those that come after them are still being made.

No table names them yet: that is `publish`'s business, and so is the removal of those that none will name.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType

from imgmine.store.base import Store
from imgmine.store.publish import put_shard
from imgmine.store.shards import Shard

MOST_WAITING = 2 << 30

_POLL_S = 0.2
_FAREWELL_S = 10.0


class OutboxLeft(Exception):
    """Whoever was to send a shard has been told to stop."""


class Outbox:
    """Shards on their way into a store, one at a time and in order; each local file goes once its shard is there.

    `on_upload(done, total)` is told the bytes of the shards that were sent; it is called in the outbox's thread. Use as
    a context manager: when it is left, shards that wait are forgotten.
    """

    def __init__(self, store: Store, on_upload: Callable[[int, int], None] | None = None) -> None:
        self._store = store
        self._on_upload = on_upload
        self._waiting: deque[Shard] = deque()
        self._current: Shard | None = None
        self._forgotten: Shard | None = None
        self._waiting_bytes = 0
        self._sent_bytes = 0
        self._done_bytes = 0
        self._failure: BaseException | None = None
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def send(self, shard: Shard, stop: threading.Event | None = None) -> None:
        """Take a shard, once those that wait are not too many bytes.

        Raises what putting an earlier one raised, and `OutboxLeft` when `stop` is set.
        """
        with self._changed:
            while self._waiting and self._waiting_bytes + shard.size > MOST_WAITING:
                self._check(stop)
                self._changed.wait(_POLL_S)
            self._check(stop)
            self._waiting.append(shard)
            self._waiting_bytes += shard.size
            self._sent_bytes += shard.size
            self._changed.notify_all()

    def finish(self) -> None:
        """Return once everything that was sent is in the store. Raises what putting it raised."""
        with self._changed:
            while self._waiting or self._current is not None:
                self._check(None)
                self._changed.wait(_POLL_S)
            self._check(None)

    def recall(self, shard: Shard) -> None:
        """Take a shard back, where it still waits."""
        with self._changed:
            if shard in self._waiting:
                self._waiting.remove(shard)
                self._waiting_bytes -= shard.size
                self._sent_bytes -= shard.size

    def forget(self) -> None:
        """Forget the shards that wait. How the one that is being put ends is waited for, and is no failure any more."""
        with self._changed:
            self._waiting.clear()
            self._waiting_bytes = 0
            self._forgotten = self._current

    def _check(self, stop: threading.Event | None) -> None:
        if self._failure is not None:
            raise self._failure
        if self._is_closed or (stop is not None and stop.is_set()):
            raise OutboxLeft

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if self._is_closed:
                    return
                shard = self._current = self._waiting.popleft()
                self._waiting_bytes -= shard.size
                self._changed.notify_all()
            failure: BaseException | None = None
            try:
                put_shard(self._store, shard)
                with contextlib.suppress(OSError):
                    shard.path.unlink()
                self._tell(shard)
            except BaseException as error:  # told to the thread that sends
                failure = error
            with self._changed:
                self._current = None
                if self._forgotten is not shard:
                    self._failure = self._failure or failure
                self._forgotten = None
                self._changed.notify_all()

    def _tell(self, shard: Shard) -> None:
        with self._changed:
            if self._forgotten is not shard:
                self._done_bytes += shard.size
            told = self._done_bytes, self._sent_bytes
        if self._on_upload is not None:
            self._on_upload(*told)

    def __enter__(self) -> "Outbox":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        # A put cannot be ended, and what it puts may have to be removed again: an error waits for it. What is no
        # `Exception` ends the process, and at once.
        ends = kind is not None and not issubclass(kind, Exception)
        self._thread.join(_FAREWELL_S if ends else None)
