"""Looking at what is kept for good: releases, whether each file that they name is there, and the log of take-downs.

Nothing is changed here. What is in an archive is `doctor`'s.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from imgmine.dataset.doctor import Finding, Kind
from imgmine.dataset.releases.packing import sha256_of
from imgmine.dataset.releases.release import Release, StoredFile, folder_of, list_versions, read_release, release_key
from imgmine.dataset.takedown.report import REPORTS
from imgmine.dataset.takedown_log import LOG, BrokenLog, TakedownLog, read_log
from imgmine.store.base import NotInStore, Store

_FROM_BACKUP = "Restore it from a backup"


def examine_releases(
    store: Store, scratch: Path | None = None, progress: Callable[[int], None] | None = None
) -> Iterator[Finding]:
    """Yield what is wrong with releases: a `release.json` that cannot be read, files that are gone or of another size.

    With `scratch`, each file's SHA-256 is compared; of a remote store one file at a time is in that folder. `progress`
    is told bytes as they are read.
    """
    for version in list_versions(store):
        try:
            release = read_release(store, version)
        except NotInStore:  # removed meanwhile
            continue
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"release.json cannot be read ({error!r})"
            yield Finding(Kind.RELEASE, None, release_key(version), message, _FROM_BACKUP)
            continue
        yield from _examine(store, release, scratch, progress)


def _examine(
    store: Store, release: Release, scratch: Path | None, progress: Callable[[int], None] | None
) -> Iterator[Finding]:
    sizes = {stored.key: stored.size for stored in store.list(f"{folder_of(release.version)}/")}
    files = [*release.documents.values(), *(file for shard in release.shards for file in shard.files.values())]
    for file in files:
        size = sizes.get(file.key)
        if size is None:
            yield _damaged(file, f"{release.version} names this file, and it is not in the store")
        elif size != file.size:
            yield _damaged(file, f"the file has {size} bytes, and {release.version} says {file.size}")
        elif scratch is not None:
            if not _is_as_named(store, file, scratch):
                yield _damaged(file, f"the file has other bytes than {release.version} was made with")
            if progress is not None:
                progress(size)


def _damaged(file: StoredFile, message: str) -> Finding:
    return Finding(Kind.RELEASE, None, file.key, message, _FROM_BACKUP)


def _is_as_named(store: Store, file: StoredFile, scratch: Path) -> bool:
    with TemporaryDirectory(dir=scratch) as folder:
        try:
            return sha256_of(store.local_copy(file.key, Path(folder))) == file.sha256
        except NotInStore:  # rewritten meanwhile
            return True


def examine_log(store: Store) -> Iterator[Finding]:
    """Yield where the log of take-downs is not as it was written.

    That last entries are gone is seen where a report was made of them.
    """
    try:
        log = read_log(store)
    except BrokenLog as error:
        yield Finding(Kind.TAKEDOWN_LOG, None, LOG, "the log of take-downs is broken", str(error).removesuffix("."))
        return
    for stored in store.list(REPORTS):
        if not _has(log, *stored.key.removeprefix(REPORTS).partition(".")[0].split("-")):
            message = "the log of take-downs is not the one any more that this report tells of"
            remedy = f"Restore the folder {LOG.rstrip('/')} from a backup"
            yield Finding(Kind.TAKEDOWN_LOG, None, stored.key, message, remedy)


def _has(log: TakedownLog, entries: str, head: str) -> bool:
    return int(entries) <= len(log.entries) and log.entries[int(entries) - 1].hash.startswith(head)
