"""Reading an archive's WARC files as they arrive, with nothing whole on disk, and only what is right at the end.

What a server answers is `remote_file`'s; what is made of the bytes, `extract`'s.
"""

import hashlib
import io
import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Unpack, cast

import requests

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.extract import Extraction, PassOptions, Warc, extract_archive
from imgmine.archives.item import Item
from imgmine.archives.part_file import Validators
from imgmine.archives.remote_file import FetchFailed, RemoteFile, WrongBytes
from imgmine.archives.retry import TemporaryFailure
from imgmine.errors import ImgmineError

TRIES = 2

_AHEAD = 32 << 20


class RangesIgnored(ImgmineError):
    """The server sends the whole file where a part was asked for."""


class RemoteStream(io.RawIOBase):
    """A remote file from its first byte to its last, read ahead by a thread, connected again where it is cut.

    With `spans`, only those bytes of it (each from a first to before a last one), end to end; they cannot be checked
    here, and reading raises `RangesIgnored` where the server does not do it. The end of a whole file is told only after
    its size, MD5 and SHA-1 were found right, as far as the metadata has them; reading raises `WrongBytes` instead where
    they were not (with `tries` in its message). Reading raises what `RemoteFile.ask` raises, and `FetchFailed`.

    Attributes:
        is_checked: whether all has been read, and was right.
    """

    def __init__(self, remote: RemoteFile, tries: int = 1, spans: Sequence[tuple[int, int]] | None = None) -> None:
        super().__init__()
        self.is_checked = False
        self._remote = remote
        self._tries = tries
        self._spans = spans
        self._position = 0
        self._digests = [
            (name, expected, hashlib.new(name.replace("-", ""), usedforsecurity=False))
            for name, expected in (("MD5", remote.file.md5), ("SHA-1", remote.file.sha1))
            if expected is not None and spans is None
        ]
        self._validators: Validators | None = None
        self._blocks: deque[memoryview] = deque()
        self._held = 0
        self._is_over = self._is_given_up = False
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._fetch, name="stream", daemon=True).start()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Fill `buffer` with what is there, waiting for the first byte; return how many bytes, 0 at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._blocks or self._is_over)
            if not self._blocks:
                if self._failure is not None:
                    raise self._failure
                self.is_checked = True
                return 0
            block = self._blocks.popleft()
            count = min(len(block), len(buffer))
            if count < len(block):
                self._blocks.appendleft(block[count:])
            self._held -= count
            self._changed.notify_all()
        buffer[:count] = block[:count]
        return count

    def close(self) -> None:
        """Stop fetching."""
        with self._changed:
            self._is_given_up = True
            self._blocks.clear()
            self._changed.notify_all()
        super().close()

    def _fetch(self) -> None:
        try:
            with self._remote.client.download_session() as session:
                if self._spans is None:
                    self._fetch_span(session, 0, self._remote.file.size)
                for start, end in self._spans or ():
                    self._fetch_span(session, start, end)
            self._check()
        except Exception as error:
            self._failure = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _fetch_span(self, session: requests.Session, start: int, end: int | None) -> None:
        failures = 0
        self._position = start
        while not self._is_given_up:
            before = self._position
            try:
                self._fetch_rest(session, end)
            except TemporaryFailure as failure:
                failures = 1 if self._position > before else failures + 1
                if not self._remote.client.retry.wait(failures, failure):
                    raise FetchFailed(
                        f"{self._remote}: {failures} failures in a row at byte {self._position:,}; at last: {failure}. "
                        "It was being read as it came, so nothing is kept: run it again later."
                    ) from failure
            else:
                break

    def _fetch_rest(self, session: requests.Session, end: int | None) -> None:
        if self._position == end:
            return
        with self._remote.ask(session, self._position, end) as answer:
            if self._spans is not None and not answer.is_part:
                raise RangesIgnored(f"{self._remote}: the server sends the whole file where a part is asked for.")
            known = self._validators
            if known is not None and not self._digests and answer.validators.differ_from(known):
                raise FetchFailed(f"{self._remote} changed on the server while it was read. Run it again.")
            self._validators = answer.validators
            surplus = self._position - answer.start
            for data in answer.blocks():
                new = memoryview(data)[surplus:]
                surplus = max(0, surplus - len(data))
                if end is not None and self._position + len(new) > end:
                    raise TemporaryFailure(f"the server sends more than the bytes up to {end:,}")
                if not self._take(new):
                    return
            last = answer.total if end is None else end
        if last is not None and self._position != last:
            raise TemporaryFailure(f"the answer ended at byte {self._position:,} of {last:,}")

    def _take(self, data: memoryview) -> bool:
        """Hash a block and hand it on, once there is room; return False where nobody wants it any more."""
        for _, _, digest in self._digests:
            digest.update(data)
        with self._changed:
            self._changed.wait_for(lambda: self._held < _AHEAD or self._is_given_up)
            if self._is_given_up:
                return False
            if data:
                self._blocks.append(data)
            self._held += len(data)
            self._position += len(data)
            self._changed.notify_all()
        return True

    def _check(self) -> None:
        for name, expected, digest in self._digests:
            if digest.hexdigest() != expected and not self._is_given_up:
                raise WrongBytes(
                    self._remote.archive, self._remote.file.name, name, expected, digest.hexdigest(), self._tries
                )


