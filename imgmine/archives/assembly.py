"""From the pieces of a compressed WARC file (frames, members) to its records: mostly one of one, but not always.

How pieces are found and decoded is `zstd_frames`' and `gzip_members`' business.
"""

import re
from collections.abc import Generator, Iterator

from imgmine.archives.pieces import Damage, Piece
from imgmine.archives.record_budget import AT_FIRST, EACH_BYTES, RecordBudget
from imgmine.archives.records import (
    TRAILER,
    UNWANTED,
    BadHead,
    RecordHead,
    WarcRecord,
    begins_record,
    make_record,
    only_record,
    parse_head,
)

# A page of a few KB can decode to millions of records without a block. Each costs a row of the ledger.
MOST_RECORDS = 100_000

_NEWLINES = re.compile(rb"[\r\n]*")
_NO_RECORD = "content that is no WARC record"
_TOO_MANY = (
    f"more records in frames of several than {AT_FIRST:,} and one for each {EACH_BYTES} bytes of the file so far"
)
_CUTTRAILER = "cut short: the file ends inside the line breaks after its last record"


def assemble(
    pieces: Iterator[Piece | Damage],
    wanted: frozenset[str] | None,
    largest: int,
    budget: RecordBudget,
    *,
    until_idle: bool = False,
) -> Generator[WarcRecord | Damage, None, int | None]:
    """Make records of pieces, in order: a record may go over several pieces, or share one with others.

    A piece that begins with a WARC record ends the record before it, whatever length that one claims, so that a lie
    costs one record. A piece that neither begins one nor goes on with one is Damage, and so is one that holds more
    than `MOST_RECORDS`, or than the file's budget has left, from there on.

    Args:
        pieces: in the order of the file.
        wanted: the types to make records of; all where None. The blocks of others are not kept.
        largest: a record over several pieces with a larger block is Damage, and not kept.
        budget: the file's, for the records of pieces that hold several.
        until_idle: stop, and return where the next piece begins, as soon as no record is unfinished; None at the end.
    """
    assembler = _Assembler(wanted, largest, budget)
    idle = True
    for piece in pieces:
        if idle and isinstance(piece, Piece):
            content = piece.content
            end = piece.end
            is_ended = content.endswith(TRAILER)
            found = only_record(content, 0, len(content), piece.offset, end, wanted) if is_ended else None
            del content  # what is large must not stay in memory while the next is decoded
            if found is not None:
                del piece
                if found is not UNWANTED:
                    yield found
                del found
                if until_idle:
                    return end
                continue
        if isinstance(piece, Damage):
            end = piece.offset + piece.length
            found_in = assembler.take_damage(piece)
        else:
            end = piece.end
            found_in = assembler.take(piece)
        del piece
        yield from found_in
        del found_in
        idle = assembler.is_idle
        if idle and until_idle:
            return end
    yield from assembler.finish()
    return None


class _OpenRecord:
    """A record whose end has not been seen yet."""

    __slots__ = ("block", "end", "head", "left", "line_breaks", "offset")

    def __init__(self, head: RecordHead, offset: int, keep: bool) -> None:
        self.head = head
        self.offset = offset
        self.end = offset
        self.left = head.length
        self.block: bytearray | memoryview | None = memoryview(b"") if keep else None
        self.line_breaks = 0

    def take(self, content: bytes | bytearray, at: int, end: int) -> int:
        """Take the record's part of `content[at:]`, of a piece that ends at `end`; return where that part stops."""
        self.end = end
        size = min(self.left, len(content) - at)
        if self.block is not None and size:
            part = memoryview(content)[at : at + size]
            if size == self.head.length:
                self.block = part
            else:
                if not isinstance(self.block, bytearray):
                    self.block = bytearray()
                self.block += part
        self.left -= size
        at += size
        if not self.left:
            if content.startswith(TRAILER, at):
                self.line_breaks += 2
                at += 4
            if at < len(content):
                stop = _past_newlines(content, at)
                self.line_breaks += content.count(b"\n", at, stop)
                at = stop
        return at


