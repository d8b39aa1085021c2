"""A file on its way into the cache: its `.part` and journal, its digests as it grows, its name once it is whole.

Where the bytes come from is `download`'s. Beside `<name>` there can be `<name>.part` (what has arrived),
`<name>.part.json` (which file on the server that is a part of), `<name>.part.arrived` (which bytes of it are there, see
`arrivals`) and `<name>.ok` (what was found right, and when). A name too long for that has a digest in its place.
"""

import errno
import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from imgmine.archives.arrivals import PIECE, Arrivals
from imgmine.archives.cache import make_folder
from imgmine.archives.item import ItemFile
from imgmine.errors import ImgmineError

_HASH_BLOCK = 1 << 20
_LONGEST_NAME = 255  # bytes, on nearly every file system
_LONGEST_SUFFIX = len(".part.json.pending")
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DiskFull(ImgmineError):
    """The disk with the cache has no room for what is being fetched."""


class CacheLost(ImgmineError):
    """What is being fetched was taken out of the cache meanwhile, or the cache itself was."""


class FetchBusy(ImgmineError):
    """Another process is fetching the same file into the same cache."""


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server says about which bytes it has, in its own words."""

    etag: str | None
    last_modified: str | None

    def differ_from(self, other: "Validators") -> bool:
        """Whether these are another file's. IA keeps each file on two machines: one agreement is enough."""
        pairs = [(self.etag, other.etag), (self.last_modified, other.last_modified)]
        known = [(mine, theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
        return bool(known) and all(mine != theirs for mine, theirs in known)


class PartFile:
    """The `.part` of one file, held by one process at a time, with the MD5 and SHA-1 following what is written.

    Opening it keeps what an earlier run left if that is a part of the file that `expected` describes. Threads may write
    different pieces of it. The digests are read back from the file, behind the writers and in threads of their own: so
    the bytes of an earlier run need no path of their own, and what is checked is what is in the file. SHA-1 is made
    only where `expected` has one. Raises `FetchBusy` and `CacheUnusable`; what writes raises `CacheLost` where the file
    has lost its name.
    """

    def __init__(self, path: Path, expected: ItemFile, piece_bytes: int = PIECE) -> None:
        self.path = path
        self.expected = expected
        self._part = part_path(path)
        self._journal = _beside(path, ".part.json")
        make_folder(path.parent)
        self._fd = self._open_locked()
        self._arrived = Arrivals(_beside(path, ".part.arrived"), piece_bytes)
        self._following = threading.Lock()
        self._md5 = _Follower(self._fd, "md5")
        self._sha1 = _Follower(self._fd, "sha1") if expected.sha1 else None
        self.validators = self._read_journal()
        size = os.fstat(self._fd).st_size
        if self.validators is None or (expected.size is not None and size > expected.size):
            self.restart()
        else:
            self._arrived.cut(size)
            self._follow()

    @property
    def position(self) -> int:
        """How many bytes have arrived from the first one on without a gap."""
        return self._arrived.prefix

    @property
    def received(self) -> int:
        """How many bytes have arrived."""
        return self._arrived.received

    def missing(self) -> list[tuple[int, int | None]]:
        """Return the spans that have not arrived, in the order of the file, none over the border of a piece."""
        return list(self._arrived.missing(self.expected.size))

    def _open_locked(self) -> int:
        while True:
            fd = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Between the two calls another process may have given this file its final name: that one is not ours.
                if os.path.samestat(os.fstat(fd), self._part.stat()):
                    return fd
            except BlockingIOError:
                os.close(fd)
                message = f"{self.path} is being fetched by another process. Wait for it, or end it."
                raise FetchBusy(message) from None
            except FileNotFoundError:
                pass
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for follower in self._followers:
            follower.stop()
        self._arrived.close()
        os.close(self._fd)

    @property
    def _followers(self) -> list["_Follower"]:
        return [self._md5] if self._sha1 is None else [self._md5, self._sha1]

    def _follow(self) -> None:
        # Under a lock: one who is overtaken must not send the followers back.
        with self._following:
            for follower in self._followers:
                follower.follow_to(self._arrived.prefix)

    def _read_journal(self) -> Validators | None:
        journal = _read_json(self._journal)
        if journal.keys() != {"size", "md5", "piece", "etag", "last_modified"}:
            return None
        known = (self.expected.size, self.expected.md5, self._arrived.piece_bytes)
        if (journal["size"], journal["md5"], journal["piece"]) != known:
            return None
        return Validators(journal["etag"], journal["last_modified"])

    def belongs_to(self, validators: Validators) -> None:
        """Note, before the first byte of it is written, which file on the server this is a part of."""
        if validators != self.validators:
            of_whom = {"size": self.expected.size, "md5": self.expected.md5, "piece": self._arrived.piece_bytes}
            with self._in_place():
                _write_json(self._journal, {**of_whom, **asdict(validators)})
            self.validators = validators

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes that follow those that their piece has. Raises `DiskFull`, with what fitted kept."""
        view = memoryview(data)
        end = offset
        try:
            with self._in_place():
                while view:
                    written = os.pwrite(self._fd, view, end)
                    end += written
                    view = view[written:]
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise no_room(self.path, os.strerror(error.errno or 0)) from error
            raise
        finally:
            self._arrived.add(offset, end)
            self._follow()

    def forget_after_gap(self) -> None:
        """Keep only what has arrived from the first byte on without a gap."""
        self._arrived.cut(self._arrived.prefix)

    def restart(self) -> None:
        """Throw away what has arrived."""
        for follower in self._followers:
            follower.restart()
        self._journal.unlink(missing_ok=True)
        self._arrived.clear()
        os.ftruncate(self._fd, 0)
        self.validators = None

    def discard(self) -> None:
        """Take the part away altogether."""
        self.restart()
        self._arrived.remove()
        self._part.unlink(missing_ok=True)

    def md5(self) -> str:
        """Return the MD5 of all that has arrived from the first byte on without a gap, in hexadecimal."""
        return self._md5.digest()

    def sha1(self) -> str | None:
        """Return the SHA-1 of the same; None where the file is expected to have none."""
        return None if self._sha1 is None else self._sha1.digest()

    def publish(self, md5: str) -> Path:
        """Flush to the disk, give the file its name, note that it was found right; return its path."""
        os.fsync(self._fd)
        with self._in_place():
            self._part.replace(self.path)
            _sync_folder(self.path.parent)
            self._journal.unlink(missing_ok=True)
            self._arrived.remove()
            mark_verified(self.path, md5)
        return self.path

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """See that the part has its name yet: a file that was removed takes gigabytes, and then they are nowhere."""
        try:
            has_name = os.path.samestat(os.fstat(self._fd), self._part.stat())
            if has_name:
                yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _lost(self._part) from error
        if not has_name:
            raise _lost(self._part)


class _Follower:
    """Hashes an open file as far as its writer has come, in a thread; the page cache still has what it reads."""

    def __init__(self, fd: int, algorithm: str) -> None:
        self._fd = fd
        self._algorithm = algorithm
        self._changed = threading.Condition()
        self._hash = hashlib.new(algorithm, usedforsecurity=False)
        self._done = 0
        self._target = 0
        self._stopped = False
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name=algorithm, daemon=True)
        self._thread.start()

    def follow_to(self, position: int) -> None:
        with self._changed:
            self._target = position
            self._changed.notify_all()

    def restart(self) -> None:
        with self._changed:
            # A block that is being hashed just now goes into the old hash, which nobody asks any more.
            self._hash = hashlib.new(self._algorithm, usedforsecurity=False)
            self._done = self._target = 0

    def digest(self) -> str:
        with self._changed:
            self._changed.wait_for(lambda: self._done == self._target or self._failure is not None)
            if self._failure is not None:
                raise self._failure
            return self._hash.hexdigest()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        block = memoryview(bytearray(_HASH_BLOCK))
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._done < self._target)
                if self._stopped:
                    return
                current, offset, wanted = self._hash, self._done, min(_HASH_BLOCK, self._target - self._done)
            try:
                read = os.preadv(self._fd, [block[:wanted]], offset)
                failure = None if read else OSError(errno.EIO, "the file is shorter than what was written to it")
            except OSError as error:
                read, failure = 0, error
            current.update(block[:read])
            with self._changed:
                if current is not self._hash:
                    continue
                self._done += read
                self._failure = failure
                self._changed.notify_all()
                if failure is not None:
                    return


def part_path(path: Path) -> Path:
    """Return where a file is while it arrives."""
    return _beside(path, ".part")


def mark_verified(path: Path, md5: str) -> None:
    """Note beside a file that it has this MD5, so that a rerun need not read gigabytes to know it."""
    stat = path.stat()
    _write_json(_verified_note(path), {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "md5": md5})


def is_verified(path: Path, expected: ItemFile) -> bool:
    """Return whether the file is there, has been found right, and has not been touched since."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return False
    note = _read_json(_verified_note(path))
    untouched = note.get("size") == stat.st_size and note.get("mtime_ns") == stat.st_mtime_ns
    return untouched and expected.size in {None, stat.st_size} and expected.md5 in {None, note.get("md5")}


def verify(path: Path, expected: ItemFile) -> bool:
    """Read a file whole and return whether it is the one expected, by its MD5; note it if so."""
    if expected.size not in {None, path.stat().st_size}:
        return False
    with path.open("rb") as stream:
        md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if expected.md5 not in {None, md5}:
        return False
    mark_verified(path, md5)
    return True


def remove(path: Path) -> None:
    """Take a file and the note beside it away."""
    _verified_note(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def no_room(path: Path, reason: str) -> DiskFull:
    """Say that the disk is full in a way that helps."""
    return DiskFull(
        f"{path}: {reason}. Free room on that disk (archives in {path.parent.parent} that are mined can go), or set "
        "IMGMINE_CACHE to a larger one. What has arrived is kept: the next run goes on from there."
    )


def _lost(part: Path) -> CacheLost:
    return CacheLost(
        f"{part} was removed or replaced while it was being fetched, or the cache was; what had arrived is lost. Run "
        "it again, and leave the folder alone meanwhile, or set IMGMINE_CACHE to another."
    )


def _verified_note(path: Path) -> Path:
    return _beside(path, ".ok")


def _beside(path: Path, suffix: str) -> Path:
    """Return the path of what is kept beside a file. All suffixes fit behind the file's name, or none is put there."""
    name = os.fsencode(path.name)
    fits = len(name) + _LONGEST_SUFFIX <= _LONGEST_NAME
    stem = path.name if fits else hashlib.blake2b(name, digest_size=16).hexdigest()
    return path.with_name(f"{stem}{suffix}")


def _read_json(path: Path) -> dict[str, Any]:
    """Return a small JSON document of ours; empty where it is missing or was cut short."""
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _write_json(path: Path, document: dict[str, Any]) -> None:
    pending = path.with_name(f"{path.name}.pending")
    pending.write_text(json.dumps(document, sort_keys=True))
    pending.replace(path)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
