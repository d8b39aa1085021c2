"""Fetching an archive's WARC files into the cache: by range, resumed at the byte, checked whole before they count.

What is on disk meanwhile is `part_file`'s business; which files there are, `item`'s.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import requests
from urllib3.exceptions import HTTPError as TransportError

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.item import FileMissing, Item, ItemFile, ItemRestricted
from imgmine.archives.part_file import PartFile, Validators, is_verified, no_room, remove, verify
from imgmine.archives.retry import TEMPORARY_STATUSES, TemporaryFailure, retry_after_seconds
from imgmine.errors import ImgmineError

_READ_BLOCK = 1 << 20
_REFETCHES = 2
_RESTARTS = 3
_PROGRESS_SECONDS = 0.5


class FetchFailed(ImgmineError):
    """A file did not come, however often it was asked for. What has arrived is kept."""


class WrongBytes(ImgmineError):
    """A file came whole, several times, and is not the one that the item's metadata describes."""

    def __init__(self, archive: str, name: str, expected: str, got: str) -> None:
        super().__init__(
            f"{archive}/{name}: the MD5 should be {expected} and is {got}, after {_REFETCHES + 1} tries. IA's copy or "
            "its metadata is wrong, or something on the way changes bytes. Nothing of the file was kept."
        )
        self.archive, self.name, self.expected, self.got = archive, name, expected, got


class Progress(NamedTuple):
    """How far an archive has come: `done` of `total` bytes, `received` bytes in this run, at `rate` bytes a second."""

    done: int
    total: int
    received: int
    rate: float


ProgressCallback = Callable[[Progress], None]


def fetch_archive(client: ArchiveOrg, item: Item, cache: Path, progress: ProgressCallback | None = None) -> list[Path]:
    """Have every WARC file of the item, checked, in `<cache>/<identifier>/`; return their paths in name order.

    What is there and was checked is not read again; what is there in part is resumed. `progress` is called about twice
    a second. Raises `Unavailable` (do not retry), `FetchFailed` and `WrongBytes` (later may be better), `DiskFull`.
    """
    item.require_available()
    folder = cache / item.identifier
    missing = sum(_missing_bytes(folder, file) for file in item.warcs)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise no_room(folder / item.warcs[0].name, f"{missing:,} bytes are to come and {free:,} are free")
    meter = _Meter(sum(file.size or 0 for file in item.warcs), progress)
    with client.download_session() as session:
        return [_fetch_file(_Source(client, session, item.identifier, file), folder, meter) for file in item.warcs]


def _missing_bytes(folder: Path, file: ItemFile) -> int:
    present = 0
    for path in (folder / file.name, folder / f"{file.name}.part"):
        if path.exists():
            present = max(present, path.stat().st_size)
    return max(0, (file.size or 0) - present)


class _Meter:
    """Adds up what files bring and tells the callback, not too often."""

    def __init__(self, total: int, callback: ProgressCallback | None) -> None:
        self._total = total
        self._callback = callback
        self._settled = 0
        self._received = 0
        self._started = self._told = time.monotonic()

    def received(self, count: int, position: int) -> None:
        """Bytes came; the current file has arrived up to `position`."""
        self._received += count
        if time.monotonic() - self._told >= _PROGRESS_SECONDS:
            self._tell(self._settled + position)

    def settled(self, size: int) -> None:
        """A file is whole and checked."""
        self._settled += size
        self._tell(self._settled)

    def _tell(self, done: int) -> None:
        self._told = time.monotonic()
        if self._callback is not None:
            rate = self._received / max(self._told - self._started, 1e-9)
            self._callback(Progress(done, max(done, self._total), self._received, rate))


def _fetch_file(source: "_Source", folder: Path, meter: _Meter) -> Path:
    """Have one file in the folder, whole and checked."""
    file = source.file
    path = folder / file.name
    if not is_verified(path, file):
        with PartFile(path, file) as part:
            if path.exists() and (is_verified(path, file) or verify(path, file)):
                part.discard()
            else:
                remove(path)
                _fill_and_check(source, part, meter)
    meter.settled(path.stat().st_size)
    return path


def _fill_and_check(source: "_Source", part: PartFile, meter: _Meter) -> None:
    for _ in range(_REFETCHES + 1):
        _fill(source, part, meter)
        md5 = part.md5()
        if source.file.md5 in {None, md5}:
            part.publish(md5)
            return
        part.restart()
    part.discard()
    raise WrongBytes(source.archive, source.file.name, source.file.md5 or "", md5)


def _fill(source: "_Source", part: PartFile, meter: _Meter) -> None:
    """Ask for what is missing until nothing is. Every byte of progress makes the count of failures begin anew."""
    failures = restarts = 0
    whole = False
    while not whole:
        before = part.position
        try:
            source.fetch_rest(part, meter)
            whole = True
        except _FileChanged as change:
            restarts += 1
            if restarts == 1:
                part.restart()
            elif source.file.md5 is not None:
                # Perhaps IA's two machines date their copies differently. Go on: the MD5 of the whole decides.
                part.belongs_to(change.now)
            elif restarts <= _RESTARTS:
                part.restart()
            else:
                raise FetchFailed(f"{source} changes on the server again and again. Try again later.") from None
        except TemporaryFailure as failure:
            failures = 1 if part.position > before else failures + 1
            if not source.client.retry.wait(failures, failure):
                asked = f", and the server asks to wait {failure.retry_after:.0f} s" if failure.retry_after else ""
                raise FetchFailed(
                    f"{source}: {failures} failures in a row at byte {part.position:,}; at last: {failure}{asked}. "
                    "What has arrived is kept: run it again later."
                ) from failure


