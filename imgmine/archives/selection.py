"""Reading only those records of an archive that can be originals, by what the item's CDX says of them.

Which they are is `selection_plan`'s; fetching byte ranges `streaming`'s; what becomes of the records `extract`'s.
"""

import io
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Unpack, cast

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.cdx import CdxEntry, IndexUnusable, read_cdx
from imgmine.archives.extract import Extraction, PassOptions, Warc, extract_archive
from imgmine.archives.extract import inputs_fingerprint as inputs_of_all
from imgmine.archives.imgur import UrlKind, classify_url
from imgmine.archives.item import FileMissing, Item, ItemRestricted
from imgmine.archives.record_budget import RecordBudget
from imgmine.archives.remote_file import FetchFailed, RemoteFile, WrongBytes
from imgmine.archives.selection_plan import (
    LARGEST_SHARE,
    REQUEST_BYTES,
    UNLISTED_BYTES,
    FindKnown,
    Plan,
    mark_known,
    plan_archive,
)
from imgmine.archives.streaming import (
    RangesIgnored,
    RemoteStream,
    extract_streamed,
    of_all_bytes,
    opener,
    require_checked,
)
from imgmine.archives.warc import Damage, WarcRecord, read_warc
from imgmine.archives.zstd_walk import DICTIONARY_FRAME_MAGIC, SKIPPABLE_HEADER, skippable_length
from imgmine.store.publish import content_digest
from imgmine.store.shards import SHARD_BYTES

_LARGEST_DICTIONARY = 64 << 20


@dataclass(frozen=True, slots=True)
class Selected:
    """An archive's extraction, and what it took: `bytes_read` of `bytes_in_all`, in `requests` for byte ranges.

    `reason` says why the whole archive was read, where it was. `gaps` is how many stretches of at most
    `UNLISTED_BYTES` were neither read nor in the index: requests as a rule, but a record could be in one.
    """

    extraction: Extraction
    bytes_read: int
    bytes_in_all: int
    requests: int
    reason: str = ""
    gaps: int = 0


def inputs_fingerprint(item: Item, shard_bytes: int = SHARD_BYTES, known: Collection[bytes] = ()) -> str:
    """Return the digest of all that `extract_selected` depends on where some records are not fetched.

    `known` are the BLAKE2b of the files that records were not fetched for (`known_as` in the ledger).
    """
    indexes = [(file.name, file.md5) for file in item.cdx_indexes]
    hint = {"known": content_digest(b"".join(sorted(known)))} if known else {}
    return inputs_of_all(
        item,
        shard_bytes,
        cdx=indexes,
        request_bytes=REQUEST_BYTES,
        largest_share=LARGEST_SHARE,
        unlisted=UNLISTED_BYTES,
        **hint,
    )


class _Listed:
    """Sees to it that a record that no index lists is not of an id whose originals were left out as known."""

    def __init__(self, plans: Mapping[str, Plan | None], index: Mapping[str, Sequence[CdxEntry]]) -> None:
        self._known_ids = {
            classify_url(entry.url).media_id
            for plan in plans.values()
            if plan is not None
            for entry in plan.entries
            if entry.known_as is not None
        }
        self._offsets = {name: frozenset(entry.offset for entry in entries) for name, entries in index.items()}

    @property
    def is_needed(self) -> bool:
        return bool(self._known_ids)

    def check(self, warc_file: str, found: WarcRecord | Damage) -> None:
        """Raise `IndexUnusable` for such a record."""
        if isinstance(found, Damage) or not self._known_ids or found.offset in self._offsets.get(warc_file, ()):
            return
        url = classify_url(found.url)
        if url.kind is UrlKind.ORIGINAL and url.media_id in self._known_ids:
            raise IndexUnusable(
                f"{warc_file}: at byte {found.offset:,} is a record of {url.media_id} that the CDX does not have; the "
                "others of that id were left out as known."
            )


