"""A stage's working folder for one archive: emptied at the start, removed at the end, held by one process at a time.

Nothing in it outlives the stage; what must be kept across runs belongs in the cache or the store.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from imgmine.errors import ImgmineError

TABLE_STAGES = (
    "unique_files",
    "images",
    "embeddings",
    "anomaly_scores",
    "nsfw_scores",
    "watermark_scores",
    "probe_scores",
    "categories",
)
"""The stages that hold a working folder while they make an archive's tables."""

STAGES = ("raw_archives", *TABLE_STAGES)
"""All that hold one while they work on an archive."""


class StageBusy(ImgmineError):
    """Another process is at work on the same stage of the same archive."""


class ScratchFull(ImgmineError):
    """The disk with the scratch folder has no room for what a stage keeps there for a while."""


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def scratch_folder(root: Path, stage: str, archive: str) -> Iterator[Path]:
    """Hold `<root>/<stage>/<archive>/` for this process and yield it, empty.

    The lock is the kernel's and goes with the process, so a killed run leaves at most a folder that the next run of
    the same partition empties. Raises `StageBusy`, and `ScratchFull` where the stage raises that a disk is full.
    """
    try:
        with _held(root / stage, stage, archive) as folder:
            yield folder
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise ScratchFull(
            f"{root / stage / archive}: {error.strerror}. Free some space there, or point IMGMINE_HOME to a larger "
            "disk; then run again."
        ) from error


@contextmanager
def _held(parent: Path, stage: str, archive: str) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / f"{archive}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StageBusy(
                f"{stage} of {archive} is being made by another run on this machine. Wait for it, or end it."
            ) from None
        os.utime(lock.fileno())
        folder = parent / archive
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def alone_with(root: Path, stages: Sequence[str], archive: str) -> Iterator[None]:
    """Keep these stages of an archive from being made meanwhile; what killed runs left there goes.

    Raises `StageBusy` where one is being made.
    """
    with ExitStack() as held:
        for stage in stages:
            held.enter_context(scratch_folder(root, stage, archive))
        yield


def at_work_since_before(root: Path, stages: Sequence[str], moment: datetime) -> set[str]:
    """Return the archives of which one of these stages is being made, and was begun before then."""
    locks = [lock for stage in stages for lock in (root / stage).glob("*.lock")]
    early = [lock for lock in locks if datetime.fromtimestamp(lock.stat().st_mtime, UTC) < moment]
    return {lock.stem for lock in early if _is_held(lock)}


def left_behind(root: Path, archive: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield the stage and the archive of every working folder that no process holds, of one archive or of all."""
    for lock in sorted(root.glob("*/*.lock" if archive is None else f"*/{archive}.lock")):
        if lock.with_suffix("").is_dir() and not _is_held(lock):
            yield lock.parent.name, lock.stem


def _is_held(path: Path) -> bool:
    with path.open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