class _FileChanged(Exception):
    """The server has another file under the name than the one of which a part has arrived."""

    def __init__(self, now: Validators) -> None:
        super().__init__(now)
        self.now = now


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the server sends: bytes of the file from `start` on, out of `total` (None: it does not say)."""

    start: int
    total: int | None
    validators: Validators


@dataclass(frozen=True, slots=True)
class _Source:
    """One file of an item on the server."""

    client: ArchiveOrg
    session: requests.Session
    archive: str
    file: ItemFile

    def __str__(self) -> str:
        return f"{self.archive}/{self.file.name}"

    def fetch_rest(self, part: PartFile, meter: _Meter) -> None:
        """Append what is missing, by one request. Raises `TemporaryFailure` where it ends early."""
        if part.position == self.file.size:
            return
        headers = {"Range": f"bytes={part.position}-"} if part.position else {}
        url = self.client.file_url(self.archive, self.file.name)
        timeout = (self.client.timeout, self.client.timeout)
        try:
            with self.session.get(url, headers=headers, timeout=timeout, stream=True) as response:
                if self._nothing_more(response, part):
                    return
                answer = self._understand(response, part)
                part.belongs_to(answer.validators)
                self._receive(response, answer.start, part, meter)
        except requests.RequestException as error:
            raise TemporaryFailure(f"{type(error).__name__}: {error}") from error
        expected = answer.total if self.file.size is None else self.file.size
        if expected is not None and part.position != expected:
            raise TemporaryFailure(f"the answer ended at byte {part.position:,} of {expected:,}")

    def _nothing_more(self, response: requests.Response, part: PartFile) -> bool:
        """Whether a 416 says that what has arrived is all there is, of a file whose size the metadata does not say."""
        return response.status_code == 416 and self.file.size is None and _range_total(response) == part.position

    def _understand(self, response: requests.Response, part: PartFile) -> _Answer:
        """Return what a response is going to send. Raises for everything that is not a part of the wanted file."""
        status = response.status_code
        validators = Validators(response.headers.get("ETag"), response.headers.get("Last-Modified"))
        if status in {401, 403, 451}:
            raise ItemRestricted(f"{self}: IA refuses it (HTTP {status}): dark or restricted since. Leave it out.")
        if status in {404, 410}:
            raise FileMissing(f"{self}: IA has no such file (HTTP {status}), though the item's metadata names it.")
        if status in TEMPORARY_STATUSES:
            raise TemporaryFailure(f"HTTP {status}", retry_after_seconds(response.headers))
        if status == 206:
            start, total = _content_range(response)
        elif status == 200:
            length = response.headers.get("Content-Length", "")
            start, total = 0, int(length) if length.isdecimal() else None
        elif status == 416 and self.file.size is None:
            raise _FileChanged(validators)
        elif status == 416:
            start, total = part.position, _range_total(response)
        else:
            raise FetchFailed(f"{self}: HTTP {status} {response.reason}, which no retry will change.")
        if self.file.size is not None and total not in {None, self.file.size}:
            raise TemporaryFailure(f"the server's file has {total:,} bytes, the metadata says {self.file.size:,}")
        if status == 416:
            raise TemporaryFailure(f"the server says that it has no byte {part.position:,}")
        if status == 206 and start != part.position:
            raise TemporaryFailure(f"asked for byte {part.position:,} on, the server sends from {start:,}")
        if part.position and part.validators is not None and validators.differ_from(part.validators):
            raise _FileChanged(validators)
        return _Answer(start, total, validators)

    def _receive(self, response: requests.Response, start: int, part: PartFile, meter: _Meter) -> None:
        """Append the body, less what has arrived already: a server that ignores ranges sends from the first byte."""
        surplus = part.position - start
        for data in _blocks(response):
            new = data[surplus:]
            surplus = max(0, surplus - len(data))
            if self.file.size is not None and part.position + len(new) > self.file.size:
                raise TemporaryFailure(f"the server sends more than the {self.file.size:,} bytes of the file")
            part.append(new)
            meter.received(len(data), part.position)


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """Yield the body in blocks as they come, so that a connection that dies takes nothing with it."""
    while True:
        try:
            data = response.raw.read1(_READ_BLOCK)
        except (TransportError, OSError) as error:
            raise TemporaryFailure(f"the connection broke: {error}") from error
        if not data:
            return
        yield data


def _content_range(response: requests.Response) -> tuple[int, int | None]:
    """Return the first byte and the total of `bytes 100-199/200`. Raises `TemporaryFailure` where there is none."""
    text = response.headers.get("Content-Range", "")
    span, _, total = text.removeprefix("bytes ").partition("/")
    first = span.partition("-")[0]
    if not text.startswith("bytes ") or not first.isdecimal():
        raise TemporaryFailure(f"a partial answer without a range that can be read: {text!r}")
    return int(first), int(total) if total.isdecimal() else None


def _range_total(response: requests.Response) -> int | None:
    """Return the total of `bytes */200`, which a 416 carries."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdecimal() else None
