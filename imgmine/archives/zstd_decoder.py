"""zstd frames decoded and their checksums verified, with the file's dictionary, within a limit of memory.

Where a frame ends is `zstd_walk`'s business, which frames there are `zstd_frames`'.
"""

from contextlib import suppress
from typing import IO, cast

import zstandard

from imgmine.archives.window import Window
from imgmine.archives.zstd_walk import RETAINED, BrokenFrame, CutFrame, FrameHeader, FrameWalk, OversizedFrame

# Frames that may decode to more are decoded little by little, since they may be bombs.
HELD_CONTENT = 64 << 20

_READ = 1 << 20


class _FrameSource:
    """The stored bytes of one large frame, read as a file: given as the walk finds them to belong to it."""

    def __init__(self, window: Window, walk: FrameWalk) -> None:
        self._window = window
        self._walk = walk
        self.given = walk.offset

    def read(self, size: int = -1) -> bytes:
        window, walk = self._window, self._walk
        if self.given == walk.position:
            if walk.done:
                return b""
            walk.further(window)
        available = walk.position - self.given
        size = available if size < 0 else min(size, available)
        if not window.need(self.given, size):
            raise CutFrame("the file ends inside a frame")
        data = bytes(window.view(self.given, size))
        self.given += size
        window.release(self.given - RETAINED)
        return data


class FrameDecoder:
    """Decodes frames, with the file's dictionary where there is one. Not for several threads at once."""

    def __init__(self, dictionary: bytes | None = None, needs_checksums: bool = False) -> None:
        """Digest the dictionary, once for all frames. Raises BrokenFrame if it cannot be used.

        With `needs_checksums` a frame without one is a broken frame: nothing would tell whether its bytes are right.
        """
        self.needs_checksums = needs_checksums
        plain = zstandard.ZstdDecompressor()
        self._named = [plain]
        # A frame that names no dictionary may have been made with one all the same.
        self._unnamed = [plain]
        if dictionary is None:
            return
        try:
            prepared = zstandard.ZstdCompressionDict(dictionary)
            with_dictionary = zstandard.ZstdDecompressor(dict_data=prepared)
        except (zstandard.ZstdError, ValueError) as error:
            raise BrokenFrame(f"the dictionary cannot be used: {error}") from error
        self._named = [with_dictionary]
        self._unnamed = [plain, with_dictionary] if prepared.dict_id() else [with_dictionary, plain]

    def usual(self, header: FrameHeader) -> zstandard.ZstdDecompressor:
        """Return what decodes nearly all frames with this header; for those that fail, there is `decode`.

        Raises BrokenFrame for frames that may not be decoded at all.
        """
        self._check(header)
        return self._named[0] if header.dictionary_id else self._unnamed[0]

    def decode(self, window: Window, walk: FrameWalk, largest: int) -> bytes | bytearray:
        """Decode the frame on which `walk` has begun; it ends at `walk.position` afterwards.

        Raises:
            OversizedFrame: it decodes to more than `largest` bytes.
            CutFrame: the file ends before the frame does.
            BrokenFrame: it does not decode, or its checksum differs.
        """
        self._check(walk.header)
        walk.begin(window)
        size = walk.header.content_size
        if max(walk.least, size or 0) > largest:
            raise OversizedFrame(f"the frame decodes to more than {largest} bytes")
        if not walk.done:
            return self._decode_arriving(window, walk, largest)
        stored = walk.stored(window)
        if size is not None and size > walk.most:
            raise BrokenFrame("the frame's blocks cannot hold the content size in its header")
        if size == 0 or walk.most > min(largest, HELD_CONTENT):
            return self._decode_arriving(window, walk, largest)
        bound = walk.most or 1
        decoders = self._decoders(walk)
        try:
            return decoders[0].decompress(stored, max_output_size=bound)
        except zstandard.ZstdError as error:
            for decoder in decoders[1:]:
                with suppress(zstandard.ZstdError):
                    return decoder.decompress(stored, max_output_size=bound)
            raise BrokenFrame(f"the frame does not decode: {error}") from error

    def begins_with(self, prefix: bytes, window: Window, walk: FrameWalk) -> bool:
        """Tell whether the frame's content begins so, judged by what is in hand of it."""
        stored = window.view(walk.offset, min(walk.position, window.end) - walk.offset)
        for decoder in self._decoders(walk):
            with suppress(zstandard.ZstdError), decoder.stream_reader(stored) as reader:
                if reader.read(len(prefix)) == prefix:
                    return True
        return False

    def _check(self, header: FrameHeader) -> None:
        if self.needs_checksums and not header.checksum_length:
            raise BrokenFrame("a frame without a checksum")

    def _decoders(self, walk: FrameWalk) -> list[zstandard.ZstdDecompressor]:
        return self._named if walk.header.dictionary_id else self._unnamed

    def _decode_arriving(self, window: Window, walk: FrameWalk, largest: int) -> bytearray:
        """Decode a frame that is too large to trust or to hold: a little at a time, and no more than `largest`."""
        source = _FrameSource(window, walk)
        content = bytearray()
        try:
            with self._decoders(walk)[0].stream_reader(cast(IO[bytes], source), read_size=_READ) as reader:
                while chunk := reader.read(_READ):
                    content += chunk
                    if len(content) > largest:
                        raise OversizedFrame(f"the frame decodes to more than {largest} bytes")
        except zstandard.ZstdError as error:
            raise BrokenFrame(f"the frame does not decode: {error}") from error
        if not walk.done or source.given != walk.position:
            raise BrokenFrame("the frame's content ends before its blocks do")
        return content
