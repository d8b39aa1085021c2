"""WARC files that are not compressed: records straight from the window, and the search for the next after damage.

What a head says is `records`' business.
"""

from collections.abc import Iterator

from imgmine.archives.pieces import Damage
from imgmine.archives.records import (
    LONGEST_HEAD,
    BadHead,
    RecordHead,
    WarcRecord,
    begins_record,
    is_overtaken,
    make_record,
    parse_head,
)
from imgmine.archives.window import Window

# Records of other types are skipped, not held, from this size on.
_HELD = 1 << 20
_USUAL_HEAD = 4 << 10
_TRAILER = b"\r\n\r\n"
_FIRST_LINE = 16
_NEWLINES = 256


def read_plain(
    window: Window, position: int, wanted: frozenset[str] | None, largest: int
) -> Iterator[WarcRecord | Damage]:
    """Read the records from `position` on; all bytes that are no record are Damage.

    A record is believed where two line breaks, another record or the file's end follow. Where not, its length lies, and
    reading goes on at the next sound head, inside of what the record claimed.

    Args:
        window: the file; nothing from `position` on may have been released.
        position: where the first record begins.
        wanted: the types to make records of; all where None. The blocks of others are not kept.
        largest: a record with a larger block is Damage, and not kept.
    """
    while (position := _past_newlines(window, position)) < window.end:
        window.release(position)
        try:
            head = _head(window, position)
            following, is_cut = _check(window, position, head, wanted, largest)
        except BadHead as error:
            following = _next_record(window, max(position + 1, window.released))
            reason = str(error)
            if isinstance(error, _Cut) and following < window.end:
                reason = "a WARC record that claims more than is there"
            yield Damage(position, following - position, reason)
        else:
            if wanted is None or head.record_type in wanted:
                block = memoryview(bytes(window.view(position + head.end, head.length)))
                yield make_record(head, position, following - position, block)
                del block
            if is_cut:
                yield Damage(following, 0, "cut short: the file ends inside the line breaks after its last record")
        position = following


class _Cut(BadHead):
    """The file ends before the record does, as far as its head can be believed."""


def _head(window: Window, position: int) -> RecordHead:
    for size in (_USUAL_HEAD, LONGEST_HEAD):
        window.need(position, size)
        head = parse_head(bytes(window.view(position, min(size, window.end - position))))
        if head is not None:
            return head
    raise _Cut("cut short: the file ends inside a WARC head")


def _check(
    window: Window, position: int, head: RecordHead, wanted: frozenset[str] | None, largest: int
) -> tuple[int, bool]:
    """Have the record in hand, if it is wanted, and see that it ends where it says.

    Returns where the next one begins, and whether the file ends before the two line breaks that belong between them.
    """
    begin, end = position + head.end, position + head.end + head.length
    is_wanted = wanted is None or head.record_type in wanted
    if is_wanted and head.length > largest:
        raise BadHead(f"a record of {head.length} bytes, more than the {largest} allowed")
    if is_wanted or head.length <= _HELD:
        window.need(begin, head.length)
    else:
        window.skip(end)
    if window.end < end:
        raise _Cut(f"cut short: {end - window.end} of the {head.length} bytes of its Content-Length are missing")
    window.need(end, len(_TRAILER) + _FIRST_LINE)
    after = bytes(window.view(end, min(len(_TRAILER) + _FIRST_LINE, window.end - end)))
    following = after.lstrip(b"\r\n")
    newlines = after[: min(len(_TRAILER), len(after) - len(following))]
    if newlines.count(b"\n") >= 2:
        return end + len(newlines), False
    if following and not begins_record(following):
        raise BadHead("a WARC record that does not end where its Content-Length says")
    return end + len(newlines), not following


def _next_record(window: Window, position: int) -> int:
    """Return where the next sound head begins, or the end of the file. The line break before it may be damaged too."""
    while (found := window.find(b"WARC/", position)) is not None:
        position = found + 1
        window.need(found, _USUAL_HEAD)
        beginning = bytes(window.view(found, _USUAL_HEAD))
        if not begins_record(beginning) or is_overtaken(beginning):
            continue
        try:
            head = _head(window, found)
        except BadHead:
            continue
        if head.record_type and head.record_id:
            return found
    return window.end


def _past_newlines(window: Window, position: int) -> int:
    while window.need(position, 1):
        some = bytes(window.view(position, _NEWLINES))
        rest = some.lstrip(b"\r\n")
        position += len(some) - len(rest)
        window.release(position)
        if rest:
            break
    return position
