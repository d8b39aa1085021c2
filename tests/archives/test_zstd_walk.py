"""Where zstd frames end, without decoding them."""

import io
from random import Random

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgmine.archives.window import Window
from imgmine.archives.zstd_decoder import FrameDecoder
from imgmine.archives.zstd_walk import (
    BrokenFrame,
    CutFrame,
    FrameWalk,
    is_skippable,
    parse_frame_header,
    skippable_length,
)
from tests.archives.warc_files import DICTIONARY

CONTENTS = st.one_of(
    st.binary(max_size=1000),
    st.builds(lambda seed, size: Random(seed).randbytes(size), st.integers(0, 9), st.integers(0, 600_000)),
    st.builds(lambda byte, size: byte * size, st.binary(min_size=1, max_size=3), st.integers(0, 200_000)),
)


@st.composite
def frames(draw: st.DrawFn) -> tuple[bytes, bytes]:
    content = draw(CONTENTS)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        draw(st.sampled_from([1, 3, 9])),
        window_log=draw(st.integers(10, 22)),
        write_checksum=draw(st.booleans()),
        write_content_size=draw(st.booleans()),
        write_dict_id=draw(st.booleans()),
    )
    dictionary = DICTIONARY if draw(st.booleans()) else None
    compressor = zstandard.ZstdCompressor(compression_params=parameters, dict_data=dictionary)
    if draw(st.booleans()):
        return content, compressor.compress(content)
    streamed = compressor.compressobj()
    cut = draw(st.integers(0, len(content)))
    stored = streamed.compress(content[:cut]) + streamed.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return content, stored + streamed.compress(content[cut:]) + streamed.flush()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(frame=frames(), before=st.binary(max_size=20), after=st.binary(max_size=20))
def test_a_walk_ends_where_the_frame_does_and_bounds_its_content(
    frame: tuple[bytes, bytes], before: bytes, after: bytes
) -> None:
    content, stored = frame
    window = Window(io.BytesIO(before + stored + after))
    walk = FrameWalk(window, len(before))
    walk.begin(window)
    assert walk.done
    assert walk.position == len(before) + len(stored)
    assert walk.least <= len(content) <= walk.most
    parameters = zstandard.get_frame_parameters(stored)
    assert walk.header.dictionary_id == parameters.dict_id
    assert bool(walk.header.checksum_length) == parameters.has_checksum
    unknown = walk.header.content_size is None
    assert parameters.content_size == (zstandard.CONTENTSIZE_UNKNOWN if unknown else walk.header.content_size)
    assert walk.header.length == zstandard.frame_header_size(stored)
    window = Window(io.BytesIO(before + stored + after))
    window.release(len(before))
    assert FrameDecoder(DICTIONARY.as_bytes()).decode(window, FrameWalk(window, len(before)), 1 << 20) == content
    # What was written over the header meanwhile was put back.
    assert window.view(0, 1 << 20) == before + stored + after


@settings(max_examples=300, deadline=None)
@given(head=st.binary(max_size=20), descriptor=st.integers(0, 255))
def test_any_header_is_read_as_zstandard_reads_it(head: bytes, descriptor: int) -> None:
    head = b"\x28\xb5\x2f\xfd" + bytes((descriptor,)) + head
    try:
        theirs = zstandard.get_frame_parameters(head)
    except zstandard.ZstdError:
        return  # zstandard also refuses windows that are too large; we leave that to the decoding
    ours = parse_frame_header(head)
    assert ours.dictionary_id == theirs.dict_id
    assert bool(ours.checksum_length) == theirs.has_checksum
    assert ours.content_size == (None if theirs.content_size == zstandard.CONTENTSIZE_UNKNOWN else theirs.content_size)
    assert ours.largest_block == min(128 << 10, theirs.window_size)


def test_headers_that_cannot_be_are_refused() -> None:
    with pytest.raises(CutFrame):
        parse_frame_header(b"\x28\xb5\x2f\xfd")
    with pytest.raises(CutFrame):
        parse_frame_header(b"\x28\xb5\x2f\xfd\x03\x58\0\0")
    with pytest.raises(BrokenFrame, match="no zstd frame"):
        parse_frame_header(b"\x28\xb5\x2f\xfe\x00\x58")
    with pytest.raises(BrokenFrame, match="reserved"):
        parse_frame_header(b"\x28\xb5\x2f\xfd\x08\x58")


def walk(blocks: bytes, window: int = 0x58) -> FrameWalk:
    window_ = Window(io.BytesIO(b"\x28\xb5\x2f\xfd\x00" + bytes((window,)) + blocks))
    found = FrameWalk(window_, 0)
    found.begin(window_)
    return found


def test_blocks_that_cannot_be_are_refused() -> None:
    assert walk(b"\x01\0\0").position == 9
    with pytest.raises(BrokenFrame, match="cannot be"):
        walk(b"\x07\0\0")  # the reserved kind
    with pytest.raises(BrokenFrame, match="cannot be"):
        walk(((128 << 10) + 1 << 3 | 1).to_bytes(3, "little"))
    with pytest.raises(BrokenFrame, match="cannot be"):
        walk((2000 << 3 | 1).to_bytes(3, "little"), window=0)  # more than a window of 1 KiB
    with pytest.raises(BrokenFrame, match="empty blocks"):
        walk(bytes(30_000))
    with pytest.raises(CutFrame):
        walk(bytes(30))


def test_skippable_frames_are_known_by_sixteen_magics() -> None:
    for nibble in range(16):
        head = bytes((0x50 | nibble,)) + b"\x2a\x4d\x18\x05\0\0\0"
        assert is_skippable(head)
        assert skippable_length(head) == 13
        assert skippable_length(head[:7]) is None
    assert not is_skippable(b"\x60\x2a\x4d\x18")
    assert not is_skippable(b"\x5d\x2a\x4d")
    assert skippable_length(b"\x28\xb5\x2f\xfd\0\0\0\0") is None
