"""One process that decodes, from its start to its end, and the pipes to it.

What it does is in `worker`; who asks it, and what is done where it dies, in `decoder_pool`.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from imgmine.errors import ImgmineError
from imgmine.images.decoding import Decoding
from imgmine.images.wire import Message, encode, receive

# What a worker needs to start; no more, so that a process that reads hostile files holds no credentials.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
# What a picture took is kept for the next one: glibc would give back and fetch again all beyond 32 MiB, which for a
# picture of 12 megapixels costs half as much as its decoding.
_KEPT_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(128 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}

_START_TIMEOUT_S = 180.0
_LOOKS = 8  # so often, while one is patient, is it seen whether a worker computes


class DecoderError(ImgmineError):
    """The decoders cannot work at all: a worker does not start, or a source file cannot be read."""


class WorkerDied(Exception):
    """A worker's process has ended, or answers nonsense."""


class WorkerSilent(Exception):
    """A worker has not answered for very long, and has done nothing in that time."""


class OutOfTime(Exception):
    """A worker was ended because a file had used up its time on the processor."""


class WorkerProcess:
    """One worker process and its pipes. Raises `DecoderError` where it does not start.

    It may take `memory_bytes` of address space, and `cpu_s` seconds of the processor for one request.
    """

    def __init__(self, memory_bytes: int, cpu_s: float, decoding: Decoding) -> None:
        self._cpu_s = cpu_s
        environment = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT or "PYTHON" in name}
        with tempfile.TemporaryFile() as complaints:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "imgmine.images.worker",
                    *map(str, (os.getpid(), memory_bytes, cpu_s, decoding)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env={**environment, **_ONE_THREAD, **_KEPT_MEMORY},
                bufsize=0,
            )
            assert self._process.stdout is not None
            self._answers = self._process.stdout.fileno()
            self._readable = select.poll()
            self._readable.register(self._answers, select.POLLIN)
            try:
                self._read(_START_TIMEOUT_S)
            except (WorkerDied, WorkerSilent) as error:
                self.close()
                complaints.seek(0)
                said = complaints.read().decode(errors="replace").strip()
                raise DecoderError(f"A decoder process does not start: {error}. It said: {said or 'nothing'}") from None

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def ask(self, request: Message, patience_s: float) -> Message:
        """Return the answer. Raises `WorkerDied`, `OutOfTime`, `WorkerSilent`; the worker is of no use then.

        It is silent if it does nothing for `patience_s`. One that computes may take as long as the machine is busy: its
        time on the processor is limited, and elsewhere than on Linux alone that by the clock.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(encode(request))  # shorter than a pipe's buffer, so it does not block
        except BrokenPipeError:
            raise self._end() from None
        return self._read(patience_s)

    def _read(self, patience_s: float) -> Message:
        deadline = time.monotonic() + patience_s
        done: tuple[str, ...] | None = None

        def read(count: int) -> bytes:
            nonlocal deadline, done
            data = bytearray()
            while len(data) < count:
                if not self._readable.poll(patience_s * 1000 / _LOOKS):
                    before, done = done, self._processor_time()
                    if done != before:
                        deadline = time.monotonic() + patience_s
                    elif time.monotonic() > deadline:
                        raise WorkerSilent(f"no answer within {patience_s:g} s")
                    continue
                part = os.read(self._answers, min(count - len(data), 1 << 20))
                if not part:
                    raise EOFError
                data += part
            return bytes(data)

        try:
            return receive(read)
        except EOFError:
            raise self._end() from None
        except ValueError as error:
            raise WorkerDied(str(error)) from None

    def _processor_time(self) -> tuple[str, ...]:
        """Return what the process has had of the processor, to be compared; the same always where it cannot be told."""
        if sys.platform != "linux":
            return ()
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended, as the pipe will tell
            return ()
        return tuple(fields[11:13])  # utime and stime

    def _end(self) -> WorkerDied | OutOfTime:
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return WorkerDied("it closed its output")
        if status == -signal.SIGPROF:
            return OutOfTime(f"not decoded in {self._cpu_s:g} s of processor time")
        return WorkerDied(f"killed by signal {-status}" if status < 0 else f"exit status {status}")

    def kill(self) -> None:
        """End the process. It holds nothing that is worth a farewell. A thread that waits for its answer is told."""
        self._process.kill()

    def close(self) -> None:
        """End the process and close its pipes; no thread may be waiting for an answer."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
