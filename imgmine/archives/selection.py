"""Reading only those records of an archive that can be originals, by what the item's CDX says of them.

What the index says is `cdx`'s; fetching byte ranges `streaming`'s; what becomes of the records `extract`'s.
"""

import io
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from imgmine.archives.ahead import Ahead
from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.blocked import Blocklist
from imgmine.archives.cdx import CdxEntry, IndexUnusable, read_cdx
from imgmine.archives.extract import Extraction, Progress, Warc, extract_archive
from imgmine.archives.extract import inputs_fingerprint as inputs_of_all
from imgmine.archives.imgur import UrlKind, classify_url
from imgmine.archives.item import FileMissing, Item, ItemRestricted
from imgmine.archives.remote_file import RemoteFile, WrongBytes
from imgmine.archives.streaming import RangesIgnored, RemoteStream, extract_streamed, opener, require_checked
from imgmine.archives.warc import Damage, WarcRecord, read_warc
from imgmine.archives.zstd_walk import DICTIONARY_FRAME_MAGIC, SKIPPABLE_HEADER, skippable_length
from imgmine.images.decoder_pool import DecoderPool
from imgmine.store.publish import content_digest
from imgmine.store.shards import SHARD_BYTES

# A request costs about as much as so many bytes: some 60 ms at 1 MB/s. Smaller gaps are read rather than jumped over.
REQUEST_BYTES = 64 << 10
# Where more of a file than this is to be read, it is read whole: then its MD5 can be checked.
LARGEST_SHARE = 0.6
# Between two records of the index lie a request and a crawler's note, of some hundred bytes. Where there is more, the
# index may have left records out, and nothing may be lost for that.
UNLISTED_BYTES = 16 << 10

# Formats whose records carry checksums of their own.
_CHECKSUMMED = frozenset({"Web ARChive ZST", "Web ARChive GZ"})
_LARGEST_DICTIONARY = 64 << 20

