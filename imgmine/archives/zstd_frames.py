"""The frames of a zstd file, one after the other, and the dictionary in front of them (the IIPC's annex to WARC).

Damage is told, and reading goes on behind it. What the content means is `warc`'s business.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from imgmine.archives.pieces import Damage, Piece
from imgmine.archives.search_budget import SearchBudget
from imgmine.archives.window import Window
from imgmine.archives.zstd_decoder import HELD_CONTENT, FrameDecoder
from imgmine.archives.zstd_walk import (
    DICTIONARY_FRAME_MAGIC,
    FRAME_MAGIC,
    HELD,
    SKIPPABLE_HEADER,
    BrokenFrame,
    CutFrame,
    FrameWalk,
    is_skippable,
    skippable_length,
)

_LARGEST_DICTIONARY = 64 << 20
_BEGINNING = b"WARC/"


class Dictionary(NamedTuple):
    """What stands where a file's dictionary would.

    Attributes:
        content: the dictionary, ready for use; None where there is none.
        end: where the first frame after it begins, or where to look for it.
        error: what is wrong with it.
    """

    content: bytes | None
    end: int
    error: str | None = None


def read_dictionary(window: Window) -> Dictionary:
    """Read the dictionary in front of a file, stored as it is or compressed. Nothing is released."""
    window.need(0, SKIPPABLE_HEADER + len(FRAME_MAGIC))
    head = bytes(window.view(0, SKIPPABLE_HEADER + len(FRAME_MAGIC)))
    length = skippable_length(head)
    if length is None or not head.startswith(DICTIONARY_FRAME_MAGIC):
        return Dictionary(None, 0)
    try:
        if head.endswith(FRAME_MAGIC):
            walk = FrameWalk(window, SKIPPABLE_HEADER)
            content = bytes(FrameDecoder().decode(window, walk, _LARGEST_DICTIONARY))
            end = walk.position
        else:
            content = _stored_dictionary(window, length)
            end = length
        FrameDecoder(content)
    except BrokenFrame as broken:
        reason = f"the dictionary in front of the file cannot be read: {broken}"
        if window.released <= length <= _LARGEST_DICTIONARY and _frame_begins(window, length):
            return Dictionary(None, length, reason)
        if isinstance(broken, CutFrame):
            return Dictionary(None, window.end, f"cut short: {reason}")
        return Dictionary(None, SKIPPABLE_HEADER, reason)
    error = None if end == length else "the frame of the dictionary has a wrong length (the dictionary was used)"
    return Dictionary(content, end, error)


def read_frames(
    window: Window, position: int, decoder: FrameDecoder, largest: int, budget: SearchBudget
) -> Iterator[Piece | Damage]:
    """Decode the frames from `position` on: what decodes whole as Piece, all else but skippable frames as Damage.

    After bytes that are no frame, reading goes on at the next frame that begins with a WARC record.

    Args:
        window: the file; nothing from `position` on may have been released.
        position: where the first frame begins.
        decoder: has the file's dictionary.
        largest: a frame that decodes to more bytes is Damage.
        budget: the file's, for what is looked at after damage.
    """
    while position + 4 <= window.end or window.need(position, 4) or position < window.end:
        window.released = position
        walk: FrameWalk | None = None
        try:
            if window.end - position >= 4 and is_skippable(window.buffer, position - window.start):
                position = _skippable_end(window, position, decoder, budget)
                continue
            walk = FrameWalk(window, position)
            content = decoder.decode(window, walk, largest)
        except BrokenFrame as error:
            end = _end_of_damage(window, position, walk, decoder, budget)
            reason = str(error)
            if isinstance(error, CutFrame):
                reason = "a frame that does not end where it says" if window.end > end else f"cut short: {error}"
            yield Damage(position, end - position, reason)
            position = end
        else:
            piece = Piece(position, walk.position, content)
            del content  # whoever takes the piece decides how long it lives
            position = walk.position
            yield piece
            del piece


def _stored_dictionary(window: Window, length: int) -> bytes:
    if length > _LARGEST_DICTIONARY:
        raise BrokenFrame(f"{length} bytes are too many")
    if not window.need(0, length):
        raise CutFrame("the file ends inside it")
    return bytes(window.view(SKIPPABLE_HEADER, length - SKIPPABLE_HEADER))


def _frame_begins(window: Window, position: int) -> bool:
    """Tell whether a frame begins at `position`, or the file ends there or inside the frame's first bytes."""
    window.need(position, len(FRAME_MAGIC))
    head = bytes(window.view(position, len(FRAME_MAGIC)))
    if len(head) < len(FRAME_MAGIC):
        return position <= window.end and (
            FRAME_MAGIC.startswith(head) or (head[0] >> 4 == 5 and DICTIONARY_FRAME_MAGIC[1:].startswith(head[1:]))
        )
    return head == FRAME_MAGIC or is_skippable(head)


