"""Results that wait for the next stage: they come back as they were, or not at all."""

import os
from pathlib import Path

import pytest

from imgmine.decisions import ImageDecision
from imgmine.images.decoder_pool import PictureRequest, PictureResult
from imgmine.images.gate import Verdict
from imgmine.images.gated import GatedResults, Judgement
from imgmine.images.hashes import Hashes, Pdq

REQUEST = PictureRequest(Path("spool"), 0, 10)
HASHES = Hashes(2**64 - 1, Pdq(bytes(range(32)), 100))
KEPT = PictureResult(
    REQUEST, Verdict(ImageDecision.KEPT, None, 640, 427, "RGB", "JPEG", 1, "© someone"), b"\xff\xd8preview", HASHES
)
DROPPED = PictureResult(REQUEST, Verdict(ImageDecision.UNDECODABLE, "OSError: broken"), None, None)
NAMES = [bytes([number]) * 32 for number in range(10)]


def written(path: Path, results: list[PictureResult], made_by: str = "ab", **options: int) -> Path:
    with GatedResults(path, made_by, **options) as gated:
        for name, result in zip(NAMES, results, strict=False):
            gated.add(name, result)
    return path


def found(path: Path, made_by: str = "ab") -> list[Judgement | None]:
    with GatedResults(path, made_by) as gated:
        return [gated.find(name) for name in NAMES[:4]]


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    path = written(tmp_path / "gated" / "archive", [KEPT, DROPPED, KEPT])
    assert found(path) == [Judgement.of(KEPT), Judgement.of(DROPPED), Judgement.of(KEPT), None]
    with GatedResults(path, "ab") as gated:
        assert (len(gated), NAMES[0] in gated, NAMES[3] in gated) == (3, True, False)
        gated.remove()
    assert not path.exists()


@pytest.mark.parametrize("lost", [1, 20, 60])
def test_of_a_file_that_a_kill_cut_short_what_is_whole_is_used(tmp_path: Path, lost: int) -> None:
    path = written(tmp_path / "a", [KEPT, DROPPED])
    os.truncate(path, path.stat().st_size - lost)
    assert found(path) == [Judgement.of(KEPT), None, None, None]
    with GatedResults(path, "ab") as gated:
        gated.add(NAMES[2], DROPPED)
    assert found(path) == [Judgement.of(KEPT), None, Judgement.of(DROPPED), None]


def test_no_broken_byte_is_ever_used(tmp_path: Path) -> None:
    path = written(tmp_path / "a", [KEPT])
    sound = path.read_bytes()
    for position in range(len(sound)):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 1]) + sound[position + 1 :])
        assert found(path)[0] is None


def test_results_of_other_code_are_not_used(tmp_path: Path) -> None:
    path = written(tmp_path / "a", [KEPT, DROPPED])
    assert found(path, "cd") == [None] * 4


def test_what_another_time_may_end_otherwise_is_not_kept(tmp_path: Path) -> None:
    hung = PictureResult(REQUEST, Verdict(ImageDecision.UNDECODABLE, "no answer"), None, None, is_final=False)
    assert found(written(tmp_path / "a", [hung, KEPT])) == [None, Judgement.of(KEPT), None, None]


def test_beyond_its_size_and_on_a_full_disk_nothing_is_kept_and_nothing_fails(tmp_path: Path) -> None:
    path = written(tmp_path / "a", [KEPT] * 10, most_bytes=1000)
    assert path.stat().st_size <= 1000
    assert Judgement.of(KEPT) in found(path)
    (tmp_path / "full").symlink_to("/dev/full")
    assert found(written(tmp_path / "full", [KEPT])) == [None] * 4
    (tmp_path / "file").touch()
    assert found(written(tmp_path / "file" / "a", [KEPT])) == [None] * 4
