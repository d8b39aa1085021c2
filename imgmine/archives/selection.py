"""Reading only those records of an archive that can be originals, by what the item's CDX says of them.

Which they are is `selection_plan`'s; fetching byte ranges `streaming`'s; what becomes of the records `extract`'s.
"""

import io
import shutil
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Unpack, cast

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.cdx import CdxEntry, IndexUnusable, read_cdx
from imgmine.archives.extract import Extraction, PassOptions, Warc
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
    Span,
    mark_known,
    plan_archive,
)
from imgmine.archives.streaming import (
    RangesIgnored,
    RemoteStream,
    extract_checked,
    extract_streamed,
    opener,
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


class Listed:
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

    def __init__(self, name: str, opened: Callable[[], BinaryIO], listed: Listed) -> None:
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


class _SpanDamaged(IndexUnusable):
    """A span is damaged from byte `offset` of the file on, which may be for how it came."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class SelectedWarc:
    """A WARC file of which only the planned spans are fetched, each with the file's dictionary in front of it.

    A span that comes damaged is fetched once more, from the damage on; `on_wrong` is told.
    """

    def __init__(
        self, remote: RemoteFile, plan: Plan, listed: Listed, on_wrong: Callable[[str], None] | None = None
    ) -> None:
        self._remote = remote
        self._plan = plan
        self._listed = listed
        self._on_wrong = on_wrong

    def records(self) -> Iterator[WarcRecord | Damage | CdxEntry]:
        """Yield the records of the spans, and the entries of all others, in the order of the file.

        Raises `IndexUnusable` where the bytes are not what the index says, or stay damaged, and `RangesIgnored`.
        """
        unread = self._outside_spans()
        waiting = next(unread, None)
        for found in self._in_spans():
            while waiting is not None and waiting.offset < found.offset:
                yield waiting
                waiting = next(unread, None)
            yield found
            del found
        while waiting is not None:
            yield waiting
            waiting = next(unread, None)

    def _in_spans(self) -> Iterator[WarcRecord]:
        left = deque[Span](self._plan.spans)
        is_second_try = False
        budget = RecordBudget()
        while left:
            dictionary = self._dictionary_frame()  # anew at each try: what was wrong may have been this
            with RemoteStream(self._remote, spans=tuple(left)) as stream:
                try:
                    while left:
                        yield from self._read_span(stream, dictionary, *left[0], budget)
                        left.popleft()
                        is_second_try = False
                except _SpanDamaged as damaged:
                    if is_second_try:
                        raise
                    is_second_try = True
                    left[0] = damaged.offset, left[0][1]
                    if self._on_wrong is not None:
                        self._on_wrong(f"{damaged} From there on the span is fetched once more.")

    def _read_span(
        self, stream: RemoteStream, dictionary: bytes, start: int, end: int, budget: RecordBudget
    ) -> Iterator[WarcRecord]:
        span = cast(BinaryIO, _Span(dictionary, stream, end - start))
        missing = {entry.offset for entry in self._plan.entries if start <= entry.offset < end}
        budget.begin = start - len(dictionary)
        sound_until, last = end, -1
        damage: Damage | None = None
        for found in read_warc(span, needs_checksums=True, budget=budget):
            offset = max(start, found.offset - len(dictionary) + start)
            if isinstance(found, Damage):
                sound_until, damage = offset, found
                break
            missing.discard(offset)
            found = found._replace(offset=offset)
            self._listed.check(self._remote.file.name, found)
            yield found
            del found
            last = offset
        lost = min(missing, default=sound_until)
        if lost < sound_until:
            raise IndexUnusable(f"{self._remote}: no record begins at byte {lost:,}, where the CDX has one.")
        if damage is not None:
            reason = f"{self._remote}: {damage.reason}, at byte {sound_until:,}, which the CDX does not say."
            # What follows a record in its frame had the frame's checksum, and at the end there is nothing to fetch.
            if last < sound_until < end:
                raise _SpanDamaged(reason, sound_until)
            raise IndexUnusable(reason)

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
    MD5 of a file that is not read whole cannot be checked; where one that is read whole is wrong, what is selected is
    read once more. Raises what `extract_streamed` raises. With `find_known`, records of files that earlier archives
    have are not fetched either, by what the CDX says of their SHA-1: their rows name the file as `known_as`.
    """
    item.require_available()
    folder = scratch / "selected"
    try:
        index = read_index(client, item)
        if find_known is not None:
            index = mark_known(index, find_known)
        plans = plan_archive(item, index)
        listed = Listed(plans, index)

        def sources(streams: list[RemoteStream], tries: int) -> list[Warc]:
            warcs: list[Warc] = []
            for file in item.warcs:
                remote, plan = RemoteFile(client, item.identifier, file), plans[file.name]
                opened = opener(remote, streams, tries)
                if plan is not None:
                    warcs.append((file.name, SelectedWarc(remote, plan, listed, on_wrong)))
                elif listed.is_needed:
                    warcs.append((file.name, WholeWarc(file.name, opened, listed)))
                else:
                    warcs.append((file.name, opened))
            return warcs

        extraction = extract_checked(item, folder, sources, on_wrong, how)
    except (IndexUnusable, RangesIgnored) as error:
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
