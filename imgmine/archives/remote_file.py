"""One file of an item on the server: asked for from a byte on, and what the server answers understood or refused.

Who asks for what, when to ask again and where the bytes go is `download`'s, `streaming`'s and `selection`'s.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests
from urllib3.exceptions import HTTPError as TransportError

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.item import FileMissing, ItemFile, ItemRestricted
from imgmine.archives.part_file import Validators
from imgmine.archives.retry import TEMPORARY_STATUSES, TemporaryFailure, retry_after_seconds
from imgmine.errors import ImgmineError

_READ_BLOCK = 1 << 20


class FetchFailed(ImgmineError):
    """A file did not come, however often it was asked for."""


class WrongBytes(ImgmineError):
    """A file came whole, several times, and is not the one that the item's metadata describes."""

    def __init__(self, archive: str, name: str, digest: str, expected: str, got: str, tries: int) -> None:
        super().__init__(
            f"{archive}/{name}: the {digest} should be {expected} and is {got}, after {tries} tries. IA's copy or "
            "its metadata is wrong, or something on the way changes bytes. Nothing of the file was kept."
        )
        self.archive, self.name, self.expected, self.got = archive, name, expected, got


class FileChanged(Exception):
    """The server has another file under the name than the one of which a part has arrived."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server sends: bytes of the file from `start` on, out of `total` (None: it does not say).

    `start` is the byte asked for, or 0 where the server ignores ranges; `is_part`: it does not.
    """

    start: int
    total: int | None
    validators: Validators
    is_part: bool
    _response: requests.Response | None

    def blocks(self) -> Iterator[bytes]:
        """Yield the body in blocks as they come, so that a connection that dies takes nothing with it.

        Raises `TemporaryFailure` where it breaks; an answer that ends early just ends.
        """
        while self._response is not None:
            try:
                data = self._response.raw.read1(_READ_BLOCK)
            except (TransportError, OSError) as error:
                raise TemporaryFailure(f"the connection broke: {error}") from error
            if not data:
                return
            yield data


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of an item, at the client's server. Threads may share it, but not a session."""

    client: ArchiveOrg
    archive: str
    file: ItemFile

    def __str__(self) -> str:
        return f"{self.archive}/{self.file.name}"

    @contextmanager
    def ask(self, session: requests.Session, start: int = 0, end: int | None = None) -> Iterator[Answer]:
        """Ask for bytes from `start` on, up to `end` or to the end of the file.

        Raises `TemporaryFailure` where another attempt may do; `ItemRestricted`, `FileMissing` and `FetchFailed` where
        none will; `FileChanged` where a file of unknown size turns out to be shorter than `start`.
        """
        last = "" if end is None or end == self.file.size else str(end - 1)
        headers = {"Range": f"bytes={start}-{last}"} if start or last else {}
        url = self.client.file_url(self.archive, self.file.name)
        timeout = (self.client.timeout, self.client.timeout)
        try:
            with session.get(url, headers=headers, timeout=timeout, stream=True) as response:
                yield self._understand(response, start)
        except requests.RequestException as error:
            raise TemporaryFailure(f"{type(error).__name__}: {error}") from error

    def _understand(self, response: requests.Response, asked: int) -> Answer:
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
        elif status == 416:
            start, total = asked, _range_total(response)
        else:
            raise FetchFailed(f"{self}: HTTP {status} {response.reason}, which no retry will change.")
        if status == 416 and self.file.size is None:
            if total == asked:
                return Answer(asked, asked, validators, False, None)  # nothing is missing of a file of unknown size
            raise FileChanged
        if self.file.size is not None and total not in {None, self.file.size}:
            raise TemporaryFailure(f"the server's file has {total:,} bytes, the metadata says {self.file.size:,}")
        if status == 416:
            raise TemporaryFailure(f"the server says that it has no byte {asked:,}")
        if status == 206 and start != asked:
            raise TemporaryFailure(f"asked for byte {asked:,} on, the server sends from {start:,}")
        return Answer(start, total, validators, status == 206, response)


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
