"""The process in which pictures and videos are decoded: `python -m imgmine.images.worker PARENT MEMORY CPU DECODING`.

It reads requests from standard input, answers on standard output, and ends with its parent. It imports Pillow and
NumPy, and OpenCV when the first video comes; whatever one file does to it costs that file alone. `decoder_pool` starts
it.
"""

import ctypes
import io
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from imgmine.decisions import ImageDecision
from imgmine.images.decoding import Decoding
from imgmine.images.gate import gate
from imgmine.images.previews import preview_jpeg, reduced
from imgmine.images.stills import NoStill, still
from imgmine.images.thumbnails import thumbnail
from imgmine.images.wire import Message, encode, receive

_PR_SET_PDEATHSIG = 1
_MOST_WORDS = 200


class SourceFault(Exception):
    """The file that a request names cannot be read: the asker's fault, not the picture's."""


class _Region(io.RawIOBase):
    """A part of an open file, as a file of its own."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError("a seek to before the start")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(len(buffer), self._size - self._at))
        data = os.pread(self._descriptor, wanted, self._offset + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def answer(request: dict[str, Any], decoding: Decoding) -> Message:
    """Do what a request asks for. Raises `SourceFault`; a fault of the picture or video is in the answer."""
    path, offset, size = request["path"], request["offset"], request["size"]
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceFault(f"{path}: {error.strerror}") from error
    try:
        if os.fstat(descriptor).st_size < offset + size:
            raise SourceFault(f"{path} ends before byte {offset + size}")
        if request["do"] == "still":
            return _still(
                io.BufferedReader(_Region(descriptor, offset, size), 1 << 16), bytes.fromhex(request["blake2b"])
            )
        payload = os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)
    if request["do"] == "thumbnail":
        return Message({}, thumbnail(payload, request["side"]) or b"")
    return _picture(payload, decoding)


def _picture(payload: bytes, decoding: Decoding) -> Message:
    verdict, picture = gate(payload, decoding)
    if picture is None:
        return Message({"verdict": asdict(verdict)})
    assert verdict.width is not None
    assert verdict.height is not None
    from imgmine.images.hashes import Hashes  # `main` has seen to its memory

    size = verdict.width, verdict.height
    small = reduced(picture, size)
    del picture  # what comes now needs memory too
    return Message({"verdict": asdict(verdict), "hashes": Hashes.of(small, size).plain()}, preview_jpeg(small))


def _still(video: io.BufferedReader, blake2b: bytes) -> Message:
    try:
        png, frame_time = still(video, blake2b)
    except NoStill as error:
        return Message({"failed": str(error)})
    return Message({"frame_time": frame_time}, png)


def serve(requests: BinaryIO, answers: BinaryIO, cpu_s: float, decoding: Decoding) -> None:
    """Answer requests until there are no more. One that takes more than `cpu_s` of the processor ends the process.

    An answer is what a fresh process would give: where what came before leaves a file less memory, and it fails, and
    that may be why, the answer is `again`, and the asker's to ask of a fresh one.
    """

    def read(count: int) -> bytes:
        data = requests.read(count)
        if len(data) < count:
            raise EOFError
        return data

    fresh_size = _address_space()
    is_fresh = True
    while True:
        try:
            request = receive(read).head
        except EOFError:
            return
        message = _timed_answer(request, cpu_s, decoding)
        if not is_fresh and _has_failed(message):
            with _more_memory(_address_space() - fresh_size):
                same = _timed_answer(request, cpu_s, decoding) == message
            if not same:
                message = Message({"again": True})
        is_fresh = False
        answers.write(encode(message))
        answers.flush()


def _timed_answer(request: dict[str, Any], cpu_s: float, decoding: Decoding) -> Message:
    try:
        # The kernel counts, and ends even a loop in C. It counts this process alone: by the clock, a busy machine
        # would have other verdicts than an idle one.
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        return answer(request, decoding)
    except SourceFault as error:
        return Message({"fault": str(error)})
    except MemoryError:
        return Message({"failed": "needs more memory than a decoder may have"})
    except Exception as error:  # a fault of ours, and no reason to take this process from the files that come after
        return Message({"failed": f"a fault of the decoder: {type(error).__name__}: {error}"[:_MOST_WORDS]})
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _has_failed(message: Message) -> bool:
    """Say whether more memory could have led to another answer. libjpeg calls the data broken then."""
    head = message.head
    if "fault" in head:
        return False
    if "verdict" in head:
        return head["verdict"]["decision"] in (ImageDecision.UNDECODABLE, ImageDecision.TRUNCATED)
    return "failed" in head or not message.body


def _address_space() -> int:
    """Return how many bytes of addresses the process takes, as `RLIMIT_AS` counts them; 0 where there is no limit."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@contextmanager
def _more_memory(extra: int) -> Iterator[None]:
    """Lift the limit by what earlier files have left: OpenCV's mappings, and memory that was freed and is kept."""
    if sys.platform != "linux":
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (min(soft + max(0, extra), hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _end_with(parent: int) -> None:
    """Have the kernel end this process with its parent, even in the middle of a decode.

    Elsewhere than on Linux it ends when it next reads from standard input.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS refuses
        resource.setrlimit(resource.RLIMIT_AS, (memory, 2 * memory))  # `_more_memory` lifts it


def _load_hashes() -> None:
    """Load NumPy: its memory is not taken from the pictures'."""
    from imgmine.images.hashes import Hashes

    Hashes.of(Image.new("RGB", (128, 128)), (128, 128))


def main() -> None:
    """Run the worker."""
    parent, memory, cpu_s, decoding = sys.argv[1:]
    _end_with(int(parent))
    bare = _address_space()
    _load_hashes()
    _limit(int(memory) + _address_space() - bare)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the parent's to handle
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # it ends the process, whatever the parent does with it
    answers = os.fdopen(os.dup(1), "wb")
    answers.write(encode(Message({"ready": True})))
    answers.flush()
    # From here on nothing but answers may reach the pipe, and what C libraries say of hostile files reaches no log.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    serve(sys.stdin.buffer, answers, float(cpu_s), Decoding(decoding))


if __name__ == "__main__":
    main()