def _skippable_end(window: Window, position: int, decoder: FrameDecoder, budget: SearchBudget) -> int:
    """Return where the skippable frame at `position` ends. Raises BrokenFrame if its length cannot be."""
    if not window.need(position, SKIPPABLE_HEADER):
        raise CutFrame("the file ends inside a frame header")
    length = skippable_length(bytes(window.view(position, SKIPPABLE_HEADER))) or SKIPPABLE_HEADER
    end = position + length
    if length <= HELD:
        if not window.need(position, length):
            raise CutFrame("the file ends inside a skippable frame")
    elif (found := _next_record(window, position + 1, decoder, end, budget)) is not None and found < end:
        # A length of up to 4 GiB is not believed where records lie inside.
        raise BrokenFrame("a skippable frame with records inside")
    elif window.end < end:
        raise CutFrame("the file ends inside a skippable frame")
    if not _frame_begins(window, end):
        raise BrokenFrame("a skippable frame that does not end where a frame begins")
    return end


def _end_of_damage(
    window: Window, position: int, walk: FrameWalk | None, decoder: FrameDecoder, budget: SearchBudget
) -> int:
    """Return where to read on: behind the broken frame, if its structure is whole, else at the next record."""
    behind = None
    if walk is not None:
        with suppress(BrokenFrame):
            walk.to_end(window)
            behind = walk.position if _frame_begins(window, walk.position) else None
        _spend(budget, walk)
    found = _next_record(window, max(position + 1, window.released), decoder, behind, budget)
    if behind is None:
        return window.end if found is None else found
    # A walk led astray by damage may still come to where a frame begins. Then the frames inside lead there as well.
    # Those that somebody put into a picture do not, and are no records.
    return found if found is not None and _leads_to(window, found, behind, budget) else behind


def _leads_to(window: Window, position: int, end: int, budget: SearchBudget) -> bool:
    """Tell whether frames lie end to end from `position` to `end`."""
    with suppress(BrokenFrame):
        while position < end and budget.allows(position):
            walk = FrameWalk(window, position)
            while not walk.done and walk.position < end:
                walk.further(window)
            budget.spend(walk.position - position, 0)
            if not walk.done:
                return False
            position = walk.position
    return position == end


def _next_record(
    window: Window, position: int, decoder: FrameDecoder, limit: int | None, budget: SearchBudget
) -> int | None:
    """Return where the next frame that decodes and begins with a WARC record begins, if before `limit`."""
    found = window.find(FRAME_MAGIC, position, limit)
    while found is not None and not _is_record(window, found, decoder, budget):
        found = window.find(FRAME_MAGIC, found + 1, limit)
    return found


def _is_record(window: Window, position: int, decoder: FrameDecoder, budget: SearchBudget) -> bool:
    walk: FrameWalk | None = None
    try:
        candidate = FrameWalk(window, position)
        candidate.first(window, len(_BEGINNING))
        if not decoder.begins_with(_BEGINNING, window, candidate) or not budget.allows(position):
            return False
        walk = candidate
        walk.begin(window)
        if walk.done:
            walk.stored(window)
        # One that is too large to decode twice is judged by its first blocks.
        if walk.done and walk.most <= HELD_CONTENT:
            decoder.decode(window, walk, HELD_CONTENT)
    except BrokenFrame:
        if walk is not None:
            _spend(budget, walk)
        return False
    return True


def _spend(budget: SearchBudget, walk: FrameWalk) -> None:
    """Note that a frame was walked over, and maybe decoded, in vain."""
    size = walk.header.content_size
    # More than the header says is decoded only little by little.
    decoded = walk.most if size is None or walk.most > HELD_CONTENT else min(size, walk.most)
    budget.spend(walk.position - walk.offset, decoded)
