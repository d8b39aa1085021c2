"""gzip as it is stored in `.warc.gz`: members, decoded and verified, with their offsets in the compressed file.

What the content means is `warc`'s business.
"""

import zlib
from collections.abc import Iterator

from imgmine.archives.pieces import Damage, Piece
from imgmine.archives.search_budget import SearchBudget
from imgmine.archives.window import Window
from imgmine.errors import ImgmineError

MEMBER_MAGIC = b"\x1f\x8b\x08"

# Members up to this size stay in hand until they are verified, so that a broken one is searched for the next.
_HELD = 8 << 20
_FEED = 64 << 10
_TAKEN = 256 << 10
# A member has shown how its content begins by then: its header is short, and a code table has at most some 300 bytes.
_BEGINNING = 4 << 10
_RECORD = b"WARC/"
_GZIP_HEADER = 31  # zlib's way to ask for gzip with the largest window


class BrokenMember(ImgmineError):
    """Bytes that are no gzip member, or a member that does not decode."""


class CutMember(BrokenMember):
    """The file ends inside a member."""


def read_members(window: Window, position: int, largest: int) -> Iterator[Piece | Damage]:
    """Decode the gzip members from `position` on: what decodes whole as Piece, all other bytes as Damage.

    After bytes that are no member, reading goes on at the next member that begins with a WARC record.

    Args:
        window: the file; nothing from `position` on may have been released.
        position: where the first member begins.
        largest: a member that decodes to more bytes is Damage.
    """
    budget = SearchBudget()
    while window.need(position, 1):
        window.release(position)
        try:
            content, end = _decode(window, position, largest, budget)
        except BrokenMember as error:
            end = _next_record(window, max(position + 1, window.released), budget)
            reason = str(error)
            if isinstance(error, CutMember):
                reason = "a gzip member without an end" if window.end > end else f"cut short: {error}"
            yield Damage(position, end - position, reason)
            position = end
        else:
            piece = Piece(position, end, content)
            del content  # whoever takes the piece decides how long it lives
            position = end
            yield piece
            del piece


def _decode(window: Window, position: int, largest: int, budget: SearchBudget) -> tuple[bytes | bytearray, int]:
    """Decode the member at `position`; returns its content and where it ends. Raises BrokenMember."""
    inflate = zlib.decompressobj(_GZIP_HEADER)
    content: bytes | bytearray = b""
    at = position
    is_whole = False
    try:
        while not inflate.eof:
            window.need(at, 1)
            fed = min(window.end - at, _FEED)
            if fed <= 0:
                raise CutMember("the file ends inside a gzip member")
            try:
                chunk = inflate.decompress(window.view(at, fed), min(largest + 1 - len(content), _TAKEN))
            except zlib.error as error:
                raise BrokenMember(f"the gzip member does not decode: {error}") from error
            at += fed - len(inflate.unused_data if inflate.eof else inflate.unconsumed_tail)
            if not content:
                content = chunk
            else:
                content = content if isinstance(content, bytearray) else bytearray(content)
                content += chunk
            if len(content) > largest:
                raise BrokenMember(f"the gzip member decodes to more than {largest} bytes")
            if at - position > _HELD:
                window.release(at - _HELD)
        is_whole = True
    finally:
        if not is_whole:
            budget.spend(at - position + _FEED, len(content) + _TAKEN)
    return content, at


def _next_record(window: Window, position: int, budget: SearchBudget) -> int:
    """Return where the next member that decodes and begins with a WARC record begins, or the end of the file."""
    while (found := window.find(MEMBER_MAGIC, position)) is not None:
        if _begins_record(window, found) and budget.allows(found) and _is_whole(window, found, budget):
            return found
        position = found + 1
    return window.end


def _begins_record(window: Window, position: int) -> bool:
    """Look at the beginning of what may be a member. Noise full of magic numbers is not read to the end for each."""
    window.need(position, _BEGINNING)
    try:
        return zlib.decompressobj(_GZIP_HEADER).decompress(window.view(position, _BEGINNING), len(_RECORD)) == _RECORD
    except zlib.error:
        return False


def _is_whole(window: Window, position: int, budget: SearchBudget) -> bool:
    """Decode what may be a member without keeping it, up to a size; a larger one is judged by its beginning."""
    inflate = zlib.decompressobj(_GZIP_HEADER)
    at = position
    decoded = 0
    while not inflate.eof and at - position < _HELD and decoded < _HELD:
        window.need(at, 1)
        fed = min(window.end - at, _FEED)
        try:
            chunk = inflate.decompress(window.view(at, fed), _TAKEN) if fed > 0 else None
        except zlib.error:
            chunk = None
        if chunk is None:
            budget.spend(at - position + fed, decoded + _TAKEN)
            return False
        at += fed - len(inflate.unused_data if inflate.eof else inflate.unconsumed_tail)
        decoded += len(chunk)
    return True
