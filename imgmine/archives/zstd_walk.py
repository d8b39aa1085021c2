"""zstd as it is stored (RFC 8878): frame headers, block headers, skippable frames, and where a frame ends.

A walk over a frame's block headers, three bytes each, costs next to nothing and needs no content size in the header.
What it counts also bounds the decoded size, so that nothing is decoded on trust. Decoding is `zstd_decoder`'s.
"""

from functools import lru_cache
from typing import NamedTuple

from imgmine.archives.window import Window
from imgmine.errors import ImgmineError

FRAME_MAGIC = b"\x28\xb5\x2f\xfd"
# The skippable frame that the IIPC's annex gives to a file's dictionary.
DICTIONARY_FRAME_MAGIC = b"\x5d\x2a\x4d\x18"
SKIPPABLE_HEADER = 8
# Frames up to this size are held in the window whole, larger ones are taken from it as they arrive.
HELD = 8 << 20
# What stays in hand behind the walk through a larger frame: if the walk went astray, the next frame is looked for here.
RETAINED = 512 << 10

_ID_SIZES = (0, 1, 2, 4)
_CHECKSUM, _RESERVED, _SINGLE_SEGMENT = 0x04, 0x08, 0x20
_LARGEST_BLOCK = 128 << 10
STORED_KIND, _REPEATED_KIND, COMPRESSED_KIND, _RESERVED_KIND = 0, 2, 4, 6
# No encoder writes empty blocks but as the last; a hole of zeros in a file reads as one after the other.
_MOST_EMPTY_BLOCKS = 1 << 10
_ENDLESS = 1 << 63


class BrokenFrame(ImgmineError):
    """Bytes that are no zstd frame, or a frame that does not decode."""


class CutFrame(BrokenFrame):
    """The file ends inside a frame."""


class OversizedFrame(BrokenFrame):
    """A frame that decodes to more than is allowed."""


class FrameHeader(NamedTuple):
    """What a frame says of itself.

    Attributes:
        length: bytes of the header, magic included.
        content_size: bytes that the frame decodes to, where it says so.
        dictionary_id: 0 where it names none.
        checksum_length: bytes that follow the last block: 4 or none.
        largest_block: no block may be larger than this, stored or decoded.
    """

    length: int
    content_size: int | None
    dictionary_id: int
    checksum_length: int
    largest_block: int


def is_skippable(content: bytes | bytearray, at: int = 0) -> bool:
    """Tell whether a skippable frame begins at `content[at:]`."""
    return content.startswith(DICTIONARY_FRAME_MAGIC[1:], at + 1) and content[at] >> 4 == 5


def skippable_length(head: bytes) -> int | None:
    """Return the length, header included, of the skippable frame that begins with `head` (8 bytes); None for others.

    For the dictionary of a remote file: fetch 8 bytes, then this many, and give them to `leading_dictionary`.
    """
    if len(head) < SKIPPABLE_HEADER or not is_skippable(head):
        return None
    return SKIPPABLE_HEADER + int.from_bytes(head[4:8], "little")


@lru_cache(maxsize=256)  # the frames of a file mostly have the same
def parse_frame_header(head: bytes) -> FrameHeader:
    """Read the header of a data frame; `head` is all of it, or all there is.

    Raises:
        CutFrame: `head` ends inside the header.
        BrokenFrame: this is no frame header.
    """
    if len(head) < 5 or len(head) < header_length(head[4]):
        raise CutFrame("the file ends inside a frame header")
    if head[:4] != FRAME_MAGIC:
        raise BrokenFrame("no zstd frame begins here")
    descriptor = head[4]
    if descriptor & _RESERVED:
        raise BrokenFrame("a reserved bit of the frame header is set")
    id_at = 5 if descriptor & _SINGLE_SEGMENT else 6
    size_at = id_at + _ID_SIZES[descriptor & 3]
    size_size = header_length(descriptor) - size_at
    content_size = int.from_bytes(head[size_at : size_at + size_size], "little") + (256 if size_size == 2 else 0)
    if descriptor & _SINGLE_SEGMENT:
        window = content_size
    else:
        window = 1 << (10 + (head[5] >> 3))
        window += (window >> 3) * (head[5] & 7)
    return FrameHeader(
        length=header_length(descriptor),
        content_size=content_size if size_size else None,
        dictionary_id=int.from_bytes(head[id_at:size_at], "little"),
        checksum_length=4 if descriptor & _CHECKSUM else 0,
        largest_block=min(window, _LARGEST_BLOCK),
    )