class _Assembler:
    """What is known between two pieces. What can be told of one is yielded in order, one by one: it may be much."""

    def __init__(self, wanted: frozenset[str] | None, largest: int, budget: RecordBudget) -> None:
        self._wanted = wanted
        self._largest = largest
        self._budget = budget
        self._lost: Damage | None = None  # not told yet: the pieces that follow may belong to it
        self._open: _OpenRecord | None = None
        self._head_part = b""  # the beginning of a head that goes on in the next piece
        self._head_offset = 0
        self._end = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is waiting for what comes next."""
        return self._open is None and self._lost is None and not self._head_part

    def take(self, piece: Piece) -> Iterator[WarcRecord | Damage]:
        """Take the next piece."""
        begin = offset = piece.offset
        content, end = piece.content, piece.end
        at = begun = 0
        if (self._open is not None or self._head_part) and begins_record(content) and len(content) >= 5:
            yield from self._break_off("the next one begins")
        if self._open is None and not self._head_part:
            at = _past_newlines(content, 0)
            if at == len(content):
                return
            if not begins_record(content, at):
                self._lose_more(offset, end)
                return
        elif self._head_part:
            content = self._head_part + content
            begin = self._head_offset
            self._head_part = b""
        self._end = end
        while True:
            if self._open is None:
                if not begins_record(content, at):
                    yield from self._lose(begin, end, _NO_RECORD)
                    return
                if begun == MOST_RECORDS:
                    yield from self._lose(begin, end, f"more than {MOST_RECORDS:,} records in one frame")
                    return
                if begun and not self._budget.spend(end):
                    yield from self._lose(begin, end, _TOO_MANY)
                    return
                try:
                    head = parse_head(content, at)
                except BadHead as error:
                    yield from self._lose(begin, end, str(error))
                    return
                if head is None:
                    self._head_part, self._head_offset = bytes(content[at:]), begin
                    return
                yield from self._tell_lost()
                begun += 1
                keep = head.length <= self._largest and (self._wanted is None or head.record_type in self._wanted)
                self._open = _OpenRecord(head, begin, keep)
                at = head.end
            at = self._open.take(content, at, end)
            begin = offset
            if at == len(content):
                if not self._open.left and self._open.line_breaks >= 2:
                    yield from self._close(self._open)
                return
            if self._open.line_breaks < 2 and not begins_record(content, at):
                yield from self._lose(self._open.offset, end, "a WARC record that goes on after its Content-Length")
                return
            yield from self._close(self._open)

    def take_damage(self, damage: Damage) -> Iterator[WarcRecord | Damage]:
        """Take damage instead of a piece."""
        begin, end, reason = damage.offset, damage.offset + damage.length, damage.reason
        if self._head_part:
            begin = self._head_offset
        elif self._open is not None:
            if self._open.left:
                begin = self._open.offset
            else:
                yield from self._close(self._open)
        if begin != damage.offset:
            reason += f" (inside the record that begins at {begin})"
        yield from self._lose(begin, end, reason)

    def finish(self) -> Iterator[WarcRecord | Damage]:
        """The file ends here."""
        if self._open is not None and not self._open.left:
            yield from self._close(self._open)
            yield Damage(self._end, 0, _CUTTRAILER)
        else:
            yield from self._break_off("the file ends")
        yield from self._tell_lost()

    def _break_off(self, why: str) -> Iterator[WarcRecord | Damage]:
        """What is open does not go on."""
        if self._head_part:
            reason = f"a WARC head that is not finished where {why}"
            yield from self._lose(self._head_offset, self._end, reason)
        elif self._open is not None:
            if self._open.left:
                left, length = self._open.left, self._open.head.length
                reason = f"cut short: {left} of the {length} bytes of its Content-Length are missing where {why}"
                yield from self._lose(self._open.offset, self._open.end, reason)
            else:
                yield from self._close(self._open)

    def _close(self, record: _OpenRecord) -> Iterator[WarcRecord | Damage]:
        """The record is whole."""
        self._open = None
        if record.block is not None:
            length = record.end - record.offset
            yield make_record(record.head, record.offset, length, memoryview(record.block))
        elif self._wanted is None or record.head.record_type in self._wanted:
            reason = f"a record of {record.head.length} bytes, more than the {self._largest} allowed"
            yield Damage(record.offset, record.end - record.offset, reason)

    def _lose(self, offset: int, end: int, reason: str) -> Iterator[Damage]:
        """What lies there is lost, and what was open with it."""
        yield from self._tell_lost()
        self._lost = Damage(offset, end - offset, reason)
        self._open = None
        self._head_part = b""

    def _lose_more(self, offset: int, end: int) -> None:
        """A piece without any record: more of what was lost last, if anything was."""
        if self._lost is None:
            self._lost = Damage(offset, end - offset, _NO_RECORD)
        else:
            self._lost = Damage(self._lost.offset, end - self._lost.offset, self._lost.reason)

    def _tell_lost(self) -> Iterator[Damage]:
        if self._lost is not None:
            lost, self._lost = self._lost, None
            yield lost


def _past_newlines(content: bytes | bytearray, at: int) -> int:
    match = _NEWLINES.match(content, at)
    return at if match is None else match.end()