class WholeWarc:
    """A WARC file that is read whole, beside others of which known files are left out."""

    def __init__(self, name: str, opened: Callable[[], BinaryIO], listed: _Listed) -> None:
        self._name = name
        self._opened = opened
        self._listed = listed

    def records(self) -> Iterator[WarcRecord | Damage | CdxEntry]:
        """Yield all records and damage. Raises `IndexUnusable` where a record may change what was left out."""
        with self._opened() as stream:
            for found in read_warc(stream):
                self._listed.check(self._name, found)
                yield found
                del found


class SelectedWarc:
    """A WARC file of which only the planned spans are fetched, each with the file's dictionary in front of it."""

    def __init__(self, remote: RemoteFile, plan: Plan, listed: _Listed) -> None:
        self._remote = remote
        self._plan = plan
        self._listed = listed

    def records(self) -> Iterator[WarcRecord | Damage | CdxEntry]:
        """Yield the records of the spans, and the entries of all others, in the order of the file.

        Raises `IndexUnusable` where the bytes are not what the index says, or are damaged, and `RangesIgnored`.
        """
        unread = self._outside_spans()
        waiting = next(unread, None)
        dictionary = self._dictionary_frame() if self._plan.spans else b""
        budget = RecordBudget()
        with RemoteStream(self._remote, spans=self._plan.spans) as stream:
            for start, end in self._plan.spans:
                while waiting is not None and waiting.offset < start:
                    yield waiting
                    waiting = next(unread, None)
                yield from self._read_span(stream, dictionary, start, end, budget)
        while waiting is not None:
            yield waiting
            waiting = next(unread, None)

    def _read_span(
        self, stream: RemoteStream, dictionary: bytes, start: int, end: int, budget: RecordBudget
    ) -> Iterator[WarcRecord]:
        span = cast(BinaryIO, _Span(dictionary, stream, end - start))
        missing = {entry.offset for entry in self._plan.entries if start <= entry.offset < end}
        budget.begin = start - len(dictionary)
        for found in read_warc(span, needs_checksums=True, budget=budget):
            offset = found.offset - len(dictionary) + start
            if isinstance(found, Damage):
                raise IndexUnusable(f"{self._remote}: {found.reason}, at byte {offset:,}, which the CDX does not say.")
            missing.discard(offset)
            found = found._replace(offset=offset)
            self._listed.check(self._remote.file.name, found)
            yield found
            del found
        if missing:
            raise IndexUnusable(f"{self._remote}: no record begins at byte {min(missing):,}, where the CDX has one.")

    def _outside_spans(self) -> Iterator[CdxEntry]:
        spans = iter(self._plan.spans)
        span = next(spans, None)
        for entry in self._plan.entries:
            while span is not None and span[1] <= entry.offset:
                span = next(spans, None)
            if span is None or entry.offset < span[0]:
                yield entry

    def _dictionary_frame(self) -> bytes:
        """Return the skippable frame that the file begins with; nothing where it has none."""
        head = self._bytes(0, SKIPPABLE_HEADER)
        length = skippable_length(head)
        if length is None or not head.startswith(DICTIONARY_FRAME_MAGIC):
            return b""
        if length > min(_LARGEST_DICTIONARY, self._remote.file.size or 0):
            raise IndexUnusable(f"{self._remote}: the frame of its dictionary claims {length:,} bytes.")
        return head + self._bytes(SKIPPABLE_HEADER, length)

    def _bytes(self, start: int, end: int) -> bytes:
        with RemoteStream(self._remote, spans=[(start, end)]) as stream:
            return stream.read() or b""


