"""Fetching an archive's WARC files into the cache: over several connections, resumed at the byte, checked whole.

What is on disk meanwhile is `part_file`'s business; what a server answers, `remote_file`'s.
"""

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import requests

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.arrivals import PIECE
from imgmine.archives.cache import make_folder
from imgmine.archives.item import Item, ItemFile
from imgmine.archives.part_file import PartFile, is_verified, no_room, part_path, remove, verify
from imgmine.archives.remote_file import FetchFailed, FileChanged, RemoteFile, WrongBytes
from imgmine.archives.retry import TemporaryFailure

CONNECTIONS = 2

_REFETCHES = 2
_RESTARTS = 3
_PROGRESS_SECONDS = 0.5


class Progress(NamedTuple):
    """How far an archive has come: `done` of `total` bytes, `received` bytes in this run, at `rate` bytes a second."""

    done: int
    total: int
    received: int
    rate: float

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this rate; None while nothing comes."""
        return (self.total - self.done) / self.rate if self.rate else None


ProgressCallback = Callable[[Progress], None]


def fetch_archive(
    client: ArchiveOrg,
    item: Item,
    cache: Path,
    progress: ProgressCallback | None = None,
    *,
    connections: int = CONNECTIONS,
    piece_bytes: int = PIECE,
) -> list[Path]:
    """Have every WARC file of the item, checked, in `<cache>/<identifier>/`; return their paths in name order.

    What is there and was checked is not read again; what is there in part is resumed. A file comes in pieces of
    `piece_bytes`, in the order of the file, over so many connections as are allowed and there are pieces. `progress` is
    called about twice a second. Raises `Unavailable` (do not retry), `FetchFailed` and `WrongBytes` (later may be
    better), `DiskFull`, and `CacheUnusable` or `CacheLost` where the cache is no folder or is taken away meanwhile.
    """
    item.require_available()
    folder = cache / item.identifier
    missing = sum(_missing_bytes(folder, file) for file in item.warcs)
    make_folder(folder)
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise no_room(folder / item.warcs[0].name, f"{missing:,} bytes are to come and {free:,} are free")
    meter = _Meter(item.warc_bytes, progress)
    with ExitStack() as stack:
        sessions = [stack.enter_context(client.download_session()) for _ in range(connections)]
        remotes = [RemoteFile(client, item.identifier, file) for file in item.warcs]
        return [_fetch_file(remote, sessions, folder, piece_bytes, meter) for remote in remotes]


def _missing_bytes(folder: Path, file: ItemFile) -> int:
    present = 0
    for path in (folder / file.name, part_path(folder / file.name)):
        if path.exists():
            stat = path.stat()
            # A part has holes where pieces are missing.
            present = max(present, min(stat.st_size, stat.st_blocks * 512))
    return max(0, (file.size or 0) - present)


class _Meter:
    """Adds up what files bring and tells the callback, not too often. Threads may share it."""

    def __init__(self, total: int, callback: ProgressCallback | None) -> None:
        self._total = total
        self._callback = callback
        self._lock = threading.Lock()
        self._settled = 0
        self._received = 0
        self._started = self._told = time.monotonic()

    def received(self, count: int, arrived: int) -> None:
        """Bytes came; of the current file so many have arrived in all."""
        with self._lock:
            self._received += count
            if time.monotonic() - self._told >= _PROGRESS_SECONDS:
                self._tell(self._settled + arrived)

    def settled(self, size: int) -> None:
        """A file is whole and checked."""
        with self._lock:
            self._settled += size
            self._tell(self._settled)

    def _tell(self, done: int) -> None:
        self._told = time.monotonic()
        if self._callback is not None:
            rate = self._received / max(self._told - self._started, 1e-9)
            self._callback(Progress(done, max(done, self._total), self._received, rate))


def _fetch_file(
    remote: RemoteFile, sessions: Sequence[requests.Session], folder: Path, piece_bytes: int, meter: _Meter
) -> Path:
    """Have one file in the folder, whole and checked."""
    file = remote.file
    path = folder / file.name
    if not is_verified(path, file):
        with PartFile(path, file, piece_bytes) as part:
            if path.exists() and (is_verified(path, file) or verify(path, file)):
                part.discard()
            else:
                remove(path)
                _fill_and_check(remote, sessions, part, meter)
    meter.settled(path.stat().st_size)
    return path


def _fill_and_check(remote: RemoteFile, sessions: Sequence[requests.Session], part: PartFile, meter: _Meter) -> None:
    wrong: tuple[str, str, str] = ("", "", "")
    for _ in range(_REFETCHES + 1):
        _fill(remote, sessions, part, meter)
        digests = [("MD5", remote.file.md5, part.md5()), ("SHA-1", remote.file.sha1, part.sha1())]
        unlike = [(name, known, found or "") for name, known, found in digests if known not in {None, found}]
        if not unlike:
            part.publish(part.md5())
            return
        name, known, found = unlike[0]
        wrong = (name, known or "", found)
        part.restart()
    part.discard()
    raise WrongBytes(remote.archive, remote.file.name, *wrong, tries=_REFETCHES + 1)


def _fill(remote: RemoteFile, sessions: Sequence[requests.Session], part: PartFile, meter: _Meter) -> None:
    """Have all that is missing, however often the file changes on the server or its ranges are ignored."""
    restarts = 0
    compares = True
    while True:
        try:
            return _Crew(remote, sessions, part, meter, compares).fetch_missing()
        except _RangesIgnored:
            # From here on one connection reads the file from its beginning.
            sessions = sessions[:1]
            part.forget_after_gap()
        except FileChanged:
            restarts += 1
            if restarts > 1 and remote.file.md5 is not None:
                # Perhaps IA's two machines date their copies differently. Go on: the MD5 of the whole decides.
                compares = False
            elif restarts <= _RESTARTS:
                part.restart()
            else:
                raise FetchFailed(f"{remote} changes on the server again and again. Try again later.") from None


class _RangesIgnored(Exception):
    """The server sends the whole file where a piece was asked for."""


@dataclass(slots=True)
class _Errand:
    """A span that is to be fetched; its start moves on with what arrives."""

    start: int
    end: int | None


def _errands(part: PartFile, joined: bool) -> Iterator[_Errand]:
    """Yield what is missing, in the order of the file; `joined`: pieces that follow each other are one errand."""
    last: _Errand | None = None
    for start, end in part.missing():
        if last is not None and joined and last.end == start:
            last.end = end
        else:
            if last is not None:
                yield last
            last = _Errand(start, end)
    if last is not None:
        yield last


class _Crew:
    """Fetches what is missing of a file, over one connection for each session. The caller's thread waits and retries.

    Every byte of progress makes the count of failures begin anew. While the server asks to wait, none asks it.
    """

    def __init__(
        self, remote: RemoteFile, sessions: Sequence[requests.Session], part: PartFile, meter: _Meter, compares: bool
    ) -> None:
        self._remote = remote
        self._part = part
        self._meter = meter
        self._compares = compares
        self._errands = deque(_errands(part, joined=len(sessions) == 1))
        self._sessions = sessions[: len(self._errands)]
        # Then an answer from the first byte on brings, after what is there already, all that is missing.
        self._is_the_rest = len(self._errands) == 1 and self._errands[0].end in {None, remote.file.size}
        self._has_answer = False
        self._belonging = threading.Lock()
        self._ended = threading.Event()
        self._may_ask = threading.Event()
        self._may_ask.set()

    def fetch_missing(self) -> None:
        """Return when nothing is missing. Raises `_RangesIgnored`, `FileChanged`, and what ends a download."""
        if not self._sessions:
            return
        failures, before = 0, self._part.received
        with ThreadPoolExecutor(len(self._sessions), "fetch") as pool:
            try:
                working = {pool.submit(self._work, session): session for session in self._sessions}
                while working:
                    for future in wait(working, return_when=FIRST_COMPLETED).done:
                        session = working.pop(future)
                        try:
                            future.result()
                        except TemporaryFailure as failure:
                            failures = 1 if self._part.received > before else failures + 1
                            before = self._part.received
                            self._wait(failures, failure)
                            working[pool.submit(self._work, session)] = session
            finally:
                self._ended.set()
                self._may_ask.set()

    def _wait(self, failures: int, failure: TemporaryFailure) -> None:
        with self._nobody_asking() if failure.retry_after else ExitStack():
            if self._remote.client.retry.wait(failures, failure):
                return
        asked = f", and the server asks to wait {failure.retry_after:.0f} s" if failure.retry_after else ""
        raise FetchFailed(
            f"{self._remote}: {failures} failures in a row at byte {self._part.position:,}; at last: {failure}{asked}. "
            "What has arrived is kept: run it again later."
        ) from failure

    @contextmanager
    def _nobody_asking(self) -> Iterator[None]:
        self._may_ask.clear()
        try:
            yield
        finally:
            self._may_ask.set()

    def _work(self, session: requests.Session) -> None:
        """Run errands until there are none; one that fails is put back for whoever comes next."""
        while True:
            self._may_ask.wait()
            if self._ended.is_set():
                return
            try:
                errand = self._errands.popleft()
            except IndexError:
                return
            try:
                self._run(errand, session)
            except TemporaryFailure:
                self._errands.appendleft(errand)
                raise

    def _run(self, errand: _Errand, session: requests.Session) -> None:
        """Write a span to the part. Raises `TemporaryFailure` where it ends early."""
        with self._remote.ask(session, errand.start, errand.end) as answer:
            if not answer.is_part and not self._is_the_rest:
                raise _RangesIgnored
            with self._belonging:
                known = self._part.validators
                # What an earlier run knew counts only for bytes that it left. Two answers of this run must be of one
                # file, even before the first byte of either is written.
                binds = self._part.received or self._has_answer
                if self._compares and binds and known and answer.validators.differ_from(known):
                    raise FileChanged
                self._has_answer = True
                if self._compares or known is None:
                    self._part.belongs_to(answer.validators)
            surplus = errand.start - answer.start  # a server that ignores ranges sends from the first byte on
            for data in answer.blocks():
                if self._ended.is_set():
                    return
                new = memoryview(data)[surplus:]
                surplus = max(0, surplus - len(data))
                if errand.end is not None and errand.start + len(new) > errand.end:
                    raise TemporaryFailure(f"the server sends more than the bytes up to {errand.end:,}")
                try:
                    self._part.write(errand.start, new)
                finally:
                    self._meter.received(len(data), self._part.received)
                errand.start += len(new)
            end = answer.total if errand.end is None else errand.end
        if end is not None and errand.start != end:
            raise TemporaryFailure(f"the answer ended at byte {errand.start:,} of {end:,}")
