import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil
import pytest

from imgmine.decisions import ImageDecision
from imgmine.images.decoder_pool import (
    IN_FLIGHT,
    LEAST_MEMORY,
    DecoderError,
    DecoderPool,
    PictureRequest,
    PictureResult,
    StillRequest,
)
from imgmine.images.decoding import Decoding
from imgmine.images.gate import gate
from imgmine.images.hashes import Hashes
from imgmine.images.previews import preview_jpeg, reduced
from imgmine.images.stills import still
from imgmine.images.wire import Message
from imgmine.images.worker_process import WorkerProcess
from tests.images.made_pictures import encoded, jpeg, moving, photograph, png_of

DATA = Path(__file__).parent / "data"
GOOD = jpeg((640, 427))
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")


@cache
def slow_picture() -> bytes:
    """Return a picture that takes half a second, and 160 MB, to decode."""
    return png_of(8000, 5000, bytes((8000 * 3 + 1) * 5000))


class Spool:
    """Files end to end in one local file, as the stages hand them over."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "spool"
        self.path.touch()

    def add(self, payload: bytes) -> PictureRequest:
        offset = self.path.stat().st_size
        with self.path.open("ab") as stream:
            stream.write(payload)
        return PictureRequest(self.path, offset, len(payload))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


@pytest.fixture
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(2) as decoders:
        yield decoders


def workers() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        try:
            if "imgmine.images.worker" in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            pass
    return found


def one(pool: DecoderPool, request: PictureRequest) -> PictureResult:
    (result,) = pool.pictures([request])
    return result


def busy_worker(other_than: psutil.Process | None = None) -> psutil.Process:
    """Return a worker once it is in the middle of the slow picture."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for worker in workers():
            try:
                if worker != other_than and worker.memory_info().rss > 60 << 20:
                    return worker
            except psutil.NoSuchProcess:
                pass
        time.sleep(0.005)
    raise TimeoutError("no worker at work")


def test_a_picture_gets_what_the_gate_says(pool: DecoderPool, spool: Spool) -> None:
    spool.add(b"something before it")
    result = one(pool, spool.add(GOOD))
    verdict, picture = gate(GOOD)
    assert picture is not None
    assert result.verdict == verdict
    assert result.preview == preview_jpeg(reduced(picture))
    assert result.hashes == Hashes.of(reduced(picture), picture.size)


