"""Removing an archive: everything that the store and this machine have of it.

Releases that were made with it stay as they are, and so does the log of take-downs. Whether a run of it is under way
the caller knows.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from imgmine.archives.cache import forget
from imgmine.dataset.doctor import TABLES
from imgmine.images.gated import gated_file
from imgmine.places import Places
from imgmine.scratch import STAGES, alone_with
from imgmine.store.base import Store, StoredObject
from imgmine.store.tables import manifest_key, table_key


class ArchiveData(NamedTuple):
    """What there is of an archive: objects of the store in the order in which they go, and paths on this machine."""

    objects: tuple[StoredObject, ...]
    paths: tuple[Path, ...]

    @property
    def size(self) -> int:
        """Bytes of the objects."""
        return sum(stored.size for stored in self.objects)


def data_of(store: Store, places: Places, archive: str) -> ArchiveData:
    """Return everything that there is of an archive. Nothing of it makes it empty."""
    local = (gated_file(places.scratch_root, archive), places.cache / archive)
    return ArchiveData(tuple(_objects(store, archive)), tuple(path for path in local if path.exists()))


def _objects(store: Store, archive: str) -> Iterator[StoredObject]:
    """Yield the tables, what is made of others first, so that none is ever there without what it is made of; then the
    shards, which no table names any more; last the manifest, by which the archive is known.
    """
    # `files` is what makes `records` count: it goes first of the two, as it comes last.
    for key in (table_key(name, archive) for name in reversed(list(TABLES))):
        if (stored := store.stat(key)) is not None:
            yield stored
    yield from store.list(f"previews/{archive}/")
    yield from store.list(f"files/{archive}/")
    if (stored := store.stat(manifest_key(archive))) is not None:
        yield stored


def remove_archive(
    store: Store, places: Places, archive: str, progress: Callable[[int, int], None] | None = None
) -> ArchiveData:
    """Remove everything that there is of an archive and return what that was.

    Whatever kills it, a second run finishes. Raises `StageBusy` where a stage of it is being made on this machine.
    `progress(done, total)` counts objects.
    """
    with alone_with(places.scratch_root, STAGES, archive):
        data = data_of(store, places, archive)
        for done, stored in enumerate(data.objects):
            if progress is not None:
                progress(done, len(data.objects))
            store.delete(stored.key)
        gated_file(places.scratch_root, archive).unlink(missing_ok=True)
        forget(places.cache, archive)
    return data
