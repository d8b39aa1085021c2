"""Which bytes of a WARC file are worth fetching, by what its CDX says: the records that can be originals.

What the index says is `cdx`'s; reading by a plan is `selection`'s.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from imgmine.archives.cdx import CdxEntry, IndexUnusable
from imgmine.archives.imgur import UrlKind, classify_url
from imgmine.archives.item import Item

# A request costs about as much as so many bytes: some 60 ms at 1 MB/s. Smaller gaps are read rather than jumped over.
REQUEST_BYTES = 64 << 10
# Where more of a file than this is to be read, it is read whole: then its MD5 can be checked.
LARGEST_SHARE = 0.6
# Between two records of the index lie a request and a crawler's note, of some hundred bytes. Where there is more, the
# index may have left records out, and nothing may be lost for that. A record so small that it fits is not seen.
UNLISTED_BYTES = 2 << 10

# Formats whose records carry checksums of their own.
_CHECKSUMMED = frozenset({"Web ARChive ZST", "Web ARChive GZ"})

Span = tuple[int, int]
# Returns, of these SHA-1s, those that files of earlier archives have, with the BLAKE2b of the file.
FindKnown = Callable[[Collection[bytes]], Mapping[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be read of one WARC file: `spans` of bytes, in order; `entries` are all that its index lists.

    `gaps` is how many stretches of at most `UNLISTED_BYTES`, after its beginning, are neither read nor in the index.
    """

    spans: tuple[Span, ...]
    entries: tuple[CdxEntry, ...]
    gaps: int = 0

    @property
    def bytes(self) -> int:
        """How many bytes are to be read."""
        return sum(end - start for start, end in self.spans)


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
    for start, until in _wanted_spans(entries, gaps := list(_gaps(entries, size))):
        if spans and start - spans[-1][1] <= request_bytes:
            spans[-1] = spans[-1][0], max(until, spans[-1][1])
        else:
            spans.append((start, until))
    read = iter([*spans, (size, size)])
    span = next(read)
    unread = 0
    for start, until in gaps:
        while span[1] < until:
            span = next(read)
        unread += 0 < start < span[0]  # the beginning has the dictionary
    plan = Plan(tuple(spans), tuple(entries), unread)
    return plan if plan.bytes <= LARGEST_SHARE * size else None


def plan_archive(item: Item, entries: Mapping[str, Sequence[CdxEntry]]) -> dict[str, Plan | None]:
    """Return the plan of each WARC file; None for one to be read whole. Raises `IndexUnusable`."""
    plans: dict[str, Plan | None] = dict.fromkeys(file.name for file in item.warcs)
    for file in item.warcs:
        if file.name in entries and file.size and file.format in _CHECKSUMMED:
            plans[file.name] = make_plan(entries[file.name], file.size, REQUEST_BYTES)
    return plans


def _gaps(entries: Sequence[CdxEntry], size: int) -> Iterator[Span]:
    """Yield, in order, the stretches that no entry accounts for."""
    end = 0
    for entry in entries:
        if entry.offset > end:
            yield end, entry.offset
        end = max(end, entry.offset + entry.length)
    if size > end:
        yield end, size


def _wanted_spans(entries: Sequence[CdxEntry], gaps: Sequence[Span]) -> list[Span]:
    """Return, by their beginnings, the records that are wanted and the larger gaps."""
    wanted = [(entry.offset, entry.offset + entry.length) for entry in entries if is_wanted(entry)]
    return sorted([*wanted, *(gap for gap in gaps if gap[1] - gap[0] > UNLISTED_BYTES)])
