"""A store in a local folder.

Files are written beside their place under a hidden name, flushed to the disk, and renamed: atomic on POSIX systems.
"""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from imgmine.store.base import NotInStore, Store, StoredObject, StoreError, check_key

_PENDING = ".pending-"


class LocalStore(Store):
    """Objects as files below `root`, which is made when something is first put."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.url = str(self.root)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    @contextmanager
    def _writing(self, key: str) -> Iterator[BinaryIO]:
        path = self._path(key)
        pending = path.with_name(f"{_PENDING}{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with pending.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            pending.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            raise _explained(error, self.uri(key)) from error
        finally:
            pending.unlink(missing_ok=True)

    def put_file(self, key: str, source: Path) -> None:
        with source.open("rb") as stream, self._writing(key) as out:
            shutil.copyfileobj(stream, out, 1 << 20)

    def put_bytes(self, key: str, data: bytes) -> None:
        with self._writing(key) as out:
            out.write(data)

    def get_bytes(self, key: str) -> bytes:
        with self._reading(key) as stream:
            return stream.read()

    def get_range(self, key: str, offset: int, size: int) -> bytes:
        with self._reading(key) as stream:
            stream.seek(offset)
            return stream.read(size)

    @contextmanager
    def _reading(self, key: str) -> Iterator[BinaryIO]:
        try:
            with self._path(key).open("rb") as stream:
                yield stream
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotInStore(self.uri(key)) from None
        except OSError as error:
            raise _explained(error, self.uri(key)) from error

    def local_copy(self, key: str, folder: Path) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise NotInStore(self.uri(key))
        return path

    def stat(self, key: str) -> StoredObject | None:
        path = self._path(key)
        return self._stored(path) if path.is_file() else None

    def _stored(self, path: Path) -> StoredObject:
        facts = path.stat()
        return StoredObject(path.relative_to(self.root).as_posix(), facts.st_size, f"{facts.st_mtime_ns}-{facts.st_ino}")

    def list(self, prefix: str) -> Iterator[StoredObject]:
        # Only the folder that the prefix names is walked: a store may hold hundreds of thousands of objects.
        folder = self.root / prefix.rpartition("/")[0]
        found = (
            Path(parent) / name
            for parent, _, names in os.walk(folder)
            for name in names
            if not name.startswith(_PENDING)
        )
        for path in sorted(found, key=lambda path: path.relative_to(self.root).as_posix()):
            if path.relative_to(self.root).as_posix().startswith(prefix):
                yield self._stored(path)

    def delete(self, key: str) -> None:
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise _explained(error, self.uri(key)) from error

    def mirror(self, prefix: str, suffix: str, folder: Path) -> Path:
        return self.root / prefix

    def check(self) -> None:
        probe = f".check-{uuid.uuid4().hex}"
        self.put_bytes(probe, b"")
        self.delete(probe)


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explained(error: OSError, uri: str) -> StoreError:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            advice = "The disk is full: free some space, or point IMGMINE_STORE elsewhere; then run again."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            advice = "This user may not write there: change its permissions, or point IMGMINE_STORE elsewhere."
        case _:
            advice = "See that the folder of IMGMINE_STORE is there and can be read and written."
    return StoreError(f"{uri}: {error.strerror or error}. {advice}")