def test_a_dropped_picture_has_its_verdict_alone(pool: DecoderPool, spool: Spool) -> None:
    payloads = [moving("GIF", 3), GOOD[: len(GOOD) // 2], b"text", b"", png_of(20_000, 20_000)]
    for payload, result in zip(payloads, pool.pictures([spool.add(payload) for payload in payloads]), strict=True):
        assert result.verdict == gate(payload).verdict
        assert (result.preview, result.hashes) == (None, None)


def test_results_come_in_order_whatever_the_number_of_workers(spool: Spool) -> None:
    payloads = [slow_picture(), *(jpeg((130 + 7 * number, 140)) for number in range(80)), b"text", GOOD]
    requests = [spool.add(payload) for payload in payloads]
    with DecoderPool(1) as alone, DecoderPool(3) as three:
        expected = list(alone.pictures(requests))
        assert list(three.pictures(requests)) == expected
    assert [result.request for result in expected] == requests
    assert [result.verdict.width for result in expected[1:-2]] == [130 + 7 * number for number in range(80)]


def test_what_is_under_way_is_bounded_by_its_bytes(pool: DecoderPool, spool: Spool) -> None:
    spool.add(bytes(40 << 20))
    small, taken = spool.add(GOOD), 0
    large = PictureRequest(spool.path, 0, 40 << 20)

    def requests(request: PictureRequest) -> Iterator[PictureRequest]:
        nonlocal taken
        taken = 0
        while True:
            taken += 1
            yield request

    for request, most in ((large, 4), (small, IN_FLIGHT // len(GOOD))):
        results = pool.pictures(requests(request))
        for number in range(1, 20):
            next(results)
            assert taken <= number + most


def test_a_picture_may_be_submitted_as_it_comes(pool: DecoderPool, spool: Spool) -> None:
    request = spool.add(GOOD)
    assert pool.submit_picture(request).result() == one(pool, request)
    path = DATA / "vp9.webm"
    video = StillRequest(path, 0, path.stat().st_size, bytes(32))
    assert [pool.submit_still(video).result()] == list(pool.stills([video]))


def test_a_still_is_the_one_that_the_videos_hash_chooses(pool: DecoderPool) -> None:
    for name in ("b_frames.mp4", "vp9.webm"):
        path, digest = DATA / name, bytes(range(32))
        (result,) = pool.stills([StillRequest(path, 0, path.stat().st_size, digest)])
        with path.open("rb") as video:
            assert (result.png, result.frame_time) == still(video, digest)
        assert result.detail is None


def test_a_video_in_the_middle_of_a_file_is_read_from_there(pool: DecoderPool, spool: Spool) -> None:
    clip = (DATA / "vp8.webm").read_bytes()
    spool.add(GOOD)
    place = spool.add(clip)
    spool.add(GOOD)
    path = DATA / "vp8.webm"
    inside = StillRequest(place.path, place.offset, place.size, b"\x80" * 32)
    results = list(pool.stills([inside, StillRequest(path, 0, len(clip), b"\x80" * 32)]))
    assert results[0].png is not None
    assert results[0].png == results[1].png


def test_what_is_no_video_has_a_reason(pool: DecoderPool, spool: Spool) -> None:
    request = spool.add(b"no video" * 50)
    (result,) = pool.stills([StillRequest(request.path, request.offset, request.size, bytes(32))])
    assert (result.png, result.frame_time, result.detail) == (None, None, "not readable as a video")


def test_thumbnails_are_made_of_dropped_pictures_too(pool: DecoderPool, spool: Spool) -> None:
    payloads = [moving("GIF", 3), encoded(photograph().convert("RGBA"), "PNG"), GOOD, b"text", png_of(20_000, 20_000)]
    made = list(pool.thumbnails([spool.add(payload) for payload in payloads], 64))
    assert [thumbnail is not None for thumbnail in made] == [True, True, True, False, False]
    assert all(thumbnail is None or thumbnail.startswith(b"\xff\xd8") for thumbnail in made)


def test_a_worker_killed_once_costs_nothing(spool: Spool) -> None:
    requests = [spool.add(slow_picture()), spool.add(GOOD)]
    with DecoderPool(1) as pool:
        expected = list(pool.pictures(requests))
        killer = threading.Thread(target=lambda: busy_worker().kill())
        killer.start()
        assert list(pool.pictures(requests)) == expected
        killer.join()
    assert expected[0].verdict.decision is ImageDecision.KEPT


def test_a_worker_killed_while_it_waits_costs_nothing(spool: Spool) -> None:
    request = spool.add(GOOD)
    with DecoderPool(1) as pool:
        expected = one(pool, request)
        workers()[0].kill()
        assert one(pool, request) == expected


def test_a_file_that_kills_its_workers_costs_that_file_alone(spool: Spool) -> None:
    slow, good = spool.add(slow_picture()), spool.add(GOOD)

    def kill_two() -> None:
        first = busy_worker()
        first.send_signal(signal.SIGSEGV)
        busy_worker(other_than=first).send_signal(signal.SIGSEGV)

    with DecoderPool(1) as pool:
        killer = threading.Thread(target=kill_two)
        killer.start()
        results = list(pool.pictures([good, slow, good]))
        killer.join()
        assert len(workers()) == 1
    decisions = [result.verdict.decision for result in results]
    assert decisions == [ImageDecision.KEPT, ImageDecision.UNDECODABLE, ImageDecision.KEPT]
    assert results[1].verdict.detail == "the decoder process died (killed by signal 11)"
    assert [result.is_final for result in results] == [True, False, True]


def test_a_worker_that_hangs_once_costs_nothing(spool: Spool) -> None:
    requests = [spool.add(GOOD), spool.add(slow_picture()), spool.add(GOOD)]
    with DecoderPool(1, patience_s=6) as pool:
        expected = list(pool.pictures(requests))
        stopper = threading.Thread(target=lambda: busy_worker().suspend())
        stopper.start()
        assert list(pool.pictures(requests)) == expected
        stopper.join()
        assert [worker.status() for worker in workers()] != [psutil.STATUS_STOPPED]
    assert [result.verdict.decision for result in expected] == ["kept", "kept", "kept"]


def test_a_file_that_hangs_its_workers_costs_that_file_alone(spool: Spool) -> None:
    slow, good = spool.add(slow_picture()), spool.add(GOOD)

    def stop_two() -> None:
        first = busy_worker()
        first.suspend()
        busy_worker(other_than=first).suspend()

    with DecoderPool(1, patience_s=3) as pool:
        stopper = threading.Thread(target=stop_two)
        stopper.start()
        results = list(pool.pictures([good, slow, good]))
        stopper.join()
    assert [result.verdict.decision for result in results] == ["kept", "undecodable", "kept"]
    assert results[1].verdict.detail == "the decoder process hung (no answer within 3 s)"
    assert [result.is_final for result in results] == [True, False, True]


def test_a_file_that_takes_too_much_of_the_processor_costs_that_file_alone(spool: Spool) -> None:
    slow, good = spool.add(slow_picture()), spool.add(GOOD)
    with DecoderPool(1, cpu_s=0.2) as pool:
        results = list(pool.pictures([good, slow, *[good] * 20]))  # which take more than 0.2 s together
    assert [result.verdict.decision for result in results] == ["kept", "undecodable", *["kept"] * 20]
    assert results[1].verdict.detail == "not decoded in 0.2 s of processor time"
    assert not results[1].is_final


def test_time_in_which_a_worker_does_not_run_is_not_counted(spool: Spool) -> None:
    slow = spool.add(slow_picture())

    def hold_up() -> None:
        worker = busy_worker()
        worker.suspend()
        time.sleep(3.5)
        worker.resume()

    with DecoderPool(1, cpu_s=3) as pool:
        holder = threading.Thread(target=hold_up)
        holder.start()
        result = one(pool, slow)
        holder.join()
    assert (result.verdict.decision, result.is_final) == (ImageDecision.KEPT, True)


@linux
def test_a_worker_that_hardly_gets_the_processor_is_waited_for(spool: Spool) -> None:
    slow = spool.add(slow_picture())

    def hold_up() -> None:
        worker = busy_worker()
        for _ in range(5):
            worker.suspend()
            time.sleep(0.7)
            worker.resume()
            time.sleep(0.04)

    with DecoderPool(1, patience_s=2) as pool:
        holder = threading.Thread(target=hold_up)
        holder.start()
        begin = time.monotonic()
        result = one(pool, slow)
        assert time.monotonic() - begin > 3
        holder.join()
    assert (result.verdict.decision, result.is_final) == (ImageDecision.KEPT, True)


def test_a_fault_of_the_decoder_itself_is_told_and_ends_no_worker(spool: Spool) -> None:
    request = {"path": str(spool.path), "offset": 0, "size": 0, "do": "still"}  # but of what?
    worker = WorkerProcess(LEAST_MEMORY, 60.0, Decoding.EXACT)
    try:
        assert worker.ask(Message(request), 60).head == {"failed": "a fault of the decoder: KeyError: 'blake2b'"}
        assert worker.alive
    finally:
        worker.close()


@linux
def test_a_picture_that_needs_too_much_memory_costs_that_picture_alone(spool: Spool) -> None:
    slow, good = spool.add(slow_picture()), spool.add(GOOD)
    with DecoderPool(1, memory_bytes=LEAST_MEMORY) as pool:
        results = list(pool.pictures([good, slow, good]))
        assert len(workers()) == 1
    assert [result.verdict.decision for result in results] == ["kept", "undecodable", "kept"]
    assert results[1].verdict.detail == "needs more memory than a decoder may have"
    assert (results[1].verdict.width, results[1].verdict.mode) == (8000, "RGB")


@linux
def test_what_was_decoded_before_takes_no_memory_from_a_picture(spool: Spool) -> None:
    noise = photograph(size=(4200, 4000))
    large = spool.add(encoded(noise, "JPEG", progressive=True, subsampling=0, quality=50))
    broken = spool.add(GOOD[:200] + bytes(len(GOOD) - 200) + b"\xff\xd9")
    path = DATA / "b_frames.mp4"
    video = StillRequest(path, 0, path.stat().st_size, bytes(32))
    with DecoderPool(1, memory_bytes=320 << 20) as pool:
        first = [one(pool, large), one(pool, broken)]
        (still_made,) = pool.stills([video])
        assert still_made.png is not None
        (used,) = workers()
        assert one(pool, broken) == first[1]
        assert workers() == [used]  # memory was not why, so that no other is asked
        assert one(pool, large) == first[0]
        assert workers() != [used]
    assert [result.verdict.decision for result in first] == ["kept", "undecodable"]


@linux
def test_workers_end_with_the_process_that_started_them(spool: Spool) -> None:
    slow = spool.add(slow_picture())
    program = f"""
        from pathlib import Path
        from imgmine.images.decoder_pool import DecoderPool, PictureRequest
        request = PictureRequest(Path({str(slow.path)!r}), 0, {slow.size})
        with DecoderPool(2) as pool:
            for _ in pool.pictures([request] * 1000):
                print("one", flush=True)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    children = psutil.Process(parent.pid).children()
    assert len(children) == 2
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert (len(gone), alive) == (2, [])


def test_closing_ends_the_workers_at_once_even_at_work(spool: Spool) -> None:
    requests = [spool.add(slow_picture())] * 50
    before = {worker.pid for worker in workers()}
    start = time.monotonic()
    with DecoderPool(2) as pool:
        next(pool.pictures(requests))
    assert {worker.pid for worker in workers()} <= before
    assert time.monotonic() - start < 30


@linux
def test_workers_hold_no_credentials(monkeypatch: pytest.MonkeyPatch, spool: Spool) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-hand-on")
    before = {worker.pid for worker in workers()}
    with DecoderPool(1) as pool:
        one(pool, spool.add(GOOD))
        (worker,) = (worker for worker in workers() if worker.pid not in before)
        assert "AWS_SECRET_ACCESS_KEY" not in worker.environ()


def test_a_source_that_cannot_be_read_is_an_error_and_no_verdict(pool: DecoderPool, spool: Spool) -> None:
    good = spool.add(GOOD)
    with pytest.raises(DecoderError, match="No such file"):
        one(pool, PictureRequest(spool.path.with_name("missing"), 0, 10))
    with pytest.raises(DecoderError, match="ends before byte"):
        one(pool, PictureRequest(good.path, good.offset, good.size + 1))
    assert one(pool, good).verdict.decision is ImageDecision.KEPT


def test_workers_that_cannot_start_are_an_error_that_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spool: Spool
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such module >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with DecoderPool(1) as pool, pytest.raises(DecoderError, match=r"does not start: exit status 3.*no such module"):
        one(pool, spool.add(GOOD))


def test_workers_that_the_machine_refuses_are_the_decoders_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spool: Spool
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    with DecoderPool(1) as pool, pytest.raises(DecoderError, match=r"cannot be started: .*No such file"):
        one(pool, spool.add(GOOD))


def test_a_pool_without_room_to_work_is_refused() -> None:
    with pytest.raises(ValueError, match="memory_bytes"):
        DecoderPool(1, memory_bytes=8 << 20)
    with pytest.raises(ValueError, match="workers"):
        DecoderPool(0)


def test_one_pool_serves_several_threads(pool: DecoderPool, spool: Spool) -> None:
    requests = [spool.add(jpeg((130 + number, 140))) for number in range(40)]
    outcomes: dict[int, list[int | None]] = {}

    def decode(start: int) -> None:
        outcomes[start] = [result.verdict.width for result in pool.pictures(requests[start:])]

    threads = [threading.Thread(target=decode, args=(start,)) for start in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {start: [130 + number for number in range(start, 40)] for start in (0, 10, 20)}
