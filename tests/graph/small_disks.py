"""Real file systems of a few hundred kilobytes, to be filled or made read-only, for tests of what a run does then."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_ROOM = 64 << 20


@dataclass(frozen=True)
class Disk:
    """A file system of its own at a folder."""

    path: Path

    def fill(self, leave: int) -> None:
        """Have room for no more than about so many bytes from now on."""
        now = os.statvfs(self.path)
        used = (now.f_blocks - now.f_bfree) * now.f_frsize
        _mount("-o", f"remount,size={used + leave}", str(self.path))

    def make_room(self) -> None:
        """Have room for tens of megabytes."""
        _mount("-o", f"remount,size={_ROOM}", str(self.path))

    def make_read_only(self) -> None:
        """Refuse every write from now on."""
        _mount("-o", "remount,ro", str(self.path))

    def make_writable(self) -> None:
        """Take writes again."""
        _mount("-o", "remount,rw", str(self.path))

    def vanish(self) -> None:
        """Be gone, as when it is unmounted by force: files that are open can be read on."""
        subprocess.run(["umount", "--lazy", self.path], check=True, capture_output=True)


@contextmanager
def small_disk(path: Path) -> Iterator[Disk]:
    """Mount a file system at the folder, which is made; skips the test where that is not allowed."""
    path.mkdir(parents=True, exist_ok=True)
    try:
        _mount("-t", "tmpfs", "-o", f"size={_ROOM}", "tmpfs", str(path))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system may be mounted here: it takes root, on Linux")
    try:
        yield Disk(path)
    finally:
        with suppress(subprocess.CalledProcessError):  # it has vanished
            subprocess.run(["umount", "--lazy", path], check=True, capture_output=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
