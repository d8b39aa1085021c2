"""zstd as it is stored (RFC 8878): frame headers, block headers, skippable frames, and where a frame ends.

A walk over a frame's block headers, three bytes each, costs next to nothing and needs no content size in the header. What
it counts also bounds the decoded size, so that nothing is decoded on trust. Decoding is `zstd_decoder`'s.
"""

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

_LONGEST_HEADER = 18
_LARGEST_BLOCK = 128 << 10
# No encoder writes empty blocks but as the last; a hole of zeros in a file reads as one after the other.
_MOST_EMPTY_BLOCKS = 1 << 10


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
        checksum: whether four bytes of checksum follow the last block.
        largest_block: no block may be larger than this, stored or decoded.
    """

    length: int
    content_size: int | None
    dictionary_id: int
    checksum: bool
    largest_block: int


def is_skippable(head: bytes | memoryview) -> bool:
    """Tell whether a skippable frame begins so."""
    return len(head) >= 4 and head[0] >> 4 == 5 and head[1:4] == DICTIONARY_FRAME_MAGIC[1:]


def skippable_length(head: bytes | memoryview) -> int | None:
    """Return the length, header included, of the skippable frame that begins with `head` (8 bytes); None for others.

    For the dictionary of a remote file: fetch 8 bytes, then this many, and give them to `leading_dictionary`.
    """
    if len(head) < SKIPPABLE_HEADER or not is_skippable(head):
        return None
    return SKIPPABLE_HEADER + int.from_bytes(head[4:8], "little")


def parse_frame_header(head: bytes | memoryview) -> FrameHeader:
    """Read the header of a data frame from its first bytes (18 are always enough).

    Raises:
        CutFrame: `head` ends inside the header.
        BrokenFrame: this is no frame header.
    """
    if len(head) < 5:
        raise CutFrame("the file ends inside a frame header")
    if head[:4] != FRAME_MAGIC:
        raise BrokenFrame("no zstd frame begins here")
    descriptor = head[4]
    if descriptor & 0x08:
        raise BrokenFrame("a reserved bit of the frame header is set")
    single_segment = bool(descriptor & 0x20)
    id_size = (0, 1, 2, 4)[descriptor & 3]
    size_size = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    at = 5 if single_segment else 6
    length = at + id_size + size_size
    if len(head) < length:
        raise CutFrame("the file ends inside a frame header")
    content_size = int.from_bytes(head[at + id_size : length], "little") + (256 if size_size == 2 else 0)
    if single_segment:
        window = content_size
    else:
        window = 1 << (10 + (head[5] >> 3))
        window += (window >> 3) * (head[5] & 7)
    return FrameHeader(
        length=length,
        content_size=content_size if size_size else None,
        dictionary_id=int.from_bytes(head[at : at + id_size], "little"),
        checksum=bool(descriptor & 0x04),
        largest_block=min(window, _LARGEST_BLOCK),
    )


class FrameWalk:
    """A walk over one frame's block headers, as far as the bytes in hand go.

    Attributes:
        position: where the next block header is; once `done`, where the frame ends.
        most: the frame cannot decode to more bytes than this (the blocks seen so far).
        least: nor to fewer.
    """

    __slots__ = ("_empty", "done", "header", "least", "most", "offset", "position")

    def __init__(self, window: Window, offset: int) -> None:
        """Read the header of the frame at `offset`. Raises BrokenFrame."""
        window.need(offset, _LONGEST_HEADER)
        self.header = parse_frame_header(window.view(offset, _LONGEST_HEADER))
        self.offset = offset
        self.position = offset + self.header.length
        self.most = self.least = self._empty = 0
        self.done = False

    def advance(self, window: Window) -> None:
        """Walk over the block headers in hand. Raises BrokenFrame at one that cannot be."""
        buffer, start = window.buffer, window.start
        at, end = self.position - start, window.end - start - 3
        largest_block = self.header.largest_block
        while at <= end:
            block = buffer[at] | buffer[at + 1] << 8 | buffer[at + 2] << 16
            kind, size = block >> 1 & 3, block >> 3
            if kind == 3 or size > largest_block:
                self.position = start + at
                raise BrokenFrame("a block header that cannot be")
            if kind == 2:
                self.most += largest_block
            else:
                self.most += size
                self.least += size
            at += 4 if kind == 1 else size + 3
            if block & 1:
                self.done = True
                at += 4 if self.header.checksum else 0
                break
            if size == 0:
                self._empty += 1
                if self._empty > _MOST_EMPTY_BLOCKS:
                    self.position = start + at
                    raise BrokenFrame("more empty blocks than any encoder writes")
        self.position = start + at

    def further(self, window: Window) -> None:
        """Have the next block header in hand and walk on. Raises CutFrame at the end of the file, and BrokenFrame."""
        if not window.need(self.position, 3):
            raise CutFrame("the file ends inside a frame")
        self.advance(window)

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
        length = self.position - self.offset
        if not window.need(self.offset, length):
            raise CutFrame("the file ends inside a frame")
        return window.view(self.offset, length)
