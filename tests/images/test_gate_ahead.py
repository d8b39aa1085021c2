"""Decoding as files come: bounded, every result kept, and failures told to whoever adds."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgmine.images.decoder_pool import DecoderPool, PictureRequest, StillRequest, StillResult
from imgmine.images.gate_ahead import GateAhead
from imgmine.images.gated import GatedResults, Judgement
from imgmine.images.worker_process import DecoderError
from tests.images.made_pictures import jpeg

DATA = Path(__file__).parent / "data"
COUNT = 200


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    with DecoderPool(2) as pool:
        yield pool


@pytest.fixture
def results(tmp_path: Path) -> Iterator[GatedResults]:
    with GatedResults(tmp_path / "gated", "ab") as gated:
        yield gated


@pytest.fixture
def requests(tmp_path: Path) -> list[PictureRequest]:
    pictures = [jpeg((130 + number % 40, 140)) for number in range(COUNT)]
    (tmp_path / "spool").write_bytes(b"".join(pictures))
    places, offset = [], 0
    for picture in pictures:
        places.append(PictureRequest(tmp_path / "spool", offset, len(picture)))
        offset += len(picture)
    return places


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_every_result_is_what_the_pool_says(
    decoders: DecoderPool, results: GatedResults, requests: list[PictureRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgmine.images.gate_ahead.MOST_WAITING", 50_000)  # so that the adding thread has to wait
    told: list[tuple[int, int]] = []
    with GateAhead(decoders, results) as gate:
        for number, request in enumerate(requests):
            gate.add_picture(name(number), request)
            gate.add_picture(name(number), request)
        gate.drain(lambda *now: told.append(now))
    assert len(results) == COUNT
    for number, expected in enumerate(decoders.pictures(requests)):
        assert results.find(name(number)) == Judgement.of(expected)
    assert all(done <= total <= COUNT for done, total in told)


def test_without_results_only_stills_are_made(decoders: DecoderPool, requests: list[PictureRequest]) -> None:
    path = DATA / "vp9.webm"
    video = StillRequest(path, 0, path.stat().st_size, bytes(32))
    made: list[StillResult] = []
    with GateAhead(decoders) as gate:
        gate.add_picture(name(0), requests[0])
        gate.add_video(video, made.append)
        gate.drain()
    assert made == list(decoders.stills([video]))


def test_what_fails_in_another_thread_is_told_to_the_one_that_adds(
    decoders: DecoderPool, results: GatedResults, requests: list[PictureRequest]
) -> None:
    missing = PictureRequest(requests[0].path.with_name("missing"), 0, 10)
    with GateAhead(decoders, results) as gate:
        gate.add_picture(name(0), missing)
        with pytest.raises(DecoderError, match="missing"):
            gate.drain()
        with pytest.raises(DecoderError, match="missing"):
            gate.add_picture(name(1), requests[1])


def test_what_was_forgotten_can_be_asked_for_again_and_the_file_may_go(
    decoders: DecoderPool, results: GatedResults, requests: list[PictureRequest]
) -> None:
    with GateAhead(decoders, results) as gate:
        for number, request in enumerate(requests):
            gate.add_picture(name(number), request)
        gate.forget()
        content = requests[0].path.read_bytes()
        requests[0].path.unlink()
        gate.drain()
        requests[0].path.write_bytes(content)
        for number, request in enumerate(requests):
            gate.add_picture(name(number), request)
        gate.drain()
    assert len(results) == COUNT


def test_leaving_does_not_wait_for_what_has_not_begun(
    decoders: DecoderPool, results: GatedResults, requests: list[PictureRequest]
) -> None:
    before = threading.active_count()
    with GateAhead(decoders, results) as gate:
        for number, request in enumerate(requests):
            gate.add_picture(name(number), request)
    assert threading.active_count() == before
    gate.drain()
    assert len(results) < COUNT
