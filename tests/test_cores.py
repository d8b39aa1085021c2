"""A container with a quota of processor time is not given as many decoders as its host has cores."""

import math
from pathlib import Path

import pytest

from imgmine.cores import cpu_quota, usable_cores


def mounted(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_max", ".max")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "own", "quota"),
    [
        ({"cpu_max": "max 100000\n"}, "0::/\n", math.inf),
        ({"cpu_max": "250000 100000\n"}, "0::/\n", 2.5),
        ({"a__b__cpu_max": "max 100000", "a__cpu_max": "150000 100000"}, "0::/a/b\n", 1.5),
        ({"a__cpu_max": "150000 100000"}, "0::/b\n", math.inf),
        ({"cpu_max": "nonsense"}, "nonsense", math.inf),
        ({}, "4:memory:/x\n0::/../../y\n", math.inf),
    ],
)
def test_the_least_quota_counts_of_a_group_and_those_around_it(
    tmp_path: Path, files: dict[str, str], own: str, quota: float
) -> None:
    (tmp_path / "own").write_text(own)
    assert cpu_quota(mounted(tmp_path / "cgroup", **files), tmp_path / "own") == quota


@pytest.mark.parametrize(("quota", "cores"), [("-1", math.inf), ("400000", 4.0)])
def test_the_first_version_of_control_groups(tmp_path: Path, quota: str, cores: float) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert cpu_quota(tmp_path, tmp_path / "none") == cores


def test_there_is_at_least_one() -> None:
    assert usable_cores() >= 1