Span = tuple[int, int]
# Returns, of these SHA-1s, those that files of earlier archives have, with the BLAKE2b of the file.
FindKnown = Callable[[Collection[bytes]], Mapping[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be read of one WARC file: `spans` of bytes, in order; `entries` are all that its index lists."""

    spans: tuple[Span, ...]
    entries: tuple[CdxEntry, ...]

    @property
    def bytes(self) -> int:
        """How many bytes are to be read."""
        return sum(end - start for start, end in self.spans)


@dataclass(frozen=True, slots=True)
class Selected:
    """An archive's extraction, and what it took: `bytes_read` of `bytes_in_all`, in `requests` for byte ranges.

    `reason` says why the whole archive was read, where it was.
    """

    extraction: Extraction
    bytes_read: int
    bytes_in_all: int
    requests: int
    reason: str = ""


def inputs_fingerprint(
    item: Item, shard_bytes: int = SHARD_BYTES, known: Collection[bytes] = (), **blocked: str
) -> str:
    """Return the digest of all that `extract_selected` depends on where some records are not fetched.

    `known` are the BLAKE2b of the files that records were not fetched for (`known_as` in the ledger), `blocked` what
    lists of hashes kept out.
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
        **blocked,
    )


def is_wanted(entry: CdxEntry) -> bool:
    """Tell whether a record can be an original. Only what is known not to be one is left out.

    Originals compete with originals alone (`imgur.choose`), so that leaving out the others changes no decision. For
    what is left out because its file is known, `mark_known` sees to that.
    """
    if entry.is_revisit or entry.status not in {200, None} or entry.known_as is not None:
        return False
    return classify_url(entry.url).kind is UrlKind.ORIGINAL


def mark_known(index: Mapping[str, Sequence[CdxEntry]], find: FindKnown) -> dict[str, list[CdxEntry]]:
    """Return the entries of each WARC file, those with `known_as` that need not be fetched for their file.

    They are those of media ids of which every original that is listed has a known SHA-1: where a better or a lesser one
    may be unknown, all are read, so that the choice among them is that of a full read.
    """
    originals: dict[str | None, list[CdxEntry]] = defaultdict(list)
    for entries in index.values():
        for entry in entries:
            if is_wanted(entry):
                originals[classify_url(entry.url).media_id].append(entry)
    can_be_known = {
        media_id: group
        for media_id, group in originals.items()
        if all(entry.sha1 is not None and entry.status == 200 for entry in group)
    }
    found = find({entry.sha1 for group in can_be_known.values() for entry in group if entry.sha1 is not None})
    known_ids = {media_id for media_id, group in can_be_known.items() if all(entry.sha1 in found for entry in group)}

    def marked(entry: CdxEntry) -> CdxEntry:
        if entry.sha1 is None or not is_wanted(entry) or classify_url(entry.url).media_id not in known_ids:
            return entry
        return entry._replace(known_as=found[entry.sha1])

    return {name: [marked(entry) for entry in entries] for name, entries in index.items()}


def make_plan(entries: Sequence[CdxEntry], size: int, request_bytes: int) -> Plan | None:
    """Return which bytes of a file to read; None where it is better read whole.

    `entries` are sorted by offset. Stretches that none of them accounts for are read too; neighbours are joined where
    the gap costs less than a request. Raises `IndexUnusable` where the entries cannot be of a file of this size.
    """
    end = 0
    for previous, entry in zip([None, *entries], entries, strict=False):
        # Records that share a frame share its place.
        if entry.offset < end and (previous is None or entry[:2] != previous[:2]):
            raise IndexUnusable(f"The CDX has records that overlap at byte {entry.offset:,}.")
        end = max(end, entry.offset + entry.length)
    if end > size:
        raise IndexUnusable(f"The CDX has a record up to byte {end:,} of a file of {size:,}.")
    spans: list[Span] = []
    for start, until in _wanted_spans(entries, size):
        if spans and start - spans[-1][1] <= request_bytes:
            spans[-1] = spans[-1][0], max(until, spans[-1][1])
        else:
            spans.append((start, until))
    plan = Plan(tuple(spans), tuple(entries))
    return plan if plan.bytes <= LARGEST_SHARE * size else None


def _wanted_spans(entries: Sequence[CdxEntry], size: int) -> Iterator[Span]:
    """Yield, by their beginnings, the records that are wanted and the larger stretches that no entry accounts for."""
    end = 0
    for entry in entries:
        if entry.offset - end > UNLISTED_BYTES:
            yield end, entry.offset
        if is_wanted(entry):
            yield entry.offset, entry.offset + entry.length
        end = max(end, entry.offset + entry.length)
    if size - end > UNLISTED_BYTES:
        yield end, size


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
        with RemoteStream(self._remote, spans=self._plan.spans) as stream:
            for start, end in self._plan.spans:
                while waiting is not None and waiting.offset < start:
                    yield waiting
                    waiting = next(unread, None)
                yield from self._read_span(stream, dictionary, start, end)
        while waiting is not None:
            yield waiting
            waiting = next(unread, None)

    def _read_span(self, stream: RemoteStream, dictionary: bytes, start: int, end: int) -> Iterator[WarcRecord]:
        span = cast(BinaryIO, _Span(dictionary, stream, end - start))
        missing = {entry.offset for entry in self._plan.entries if start <= entry.offset < end}
        for found in read_warc(span):
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

    Raises `IndexUnusable` where the item has no CDX that can be gone by, and `FetchFailed`.
    """
    if not item.cdx_indexes:
        raise IndexUnusable(f"{item.identifier} has no CDX.")
    entries: dict[str, list[CdxEntry]] = {}
    for file in item.cdx_indexes:
        try:
            with RemoteStream(RemoteFile(client, item.identifier, file)) as stream:
                index = read_cdx(stream.read() or b"")
        except (FileMissing, ItemRestricted, WrongBytes) as error:
            raise IndexUnusable(str(error)) from error
        for name, found in index.items():
            if name in entries:
                raise IndexUnusable(f"{item.identifier} has several CDX of {name}.")
            entries[name] = found
    return {file.name: entries[file.name] for file in item.warcs if file.name in entries}


def plan_archive(item: Item, entries: Mapping[str, Sequence[CdxEntry]]) -> dict[str, Plan | None]:
    """Return the plan of each WARC file; None for one to be read whole. Raises `IndexUnusable`."""
    plans: dict[str, Plan | None] = dict.fromkeys(file.name for file in item.warcs)
    for file in item.warcs:
        if file.name in entries and file.size and file.format in _CHECKSUMMED:
            plans[file.name] = make_plan(entries[file.name], file.size, REQUEST_BYTES)
    return plans


def extract_selected(
    client: ArchiveOrg,
    item: Item,
    scratch: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    decoders: DecoderPool,
    progress: Progress | None = None,
    on_read: Callable[[], None] | None = None,
    ahead: Ahead | None = None,
    blocked: Blocklist | None = None,
    on_wrong: Callable[[str], None] | None = None,
    find_known: FindKnown | None = None,
) -> Selected:
    """Do what `extract_streamed` does, but fetch only what can be originals, and what lies between them.

    The tables are those of a full read but for the records that were not fetched: their rows in the ledger have what
    the CDX says and the decision `not_fetched`. Where the index cannot be used, or what is read differs from what it
    says, all is read; `on_wrong` is told why. Each record's integrity is the checksum of its compressed frame, as the
    MD5 of a file that is not read whole cannot be checked. With `find_known`, records of files that earlier archives
    have are not fetched either, by what the CDX says of their SHA-1: their rows name the file as `known_as`.
    """
    item.require_available()
    total = sum(file.size or 0 for file in item.warcs)
    told: Progress | None = None if progress is None else lambda done, _: progress(done, total)
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
        extraction = extract_archive(
            item.identifier,
            warcs,
            folder,
            shard_bytes=shard_bytes,
            decoders=decoders,
            progress=told,
            on_read=on_read,
            ahead=ahead,
            blocked=blocked,
        )
        require_checked(item, streams)
    except (IndexUnusable, RangesIgnored, WrongBytes) as error:
        if on_wrong is not None:
            on_wrong(f"All of {item.identifier} is read: {error}")
        shutil.rmtree(folder, ignore_errors=True)
        extraction = extract_streamed(
            client,
            item,
            scratch,
            shard_bytes=shard_bytes,
            decoders=decoders,
            progress=progress,
            on_read=on_read,
            ahead=ahead,
            blocked=blocked,
            on_wrong=on_wrong,
        )
        return Selected(extraction, total, total, len(item.warcs), str(error))
    read = sum((file.size or 0) if (plan := plans[file.name]) is None else plan.bytes for file in item.warcs)
    requests = sum(1 if plan is None else len(plan.spans) for plan in plans.values())
    reason = "" if any(plans.values()) else f"more than {LARGEST_SHARE:.0%} of each file is wanted"
    return Selected(extraction, read, total, requests, reason)