def header_length(descriptor: int) -> int:
    """Return the length of a frame header, magic included, from its fifth byte."""
    single_segment = descriptor & _SINGLE_SEGMENT
    size_size = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    return (5 if single_segment else 6) + _ID_SIZES[descriptor & 3] + size_size


HEADER_LENGTHS = tuple(map(header_length, range(256)))
LONGEST_HEADER = max(HEADER_LENGTHS)


class FrameWalk:
    """A walk over one frame's block headers, as far as the bytes in hand go.

    Attributes:
        position: where the next block header is; once `done`, where the frame ends.
        most: the frame cannot decode to more bytes than this (the blocks seen so far).
        least: nor to fewer.
    """

    __slots__ = ("_empty", "done", "header", "least", "most", "offset", "position")

    def __init__(self, window: Window, offset: int) -> None:
        """Read the header of the frame at `offset`; no block yet. Raises BrokenFrame."""
        if window.end - offset < LONGEST_HEADER:
            window.need(offset, LONGEST_HEADER)
        at = offset - window.start
        buffer = window.buffer
        length = HEADER_LENGTHS[buffer[at + 4]] if window.end - offset > 4 else 0
        self.header = parse_frame_header(bytes(buffer[at : min(at + length, window.end - window.start)]))
        self.offset = offset
        self.position = offset + length
        self.most = self.least = self._empty = 0
        self.done = False

    def advance(self, window: Window, enough: int = _ENDLESS) -> None:
        """Walk over the block headers in hand, until `most` is `enough`. Raises BrokenFrame at one that cannot be."""
        buffer, start = window.buffer, window.start
        at, end = self.position - start, window.end - start - 3
        largest_block = self.header.largest_block
        most, least = self.most, self.least
        try:
            while at <= end and most < enough:
                block = buffer[at] | buffer[at + 1] << 8 | buffer[at + 2] << 16
                size = block >> 3
                kind = block & 6
                if size > largest_block or kind == _RESERVED_KIND:
                    raise BrokenFrame("a block header that cannot be")
                if kind == COMPRESSED_KIND:
                    most += largest_block
                else:
                    most += size
                    least += size
                at += 4 if kind == _REPEATED_KIND else size + 3
                if block & 1:
                    self.done = True
                    at += self.header.checksum_length
                    break
                if not size:
                    self._empty += 1
                    if self._empty > _MOST_EMPTY_BLOCKS:
                        raise BrokenFrame("more empty blocks than any encoder writes")
        finally:
            self.position = start + at
            self.most, self.least = most, least

    def further(self, window: Window, enough: int = _ENDLESS) -> None:
        """Have the next block header in hand and walk on. Raises CutFrame at the end of the file, and BrokenFrame."""
        if not window.need(self.position, 3):
            raise CutFrame("the file ends inside a frame")
        self.advance(window, enough)

    def first(self, window: Window, size: int) -> None:
        """Walk until there may be `size` bytes of content, and have what was passed in hand. Raises BrokenFrame."""
        while not self.done and self.most < size:
            self.further(window, size)
        window.need(self.position, 0)

    def begin(self, window: Window) -> None:
        """Walk to the end of a frame that is small enough to be held, or through the beginning of a larger one."""
        while not self.done and self.position - self.offset <= HELD:
            self.further(window)

    def to_end(self, window: Window) -> None:
        """Walk to the end of the frame, whatever its size, without holding more of it than `begin` would."""
        while not self.done:
            if self.position - self.offset > HELD:
                window.release(self.position - RETAINED)
            self.further(window)
        if not window.need(self.position, 0):
            raise CutFrame("the file ends inside a frame")

    def stored(self, window: Window) -> memoryview:
        """Show the stored bytes of a frame that was walked to its end and not released. Raises CutFrame."""
        if self.position > window.end and not window.need(self.position, 0):
            raise CutFrame("the file ends inside a frame")
        return window.view(self.offset, self.position - self.offset)
