"""A store in a local folder.

Files are written beside their place under a hidden name, flushed to the disk, and renamed: atomic on POSIX systems.
"""

import errno
import fcntl
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from imgmine.store.base import (
    PENDING,
    NotInStore,
    Store,
    StoredObject,
    StoreError,
    StoreRefused,
    check_key,
    check_prefix,
    check_range,
)

# Where files cannot be locked: a draft that nobody has written to for this long was left by a killed process.
_ABANDONED_AFTER_S = 3600

_NOTHING_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class LocalStore(Store):
    """Objects as files below `root`, which is made when something is first put."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.url = str(self.root)
        self._swept: set[Path] = set()

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    @contextmanager
    def _writing(self, key: str, publish: Callable[[Path, Path], object] = os.replace) -> Iterator[BinaryIO]:
        """Write a draft; `publish(draft, path)` gives it its name."""
        path = self._path(key)
        pending = path.with_name(f"{PENDING}{uuid.uuid4().hex}")
        try:
            _make_folder(path.parent)
            self._remove_abandoned(path.parent)
            with _open_held(pending) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
                # While it is held: who looks for drafts of killed processes would take this one for such.
                publish(pending, path)
            _sync_folder(path.parent)
        except OSError as error:
            raise _explained(error, self.uri(key)) from error
        finally:
            # Not there where all went well; and what hinders its removal has been told already.
            with suppress(OSError):
                pending.unlink()

    def _remove_abandoned(self, folder: Path) -> None:
        """Remove the drafts that killed processes left in the folder; looked for once by each process."""
        if folder in self._swept:
            return
        self._swept.add(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(PENDING):
                    # Gone by itself meanwhile, or another user's: neither is in the way of this put.
                    with suppress(OSError):
                        _is_abandoned(Path(entry.path), remove=True)

    def put_file(self, key: str, source: Path) -> None:
        with source.open("rb") as stream, self._writing(key) as out:
            shutil.copyfileobj(stream, out, 1 << 20)

    def put_bytes(self, key: str, data: bytes) -> None:
        with self._writing(key) as out:
            out.write(data)

    def put_new(self, key: str, data: bytes) -> bool:
        if self.stat(key) is not None:
            return False
        made: list[bool] = []
        with self._writing(key, lambda draft, path: made.append(_linked(draft, path))) as out:
            out.write(data)
        return made[0]

    def get_bytes(self, key: str) -> bytes:
        with self._reading(key) as stream:
            return stream.read()

    def get_range(self, key: str, offset: int, size: int) -> bytes:
        check_range(offset, size)
        with self._reading(key) as stream:
            stream.seek(offset)
            return stream.read(size)

    @contextmanager
    def _reading(self, key: str) -> Iterator[BinaryIO]:
        try:
            with self._path(key).open("rb") as stream:
                yield stream
        except _NOTHING_THERE:
            raise NotInStore(self.uri(key)) from None
        except OSError as error:
            raise _explained(error, self.uri(key)) from error

    def local_copy(self, key: str, folder: Path) -> Path:
        if self.stat(key) is None:
            raise NotInStore(self.uri(key))
        return self._path(key)

    def stat(self, key: str) -> StoredObject | None:
        return self._stored(self._path(key), key)

    def _stored(self, path: Path, key: str) -> StoredObject | None:
        try:
            facts = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _explained(error, self.uri(key)) from error
        if not stat.S_ISREG(facts.st_mode):
            return None
        return StoredObject(key, facts.st_size, f"{facts.st_mtime_ns}-{facts.st_ino}")

    def list(self, prefix: str) -> Iterator[StoredObject]:
        # Only the folder that the prefix names is walked: a store may hold hundreds of thousands of objects.
        folder, slash, beginning = check_prefix(prefix).rpartition("/")
        return self._walk(self.root / folder, folder + slash, beginning)

    def _walk(self, folder: Path, above: str, beginning: str = "") -> Iterator[StoredObject]:
        try:
            with os.scandir(folder) as entries:
                # With the slash that follows it in a key, a folder sorts among its neighbours as its objects do.
                names = sorted(
                    f"{entry.name}/" if entry.is_dir() else entry.name
                    for entry in entries
                    if entry.name.startswith(beginning) and not entry.name.startswith(PENDING)
                )
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise _explained(error, str(folder)) from error
        for name in names:
            if name.endswith("/"):
                yield from self._walk(folder / name, above + name)
            elif (stored := self._stored(folder / name, above + name)) is not None:
                yield stored

    def delete(self, key: str) -> None:
        try:
            self._path(key).unlink()
        except _NOTHING_THERE:
            pass
        except OSError as error:
            raise _explained(error, self.uri(key)) from error

    def mirror_path(self, prefix: str, folder: Path) -> Path:
        return self._path(prefix)

    def mirror(self, prefix: str, suffix: str, folder: Path) -> Path:
        path = self.mirror_path(prefix, folder)
        try:
            _make_folder(path)
        except OSError as error:
            raise _explained(error, str(path)) from error
        return path

    def abandoned(self, *, remove: bool = False) -> Iterator[str]:
        for path in self.root.rglob(f"{PENDING}*"):
            with suppress(OSError):  # gone by itself meanwhile, or another user's
                if _is_abandoned(path, remove=remove):
                    yield str(path)

    def check(self) -> None:
        draft = self.root / f"{PENDING}{uuid.uuid4().hex}"
        try:
            _make_folder(self.root)
            self._remove_abandoned(self.root)
            with _open_held(draft):
                draft.unlink()
            os.scandir(self.root).close()
        except OSError as error:
            raise _explained(error, self.url) from error


def _linked(draft: Path, path: Path) -> bool:
    """Give the draft a second name, unless there is something of that name."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    return True


def _open_held(draft: Path) -> BinaryIO:
    """Make the draft, and hold a lock on it, which is the kernel's and goes with the process."""
    while True:
        stream = draft.open("xb")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError:
            return stream  # no locks on this file system
        if draft.exists():
            return stream
        stream.close()  # between the two calls it was taken for one that nobody holds


def _is_abandoned(draft: Path, *, remove: bool) -> bool:
    """Return whether no process holds the draft; with `remove`, take it away then."""
    with draft.open("r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            if time.time() - draft.stat().st_mtime < _ABANDONED_AFTER_S:
                return False
        if remove:
            draft.unlink()
    return True


def _make_folder(folder: Path) -> None:
    """Make the folder, and those above it, durably."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Make what was renamed or made in the folder durable, where the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # a folder above the store, which others own
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(descriptor)


def _explained(error: OSError, uri: str) -> StoreError:
    kind = StoreError
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            advice = "The disk is full: free some space, or point IMGMINE_STORE elsewhere; then run again."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            kind = StoreRefused
            advice = "This user may not read and write there: change the permissions, or point IMGMINE_STORE elsewhere."
        case errno.EEXIST | errno.ENOTDIR | errno.EISDIR | errno.ENOTEMPTY:
            kind = StoreRefused
            advice = "A file is where a folder should be, or a folder where a file should: move it out of the store."
        case _:
            advice = "See that the folder of IMGMINE_STORE is there and can be read and written."
    return kind(f"{uri}: {error.strerror or error}. {advice}")