def extract_streamed(
    client: ArchiveOrg,
    item: Item,
    scratch: Path,
    *,
    on_wrong: Callable[[str], None] | None = None,
    **how: Unpack[PassOptions],
) -> Extraction:
    """Do what `extract_archive` does, with the same tables and shards, from the server instead of from files.

    An archive whose bytes turn out to be wrong is read once more; `on_wrong` is told why. `progress` gets the bytes
    read and those of the item's WARC files; `on_read` is called once all are read and right. With `ahead`, shards are
    in the store before the bytes are known to be right: it is the tables that nobody may publish before this returns.
    Raises what `extract_archive` raises, `Unavailable`, `FetchFailed` and `WrongBytes`.
    """
    item.require_available()

    def sources(streams: list[RemoteStream], tries: int) -> list[Warc]:
        return [(file.name, opener(RemoteFile(client, item.identifier, file), streams, tries)) for file in item.warcs]

    return extract_checked(item, scratch, sources, on_wrong, how)


def extract_checked(
    item: Item,
    scratch: Path,
    sources: Callable[[list[RemoteStream], int], list[Warc]],
    on_wrong: Callable[[str], None] | None,
    how: PassOptions,
) -> Extraction:
    """Make the pass over `sources`, and once more where the bytes of one turn out to be wrong.

    `sources` gets a list, in which it notes the streams that it opens of whole files, and which try it is, from 1.
    Raises what `extract_archive` and reading the sources raise, and `WrongBytes` at last.
    """
    for tries in range(1, TRIES + 1):
        folder = scratch / f"read-{tries}"
        folder.mkdir(parents=True)
        streams: list[RemoteStream] = []
        try:
            extraction = extract_archive(item.identifier, sources(streams, tries), folder, **_of_all_bytes(item, how))
        except WrongBytes as wrong:
            shutil.rmtree(folder)
            if tries == TRIES:
                raise
            if on_wrong is not None:
                on_wrong(str(wrong))
        else:
            _require_checked(item, streams)
            return extraction
    raise AssertionError("unreachable")


def _of_all_bytes(item: Item, how: PassOptions) -> PassOptions:
    """Return the options with a `progress` that is told the bytes of all WARC files, which streams do not know."""
    progress = how.get("progress")
    if progress is None:
        return how
    total = item.warc_bytes
    return {**how, "progress": lambda done, _: progress(done, total)}


def _require_checked(item: Item, streams: Sequence[RemoteStream]) -> None:
    """Raise where a stream was not read to its end, so that nothing is sure of it."""
    if not all(stream.is_checked for stream in streams):
        raise ImgmineError(f"{item.identifier}: a WARC file was not read to its end. Nothing of it is published.")


def opener(remote: RemoteFile, opened: list[RemoteStream], tries: int = 1) -> Callable[[], BinaryIO]:
    """Return what opens the whole file as a stream, and notes it in `opened`."""

    def open_stream() -> BinaryIO:
        opened.append(RemoteStream(remote, tries))
        return cast(BinaryIO, opened[-1])

    return open_stream
