"""The fuzzer itself: it tells a broken promise and keeps its input, and each target holds for its first cases."""

import sys
from pathlib import Path

import pytest

from fuzz.__main__ import main, run_mutated
from fuzz.mutation import cases
from fuzz.target import Target, promise
from fuzz.targets import NAMES


def _no_long_runs(case: bytes) -> None:
    promise(b"\0\0\0" not in case, "no long runs")


FRAGILE = Target("fragile", lambda: [b"abc\0\0def"], _no_long_runs, tokens=(b"\0",))


@pytest.mark.parametrize("name", NAMES)
def test_promises_hold_for_the_first_cases(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["fuzz", name, "--cases", "150", "--seed", "1", "--unguided", "--found", str(tmp_path)]
    )
    assert main() == 0
    assert f"{name}: 150 cases" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_broken_promise_is_told_and_its_input_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not run_mutated(FRAGILE, 100_000, 1, tmp_path)
    (kept,) = tmp_path.iterdir()
    assert b"\0\0\0" in kept.read_bytes()
    assert f"--case {kept}" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_cases() -> None:
    def first(seed: int) -> list[bytes]:
        made = cases([b"some seed", b"\xff\xd8another"], [b"token"], 64, seed)
        return [next(made) for _ in range(500)]

    assert first(3) == first(3)
    assert first(3) != first(4)
    assert all(len(case) <= 64 for case in first(3))
