"""Which archives the cache keeps: those in use, those not read yet, and of the others the ones that were used last.

How files come into it is `download`'s; whether one is what it should be, `part_file`'s.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from imgmine.errors import PersonNeeded

_USES = ".uses"


class CacheUnusable(PersonNeeded):
    """Where a folder of the cache should be is something else."""


def make_folder(folder: Path) -> None:
    """Have a folder of the cache, and those above it. Raises `CacheUnusable`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        wrong = next(
            (path for path in (folder, *folder.parents) if os.path.lexists(path) and not path.is_dir()), folder
        )
        message = f"{wrong} is not a folder. Move it away, or set IMGMINE_CACHE to a folder for archives."
        raise CacheUnusable(message) from error


@contextmanager
def in_use(cache: Path, archive: str) -> Iterator[None]:
    """Keep an archive from being removed meanwhile, and note the time. Many may use it at once.

    Raises `CacheUnusable`.
    """
    note = cache / _USES / archive
    make_folder(note.parent)
    with note.open("w") as use:
        fcntl.flock(use, fcntl.LOCK_SH)
        os.utime(note)
        yield


def make_room(cache: Path, limit: int, needed: int, may_go: Callable[[str], bool]) -> list[str]:
    """Remove archives, those unused for longest first, until `needed` more bytes fit into `limit`; return them.

    Only archives that `may_go` allows and nobody uses are removed, so that there may be more than `limit` in the end.
    One that is removed in part because the process was killed goes the next time, or is fetched again. Raises
    `CacheUnusable`.
    """
    make_folder(cache)
    sizes = {archive: _size(cache / archive) for archive in cached(cache)}
    held = sum(sizes.values())
    removed = []
    for archive in sorted(sizes, key=lambda name: (_last_use(cache, name), name)):
        if held + needed <= limit:
            break
        if may_go(archive) and _remove(cache, archive):
            removed.append(archive)
            held -= sizes[archive]
    return removed


def cached(cache: Path) -> list[str]:
    """Return the archives of which the cache has anything."""
    folders = cache.iterdir() if cache.is_dir() else ()
    return sorted(folder.name for folder in folders if folder.is_dir() and folder.name != _USES)


def forget(cache: Path, archive: str) -> None:
    """Remove an archive, and the note of its last use. That nobody uses it the caller sees to."""
    shutil.rmtree(cache / archive, ignore_errors=not (cache / archive).exists())
    (cache / _USES / archive).unlink(missing_ok=True)


def _remove(cache: Path, archive: str) -> bool:
    note = cache / _USES / archive
    note.parent.mkdir(parents=True, exist_ok=True)
    with note.open("a") as use:
        try:
            fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(cache / archive)
    return True


def _last_use(cache: Path, archive: str) -> float:
    """When it was used last, as far as that is known: one that was fetched by an earlier version goes first."""
    try:
        return (cache / _USES / archive).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
