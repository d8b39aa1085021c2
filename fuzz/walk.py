"""The walk over zstd's block headers, and the decoder on it: where a frame ends, zstandard and we must agree."""

import io
from functools import cache
from random import Random
from typing import Any

import zstandard

from fuzz.target import Target, promise
from imgmine.archives.window import Window
from imgmine.archives.zstd_decoder import FrameDecoder
from imgmine.archives.zstd_walk import BrokenFrame, FrameWalk, parse_frame_header, skippable_length
from tests.archives.warc_files import CONTENT_DICTIONARY, DICTIONARY, Trickle, example

_LARGEST = 1 << 20
_SECOND_OPINION = 1 << 24


@cache
def _decoders() -> tuple[tuple[FrameDecoder, zstandard.ZstdDecompressor], ...]:
    made = []
    for dictionary in (None, DICTIONARY.as_bytes(), CONTENT_DICTIONARY):
        prepared = None if dictionary is None else zstandard.ZstdCompressionDict(dictionary)
        theirs = zstandard.ZstdDecompressor(dict_data=prepared) if prepared else zstandard.ZstdDecompressor()
        made.append((FrameDecoder(dictionary), theirs))
    return tuple(made)


def _seeds() -> list[bytes]:
    """Return frames of every shape; the first byte chooses the dictionary, and how the stream comes in."""
    contents = [b"", b"a", example(1).stored(), bytes(300_000), Random(1).randbytes(700), b"ab" * 70_000]
    made = []
    for number, dictionary in enumerate((None, DICTIONARY, zstandard.ZstdCompressionDict(CONTENT_DICTIONARY))):
        for checksum in (False, True):
            for size in (False, True):
                options: dict[str, Any] = {"write_checksum": checksum, "write_content_size": size}
                if dictionary is not None:
                    options["dict_data"] = dictionary
                for content in contents:
                    frame = zstandard.ZstdCompressor(3, **options).compress(content)
                    made.append(bytes((number,)) + frame + b"behind it")
        flushed = zstandard.ZstdCompressor(3, write_content_size=False).compressobj()
        parts = [flushed.compress(b"one" * 50), flushed.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)]
        parts += [flushed.compress(Random(2).randbytes(90)), flushed.flush()]
        made.append(bytes((number,)) + b"".join(parts))
    made.append(b"\0\x5d\x2a\x4d\x18\4\0\0\0abcd")
    return made


def _walked(stream: io.RawIOBase | io.BytesIO) -> tuple[FrameWalk, Window] | str:
    """Return a finished walk, or the reason why there is none."""
    window = Window(stream)  # type: ignore[arg-type]
    try:
        walk = FrameWalk(window, 0)
        walk.begin(window)
        walk.to_end(window)
    except BrokenFrame as error:
        return f"{type(error).__name__}: {error}"
    return walk, window


def _decoded(data: bytes, decoder: FrameDecoder) -> bytes | None:
    window = Window(io.BytesIO(data))
    try:
        return bytes(decoder.decode(window, FrameWalk(window, 0), _LARGEST))
    except BrokenFrame:
        return None


def _theirs(data: bytes, decoder: zstandard.ZstdDecompressor) -> tuple[bytes, int] | None:
    """Return what zstandard makes of the frame at the beginning, and where it ends."""
    inflate = decoder.decompressobj()
    content = b""
    try:
        for at in range(0, len(data), 4096):
            content += inflate.decompress(data[at : at + 4096])
            if inflate.eof:
                return content, at + len(data[at : at + 4096]) - len(inflate.unused_data)
            if len(content) > _SECOND_OPINION:
                return None
    except zstandard.ZstdError:
        pass
    return None


def _check(case: bytes) -> None:
    if not case:
        return
    ours, zstd = _decoders()[case[0] % 3]
    data = case[1:]
    length = skippable_length(data[:8])
    promise(length is None or length >= 8, "a skippable frame has its header")
    found = _walked(io.BytesIO(data))
    again = _walked(Trickle(data, case[0]))
    content, theirs = _decoded(data, ours), _theirs(data, zstd) if length is None else None
    if isinstance(found, str) or isinstance(again, str):
        promise(found == again, "a walk does not depend on how the stream comes in")
        promise(content is None, "what has no end is not decoded")
        promise(theirs is None or "empty blocks" in str(found), "zstandard finds no end where we find none")
        return
    walk, _ = found
    promise(walk.position == again[0].position, "a frame's end does not depend on how the stream comes in")
    promise(walk.done and 6 <= walk.position <= len(data), "a frame ends inside the file")
    promise(0 <= walk.least <= walk.most, "a frame decodes to what lies between its bounds")
    promise(parse_frame_header(data[: walk.header.length]) == walk.header, "a header alone says the same")
    if theirs is None:
        promise(content is None, "we decode nothing that zstandard does not")
        return
    promise(theirs[1] == walk.position, f"the frame ends at {theirs[1]}, not at {walk.position}")
    promise(walk.least <= len(theirs[0]) <= walk.most, "a frame decodes to what lies between its bounds")
    # zstandard's streams let a frame pass that ends with an empty block before its content size is reached.
    lies = walk.header.content_size not in (None, len(theirs[0]))
    if len(theirs[0]) <= _LARGEST and not lies:
        promise(content == theirs[0], "we decode what zstandard decodes")
    else:
        promise(content is None, "what is too large, or not as large as it says, is not decoded")


TARGET = Target(
    "walk",
    _seeds,
    _check,
    tokens=(b"\x28\xb5\x2f\xfd", b"\x5d\x2a\x4d\x18", b"\x01\0\0", b"\0\0\0", b"\xff\xff\xff", b"\x02\x80\0x"),
    longest=2048,
)
