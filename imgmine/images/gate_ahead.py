"""Pictures and videos decoded while the stage that finds them is still reading, as many bytes at a time as fit.

Results of the gate go to `gated`, where `images` finds them; what is done with a still, who asks for it says.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, NamedTuple

from imgmine.images.decoder_pool import (
    IN_FLIGHT,
    DecoderPool,
    PictureRequest,
    PictureResult,
    StillRequest,
    StillResult,
)
from imgmine.images.gated import GatedResults
from imgmine.images.in_flight import InFlight

# Whoever reads faster than pictures are decoded waits: so what is to be decoded is in the machine's memory still.
MOST_WAITING = 256 << 20

_POLL_S = 0.2


class _Task(NamedTuple):
    request: PictureRequest | StillRequest
    done: Callable[[Any], None]


class GateAhead:
    """Hands files to the decoders as they come. Without `results`, no pictures, only videos for their stills.

    One thread adds; what is done with results runs in the decoders' threads. Use as a context manager: when it is left,
    what waits is forgotten.
    """

    def __init__(self, decoders: DecoderPool, results: GatedResults | None = None) -> None:
        self._decoders = decoders
        self._results = results
        self._seen: set[bytes] = set()
        self._videos: deque[_Task] = deque()  # before all pictures, since a shard waits for its stills
        self._pictures: deque[_Task] = deque()
        self._waiting_bytes = 0
        self._in_flight = InFlight(IN_FLIGHT)
        self._running = 0
        self._done = 0
        self._failure: BaseException | None = None
        self._is_closed = False
        self._changed = threading.Condition()

    def add_picture(self, blake2b: bytes, request: PictureRequest, *, wait: bool = True) -> None:
        """Have a picture judged, unless that was done; with `wait`, once there are not too many bytes before it.

        Raises `DecoderError` where the decoders do not work.
        """
        results = self._results
        if results is None:
            return
        with self._changed:
            self.check()
            if blake2b in self._seen or blake2b in results or self._is_closed:
                return
            self._seen.add(blake2b)
            while wait and self._waiting_bytes > MOST_WAITING and not self._is_closed:
                self._changed.wait(_POLL_S)
                self.check()
            self._pictures.append(_Task(request, lambda result: results.add(blake2b, result)))
            self._waiting_bytes += request.size
            self._give_out()

    def add_video(self, request: StillRequest, done: Callable[[StillResult], None]) -> None:
        """Have a still made, and `done` called with it in another thread. Raises `DecoderError`."""
        with self._changed:
            self.check()
            if not self._is_closed:
                self._videos.append(_Task(request, done))
                self._give_out()

    def check(self) -> None:
        """Raise what went wrong in the decoders' threads."""
        if self._failure is not None:
            raise self._failure

    def drain(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Wait until all is done. `progress(done, total)` is told of the files. Raises `DecoderError`."""
        with self._changed:
            while self._running or self._videos or self._pictures:
                self.check()
                if progress is not None:
                    progress(self._done, self._done + self._running + len(self._videos) + len(self._pictures))
                self._changed.wait(_POLL_S)
            self.check()

    def forget(self) -> None:
        """Forget what waits, and return once what was begun has ended: the files may go then."""
        with self._changed:
            self._videos.clear()
            self._pictures.clear()
            self._seen.clear()
            self._waiting_bytes = 0
            while self._running:
                self._changed.wait(_POLL_S)

    def _give_out(self) -> None:
        """Submit what has room; the lock is held."""
        while waiting := self._videos or self._pictures:
            request = waiting[0].request
            if not self._in_flight.has_room(request.weight):
                return
            task = waiting.popleft()
            if isinstance(request, PictureRequest):
                self._waiting_bytes -= request.size
                submitted: Future[Any] = self._decoders.submit_picture(request)
            else:
                submitted = self._decoders.submit_still(request)
            self._in_flight.add(request.weight)
            self._running += 1
            submitted.add_done_callback(lambda future, task=task: self._take(task, future))  # type: ignore[misc]

    def _take(self, task: _Task, future: "Future[PictureResult] | Future[StillResult]") -> None:
        failure: BaseException | None = None
        try:
            if not future.cancelled():
                task.done(future.result())
        except BaseException as error:  # told to the thread that adds
            failure = error
        with self._changed:
            self._failure = self._failure or failure
            self._in_flight.add(-task.request.weight)
            self._running -= 1
            self._done += 1
            if not self._is_closed and self._failure is None:
                self._give_out()
            self._changed.notify_all()

    def __enter__(self) -> "GateAhead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_closed = True
            self._videos.clear()
            self._pictures.clear()
            self._changed.notify_all()
