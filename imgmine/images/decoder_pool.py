"""Worker processes that decode pictures and videos, so that what a hostile file does costs that file alone.

Requests name a part of a local file; payloads do not pass through here. A worker's process is in `worker_process`; what
is decoded, in `worker`; what it means for an archive, in `archive`.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from imgmine.cores import usable_cores
from imgmine.decisions import ImageDecision
from imgmine.images.decoding import Decoding
from imgmine.images.gate import Verdict
from imgmine.images.hashes import Hashes
from imgmine.images.in_flight import InFlight
from imgmine.images.wire import Message
from imgmine.images.worker_process import DecoderError, OutOfTime, WorkerDied, WorkerProcess, WorkerSilent

_Request = TypeVar("_Request", "PictureRequest", "StillRequest")
_Result = TypeVar("_Result")

LEAST_MEMORY = 128 << 20

# What an iteration may have under way before its oldest request is answered, so that one slow file does not stop the
# others. A preview is some 80 KB and under 3 MiB always (4096 × 448 pixels of noise: 2 MB); a still
# is seldom over 16 MiB.
IN_FLIGHT = 128 << 20
_LEAST_IN_FLIGHT_EACH = 4 << 20
_MOST_PREVIEW = 3 << 20
_LARGE_STILL = 16 << 20
_RESULT = 4 << 10  # a result without its bytes

_TRIES = 2


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """A picture: `size` bytes from `offset` on in a local file."""

    path: Path
    offset: int
    size: int

    @property
    def weight(self) -> int:
        """The most bytes that it and its result may take, in this process and a worker."""
        return self.size + _MOST_PREVIEW


@dataclass(frozen=True, slots=True)
class PictureResult:
    """The gate's verdict; of a kept picture, its preview (JPEG) and its hashes too.

    `is_final` is False where a worker gave no answer: another time it may.
    """

    request: PictureRequest
    verdict: Verdict
    preview: bytes | None
    hashes: Hashes | None
    is_final: bool = True

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes."""
        return _RESULT + len(self.preview or b"")


@dataclass(frozen=True, slots=True)
class StillRequest:
    """A video: `size` bytes from `offset` on in a local file; its BLAKE2b chooses the frame."""

    path: Path
    offset: int
    size: int
    blake2b: bytes

    @property
    def weight(self) -> int:
        """About the most bytes that it and its result may take; a video is not read whole."""
        return _LARGE_STILL


