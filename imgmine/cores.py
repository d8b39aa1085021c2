"""How many processor cores there are for this process."""

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Return how many cores this process may use: of those that it may run on, what a container's quota leaves."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cpu_quota(_CGROUPS, _OWN_CGROUP))))


def cpu_quota(cgroups: Path, own: Path) -> float:
    """Return the cores' worth of time that Linux control groups (version 2, or 1) leave; infinity without a quota.

    `cgroups` is where they are mounted, `own` names those of this process.
    """
    folders = [cgroups]
    try:
        for line in own.read_text().splitlines():
            number, _, path = line.split(":", 2)
            if number == "0":
                below = cgroups / path.lstrip("/")
                folders += [folder for folder in (below, *below.parents) if folder.is_relative_to(cgroups)]
    except (OSError, ValueError):
        pass
    quotas = [_version_2(folder / "cpu.max") for folder in folders]
    return min(*quotas, _version_1(cgroups / "cpu"))


def _version_2(file: Path) -> float:
    try:
        quota, period = file.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return math.inf


def _version_1(folder: Path) -> float:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return quota / int((folder / "cpu.cfs_period_us").read_text()) if quota > 0 else math.inf
    except (OSError, ValueError):
        return math.inf
