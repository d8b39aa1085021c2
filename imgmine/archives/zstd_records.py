"""The straight way through a zstd file whose frames hold one record each, as nearly all do: frames in hand, one loop.

Whatever is not so, damage above all, is left to `zstd_frames` and `assembly`, which know every case and are slower.
"""

from collections.abc import Generator, Iterator
from typing import Literal

from xxhash import xxh64
from zstandard import ZstdError

from imgmine.archives.assembly import assemble
from imgmine.archives.pieces import Damage
from imgmine.archives.record_budget import RecordBudget
from imgmine.archives.records import LONGEST_HEAD, TRAILER, UNWANTED, Unwanted, WarcRecord, only_record
from imgmine.archives.search_budget import SearchBudget
from imgmine.archives.window import Window
from imgmine.archives.zstd_decoder import HELD_CONTENT, FrameDecoder
from imgmine.archives.zstd_frames import read_frames
from imgmine.archives.zstd_walk import (
    COMPRESSED_KIND,
    HEADER_LENGTHS,
    HELD,
    LONGEST_HEADER,
    STORED_KIND,
    BrokenFrame,
    parse_frame_header,
)


def read_zstd(
    window: Window,
    position: int,
    decoder: FrameDecoder,
    wanted: frozenset[str] | None,
    largest: int,
    record_budget: RecordBudget,
) -> Iterator[WarcRecord | Damage]:
    """Read the records of a zstd file from `position` on.

    Args:
        window: the file; nothing from `position` on may have been released.
        position: where the first frame begins.
        decoder: has the file's dictionary.
        wanted: the types to make records of; all where None. The blocks of others are not kept.
        largest: a frame, or a record over several, that is larger is Damage.
        record_budget: the file's, for the records of frames that hold several.
    """
    following: int | None = position
    budget = SearchBudget()
    while following is not None:
        position = yield from _usual_records(window, following, decoder, wanted, min(largest, HELD_CONTENT))
        frames = read_frames(window, position, decoder, largest, budget)
        following = yield from assemble(frames, wanted, largest, record_budget, until_idle=True)


def _usual_records(
    window: Window, position: int, decoder: FrameDecoder, wanted: frozenset[str] | None, largest: int
) -> Generator[WarcRecord, None, int]:
    """Yield records as long as each is a whole frame of usual blocks; return where the first other frame begins.

    One loop without calls, since every microsecond here is spent a hundred thousand times an archive. What it returns
    on is still in the window, untouched.
    """
    expected = b""  # the header of the frame before: mostly all of a file have the same
    missing = position + LONGEST_HEADER
    while missing - position <= HELD:
        window.released = position
        if not window.need(missing, 0):
            break
        buffer, view, start = window.buffer, window.all, window.start
        limit = window.end - start
        while True:
            begin = position - start
            if not expected or not buffer.startswith(expected, begin):
                if limit - begin < LONGEST_HEADER:
                    missing = position + LONGEST_HEADER
                    break
                expected = bytes(buffer[begin : begin + HEADER_LENGTHS[buffer[begin + 4]]])
                try:
                    header = parse_frame_header(expected)
                    decompress = decoder.usual(header).decompress
                except BrokenFrame:
                    return position
                checksum_length, largest_block = header.checksum_length, header.largest_block
            first = at = begin + header.length
            most = block = 0
            is_stored = True
            while not block & 1 and at + 3 <= limit:
                block = buffer[at] | buffer[at + 1] << 8 | buffer[at + 2] << 16
                size = block >> 3
                if not 0 < size <= largest_block:
                    return position
                kind = block & 6
                if kind == STORED_KIND:
                    most += size
                elif kind == COMPRESSED_KIND:
                    most += largest_block
                    is_stored = False
                else:
                    return position
                at += size + 3
            if not block & 1:
                missing = start + at + 3
                break
            at += checksum_length
            if at > limit:
                missing = start + at
                break
            end = start + at
            size = most if header.content_size is None else header.content_size
            if not 0 < size <= most <= largest:
                return position
            if is_stored:
                if size != most:
                    return position
                record = _stored_record(window, position, first, end, checksum_length, wanted)
            else:
                try:
                    content = decompress(view[begin:at], max_output_size=most)
                except ZstdError:
                    return position
                is_ended = content.endswith(TRAILER)
                record = only_record(content, 0, len(content), position, end, wanted) if is_ended else None
                del content  # what is large must not stay in memory while the next is decoded
            if record is None:
                return position
            position = end
            if record is not UNWANTED:
                yield record
                del record
    return position


def _stored_record(
    window: Window, position: int, at: int, end: int, checksum_length: int, wanted: frozenset[str] | None
) -> WarcRecord | Literal[Unwanted.UNWANTED] | None:
    """Read the record of a frame none of whose blocks is compressed, as is the way with most pictures.

    Its blocks are verified and moved together where they are in the window; of a single block, nothing is moved. So
    nothing is copied to memory of its own, and none is asked for. None, and nothing has changed, for what is not so.

    Args:
        at: where the first block's header is, in the window's buffer.
        end: where the frame ends, in the file.
    """
    buffer, view = window.buffer, window.all
    stop = end - window.start - checksum_length
    begin = at + 3
    blocks = []
    size = 0
    while at < stop:
        length = (buffer[at] | buffer[at + 1] << 8 | buffer[at + 2] << 16) >> 3
        blocks.append((at + 3, length))
        size += length
        at += 3 + length
    first = blocks[0][1]
    # The record's head must be in the first block, and its end in the last.
    if first < min(size, LONGEST_HEAD) or length < len(TRAILER) or not buffer.endswith(TRAILER, 0, stop):
        return None
    record = only_record(buffer, begin, begin + size, position, end, wanted)
    if record is None:
        return None
    if checksum_length:
        checksum = xxh64()
        for at, length in blocks:
            checksum.update(view[at : at + length])
        if checksum.digest()[:3:-1] != buffer[stop : stop + checksum_length]:
            return None
    if record is not UNWANTED:
        target = begin + first
        for at, length in blocks[1:]:
            view[target : target + length] = view[at : at + length]
            target += length
    return record