@dataclass(frozen=True, slots=True)
class StillResult:
    """A video's still (PNG) and its time in seconds; where there is none, both are None and `detail` says why."""

    request: StillRequest
    png: bytes | None
    frame_time: float | None
    detail: str | None

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes."""
        return _RESULT + len(self.png or b"")


class DecoderPool:
    """Decodes pictures and videos in worker processes. Use as a context manager; one pool may serve many threads.

    A worker that dies, or does nothing for `patience_s` seconds, is replaced and its file tried once more, for
    something else may have killed or stopped it; a file that does so twice, takes more than `cpu_s` seconds of the
    processor, or needs more than `memory_bytes` of address space gets a result that says so. Results come in the order
    of the requests; they do not depend on the number of workers, on what a worker decoded before (a file that may have
    failed for lack of memory has a fresh one to itself), nor on what else the machine has to do. What is under way is
    bounded by its bytes (`IN_FLIGHT` an iteration); `submit_picture` and `submit_still` are for a producer that keeps
    account itself.

    Parameters: `workers`, one for each processor by default. `memory_bytes` is enforced on Linux alone. `decoding` says
    what previews and their hashes are made from; verdicts do not depend on it.
    Raises `ValueError` where there are too few of either.
    """

    def __init__(
        self,
        workers: int | None = None,
        memory_bytes: int = 1 << 30,
        cpu_s: float = 60.0,
        patience_s: float = 900.0,
        decoding: Decoding = Decoding.EXACT,
    ) -> None:
        self.workers = usable_cores() if workers is None else workers
        if self.workers < 1:
            raise ValueError(f"workers: {workers}; at least 1 is needed")
        if memory_bytes < LEAST_MEMORY:
            raise ValueError(f"memory_bytes: {memory_bytes}; a worker needs {LEAST_MEMORY} to start and to decode")
        self._in_flight = max(IN_FLIGHT, self.workers * _LEAST_IN_FLIGHT_EACH)
        self._memory_bytes = memory_bytes
        self._cpu_s = cpu_s
        self._patience_s = patience_s
        self._decoding = decoding
        self._idle: queue.LifoQueue[WorkerProcess] = queue.LifoQueue()
        self._started: set[WorkerProcess] = set()
        self._lock = threading.Lock()
        self._closed = False
        # Workers are started by these threads, and Linux ends a process with the thread that started it: both last
        # until the pool is closed.
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="decoder")

    def __enter__(self) -> "DecoderPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            for worker in self._started:
                worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._started:
            worker.close()

    @property
    def params(self) -> Mapping[str, object]:
        """What the gate's results depend on beside the bytes of the picture."""
        return {} if self._decoding is Decoding.EXACT else {"decoding": self._decoding.value}

    def pictures(self, requests: Iterable[PictureRequest]) -> Iterator[PictureResult]:
        """Yield the gate's result for each request, in order. Raises `DecoderError`."""
        return self._in_order(requests, self._picture, lambda result: result.weight)

    def stills(self, requests: Iterable[StillRequest]) -> Iterator[StillResult]:
        """Yield the still of each video, in order. Raises `DecoderError`."""
        return self._in_order(requests, self._still, lambda result: result.weight)

    def thumbnails(self, requests: Iterable[PictureRequest], side: int) -> Iterator[bytes | None]:
        """Yield a JPEG of at most `side` × `side` pixels of each picture, None where it does not decode."""
        return self._in_order(
            requests, lambda request: self._thumbnail(request, side), lambda jpeg: _RESULT + len(jpeg or b"")
        )

    def submit_picture(self, request: PictureRequest) -> Future[PictureResult]:
        """Have a picture judged; the result may raise `DecoderError`."""
        return self._threads.submit(self._picture, request)

    def submit_still(self, request: StillRequest) -> Future[StillResult]:
        """Have a still made; the result may raise `DecoderError`."""
        return self._threads.submit(self._still, request)

    def _picture(self, request: PictureRequest) -> PictureResult:
        answer = self._ask({"do": "picture", **_source(request)})
        if "failed" in answer.head:
            verdict = Verdict(ImageDecision.UNDECODABLE, answer.head["failed"])
            return PictureResult(request, verdict, None, None, is_final=False)
        hashes = Hashes.from_plain(answer.head["hashes"]) if "hashes" in answer.head else None
        fields = answer.head["verdict"]
        verdict = Verdict(**{**fields, "decision": ImageDecision(fields["decision"])})
        return PictureResult(request, verdict, answer.body or None, hashes)

    def _still(self, request: StillRequest) -> StillResult:
        answer = self._ask({"do": "still", "blake2b": request.blake2b.hex(), **_source(request)})
        if "failed" in answer.head:
            return StillResult(request, None, None, answer.head["failed"])
        return StillResult(request, answer.body, answer.head["frame_time"], None)

    def _thumbnail(self, request: PictureRequest, side: int) -> bytes | None:
        return self._ask({"do": "thumbnail", "side": side, **_source(request)}).body or None

    def _in_order(
        self,
        requests: Iterable[_Request],
        decode: Callable[[_Request], _Result],
        weigh: Callable[[_Result], int],
    ) -> Iterator[_Result]:
        waiting: deque[Future[_Result]] = deque()
        in_flight = InFlight(self._in_flight)

        def decoded(request: _Request) -> _Result:
            result = decode(request)
            in_flight.add(weigh(result) - request.weight)
            return result

        def oldest() -> _Result:
            result = waiting.popleft().result()
            in_flight.add(-weigh(result))
            return result

        for request in requests:
            while waiting and not in_flight.has_room(request.weight):
                yield oldest()
            in_flight.add(request.weight)
            waiting.append(self._threads.submit(decoded, request))
            while waiting and waiting[0].done():
                yield oldest()
        while waiting:
            yield oldest()

    def _ask(self, request: dict[str, Any]) -> Message:
        """Return a worker's answer; where it gives none, one that says `failed`. Raises `DecoderError`."""
        end, tries, fresh = "", 0, False
        while tries < _TRIES:
            worker = self._worker(fresh)
            try:
                answer = worker.ask(Message(request), self._patience_s)
            except OutOfTime as error:
                self._discard(worker)
                return Message({"failed": str(error)})
            except (WorkerDied, WorkerSilent) as error:
                self._discard(worker)
                died = isinstance(error, WorkerDied)
                end = f"the decoder process died ({error})" if died else f"the decoder process hung ({error})"
                tries += 1
                continue
            if "again" in answer.head:  # never said by a fresh one, so this ends
                self._discard(worker)
                fresh = True
                continue
            self._idle.put(worker)
            if "fault" in answer.head:
                raise DecoderError(f"A file to decode cannot be read: {answer.head['fault']}")
            return answer
        return Message({"failed": end})

    def _worker(self, fresh: bool = False) -> WorkerProcess:
        while True:
            try:
                worker = queue.LifoQueue[WorkerProcess]().get_nowait() if fresh else self._idle.get_nowait()
            except queue.Empty:
                try:
                    worker = WorkerProcess(self._memory_bytes, self._cpu_s, self._decoding)
                except OSError as error:  # no memory or process to be had, no room in the folder for temporary files
                    raise DecoderError(
                        f"A decoder process cannot be started: {error}. See what this machine is short of: memory, "
                        "processes, open files, or room for temporary files; then run again."
                    ) from error
                with self._lock:
                    self._started.add(worker)
            if self._closed:
                raise DecoderError("The decoders were closed while at work.")
            if worker.alive:
                return worker
            self._discard(worker)  # it died between two files: neither is to blame

    def _discard(self, worker: WorkerProcess) -> None:
        with self._lock:
            self._started.discard(worker)
        worker.close()


def _source(request: PictureRequest | StillRequest) -> dict[str, Any]:
    return {"path": str(request.path.absolute()), "offset": request.offset, "size": request.size}