class _Span(io.RawIOBase):
    """A dictionary's frame, and then the next `size` bytes of a stream: a small WARC file of its own."""

    def __init__(self, dictionary: bytes, stream: RemoteStream, size: int) -> None:
        super().__init__()
        self._front = memoryview(dictionary)
        self._stream = stream
        self._left = size

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Fill `buffer` with what is there; return how many bytes, 0 at the end."""
        room = memoryview(buffer)
        if self._front:
            count = min(len(room), len(self._front))
            room[:count] = self._front[:count]
            self._front = self._front[count:]
            return count
        count = self._stream.readinto(room[: self._left]) if self._left else 0
        self._left -= count
        return count


def read_index(client: ArchiveOrg, item: Item) -> dict[str, list[CdxEntry]]:
    """Return what the item's CDX say of each of its WARC files.

    Raises `IndexUnusable` where the item has no CDX that can be gone by, or it does not come.
    """
    if not item.cdx_indexes:
        raise IndexUnusable(f"{item.identifier} has no CDX.")
    entries: dict[str, list[CdxEntry]] = {}
    for file in item.cdx_indexes:
        try:
            with RemoteStream(RemoteFile(client, item.identifier, file)) as stream:
                index = read_cdx(stream.read() or b"")
        except (FetchFailed, FileMissing, ItemRestricted, WrongBytes) as error:
            # Where IA is away as a whole, fetching the WARC files says so.
            raise IndexUnusable(str(error)) from error
        for name, found in index.items():
            if name in entries:
                raise IndexUnusable(f"{item.identifier} has several CDX of {name}.")
            entries[name] = found
    return {file.name: entries[file.name] for file in item.warcs if file.name in entries}


def extract_selected(
    client: ArchiveOrg,
    item: Item,
    scratch: Path,
    *,
    on_wrong: Callable[[str], None] | None = None,
    find_known: FindKnown | None = None,
    **how: Unpack[PassOptions],
) -> Selected:
    """Do what `extract_streamed` does, but fetch only what can be originals, and what lies between them.

    The tables are those of a full read but for the records that were not fetched: their rows in the ledger have what
    the CDX says and the decision `not_fetched`. Where the index cannot be used, or what is read differs from what it
    says, all is read; `on_wrong` is told why. Each record's integrity is the checksum of its compressed frame, as the
    MD5 of a file that is not read whole cannot be checked. With `find_known`, records of files that earlier archives
    have are not fetched either, by what the CDX says of their SHA-1: their rows name the file as `known_as`.
    """
    item.require_available()
    folder = scratch / "selected"
    try:
        index = read_index(client, item)
        if find_known is not None:
            index = mark_known(index, find_known)
        plans = plan_archive(item, index)
        listed = _Listed(plans, index)
        folder.mkdir(parents=True)
        streams: list[RemoteStream] = []
        warcs: list[Warc] = []
        for file in item.warcs:
            remote, plan = RemoteFile(client, item.identifier, file), plans[file.name]
            opened = opener(remote, streams)
            if plan is not None:
                warcs.append((file.name, SelectedWarc(remote, plan, listed)))
            elif listed.is_needed:
                warcs.append((file.name, WholeWarc(file.name, opened, listed)))
            else:
                warcs.append((file.name, opened))
        extraction = extract_archive(item.identifier, warcs, folder, **of_all_bytes(item, how))
        require_checked(item, streams)
    except (IndexUnusable, RangesIgnored, WrongBytes) as error:
        if on_wrong is not None:
            on_wrong(f"All of {item.identifier} is read: {error}")
        shutil.rmtree(folder, ignore_errors=True)
        extraction = extract_streamed(client, item, scratch, on_wrong=on_wrong, **how)
        total = item.warc_bytes
        return Selected(extraction, total, total, len(item.warcs), str(error))
    read = sum((file.size or 0) if (plan := plans[file.name]) is None else plan.bytes for file in item.warcs)
    requests = sum(1 if plan is None else len(plan.spans) for plan in plans.values())
    reason = "" if any(plans.values()) else f"more than {LARGEST_SHARE:.0%} of each file is wanted"
    gaps = sum(plan.gaps for plan in plans.values() if plan is not None)
    return Selected(extraction, read, item.warc_bytes, requests, reason, gaps)
