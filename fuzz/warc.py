"""The WARC reader over every kind of file: nothing raises, no byte goes unsaid, and each record can be read again."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import zstandard

from fuzz.cost import promise_cost
from fuzz.target import Target, promise
from imgmine.archives.warc import Damage, WarcRecord, decode_record, leading_dictionary, read_warc
from imgmine.archives.zstd_walk import BrokenFrame, skippable_length
from tests.archives.warc_files import CONTENT_DICTIONARY, DICTIONARY, Kind, OnlyReads, Trickle, WarcFile, example

_LARGEST = 1 << 16
_PIECE_END, _RAW, _SKIPPABLE, _BOMB = b"\xfe\xff", 0xFD, 0xFC, 0xFB
_HEADER = 6
_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08"


class _Everything(frozenset[str]):
    """Contains every record type there may be."""

    def __contains__(self, item: object) -> bool:
        return True


_EVERY_TYPE = _Everything()


@cache
def _empty_file(kind: Kind, checksum: bool, content_size: bool) -> WarcFile:
    return WarcFile(kind, checksum, content_size)


def built(case: bytes) -> bytes:
    """Return the file that a case describes, so that mutations reach behind compression and checksums.

    The first byte says how it is compressed (or that the rest is the file itself), the next five where it is damaged
    afterwards, the rest is its content: pieces, each of which becomes a frame or member, is put in as it is, becomes a
    skippable frame, or a bomb.
    """
    head, content = case[:_HEADER].ljust(_HEADER, b"\0"), case[_HEADER:]
    kinds = list(Kind)
    if head[0] % 8 >= len(kinds):
        return content
    kind = kinds[head[0] % 8]
    file = _empty_file(kind, bool(head[0] & 8), bool(head[0] & 16))
    data = bytearray(file.data)
    for piece in content.split(_PIECE_END):
        first = piece[0] if piece else 0
        if first == _RAW:
            data += piece[1:]
        elif first == _SKIPPABLE and kind.is_zstd:
            data += b"\x50\x2a\x4d\x18" + (len(piece) - 1).to_bytes(4, "little") + piece[1:]
        elif first == _BOMB and len(piece) > 1:
            data += file.frame(piece[2:] * min(piece[1] * 4, 2 * _LARGEST // len(piece)))
        else:
            data += file.frame(piece)
    if data and head[1] & 1:
        at = int.from_bytes(head[2:4], "big") % len(data)
        if head[1] & 2:
            del data[at:]
        elif head[1] & 4:
            del data[at : at + head[5]]
        else:
            data[at] ^= head[4] or 1
    return bytes(data)


def _seeds() -> list[bytes]:
    records = [
        example(1).stored(),
        example(2, b"\xff\xd8\xff" + bytes(range(200))).stored(),
        example(3, record_type="request").stored(),
        b"WARC/1.0\nwarc-type: revisit\ncontent-length: 3\nWARC-Record-ID: <x>\n\nabc\n\n",
    ]
    made = []
    for kind in range(len(Kind)):
        start = bytes((kind | 8 * (kind % 4), 0, 0, 0, 0, 0))
        made.append(start + _PIECE_END.join(records))
        made.append(start + records[0] + records[1])
        made.append(start + records[0][:150] + _PIECE_END + records[0][150:] + _PIECE_END + records[2])
        special = [records[0], b"\xfcskipped", b"\xfd\0\0\0\0", b"\xfb\xffbomb", b"", b"\r\n\r\n", records[3]]
        made.append(start + _PIECE_END.join(special))
        for damage in (b"\1\0\x90\x40\0", b"\3\1\0\0\0", b"\5\0\xa0\0\x30"):
            made.append(start[:1] + damage + _PIECE_END.join(records))
    made += [b"\7\0\0\0\0\0" + built(seed) for seed in made[::3]]
    return made


def _is_the_readers_to_skip(data: bytes) -> bool:
    """Tell whether bytes hold nothing to report: skippable frames, and line breaks, in frames or members or bare."""
    at = 0
    while at < len(data):
        if (length := skippable_length(data[at : at + 8])) is not None:
            at += length
        elif data[at] in b"\r\n":
            at += 1
        elif (end := _end_of_line_breaks(data, at)) is not None:
            at = end
        else:
            return False
    return at == len(data)


def _end_of_line_breaks(data: bytes, at: int) -> int | None:
    """Return where the frame or member at `at` ends, if it holds nothing but line breaks."""
    # A frame of stored bytes is read without the dictionary that it names, even where the file's is broken.
    ways: list[Callable[[], Any]] = [
        zstandard.ZstdDecompressor(dict_data=dictionary).decompressobj
        for dictionary in (DICTIONARY, zstandard.ZstdCompressionDict(CONTENT_DICTIONARY))
    ]
    ways.append(lambda: zlib.decompressobj(31))
    for way in ways:
        inflate = way()
        with suppress(zstandard.ZstdError, zlib.error):
            content = inflate.decompress(data[at:])
            if inflate.eof and not content.strip(b"\r\n"):
                return len(data) - len(inflate.unused_data)
    return None


def _gaps(size: int, found: Sequence[WarcRecord | Damage], begin: int) -> Iterator[tuple[int, int]]:
    at = begin
    for item in found:
        if item.offset > at:
            yield at, item.offset
        at = max(at, item.offset + item.length)
    if at < size:
        yield at, size


def _check(case: bytes) -> None:
    data = built(case)
    try:
        dictionary = leading_dictionary(io.BytesIO(data))
    except BrokenFrame:
        dictionary = None
    options: dict[str, Any] = {"wanted": _EVERY_TYPE, "max_record_bytes": _LARGEST}
    found = list(read_warc(io.BytesIO(data), **options))
    other: Any = OnlyReads(data) if len(case) % 4 == 0 else Trickle(data, len(case))
    promise(list(read_warc(other, **options)) == found, "what is read does not depend on how the stream comes in")
    at = 0
    for item in found:
        promise(item.offset >= at, "offsets are in order")
        promise(item.length >= 0 and item.offset + item.length <= len(data), "all lies inside the file")
        at = item.offset
        if isinstance(item, Damage):
            promise(bool(item.reason), "every damage has a reason")
        else:
            promise(item.length > 0 and len(item.block) <= _LARGEST, "no record is larger than allowed")
    begin = 0
    if dictionary is not None and data.startswith(b"\x5d\x2a\x4d\x18"):
        begin = skippable_length(data[:8]) or 0
    for start, end in _gaps(len(data), found, begin):
        if not _is_the_readers_to_skip(data[start:end]):
            promise(False, f"bytes {start} to {end} of {len(data)} are neither a record nor damage")
    responses = list(read_warc(io.BytesIO(data), max_record_bytes=_LARGEST))
    kept = [item for item in found if isinstance(item, WarcRecord) and item.record_type in ("response", "revisit")]
    promise([item for item in responses if isinstance(item, WarcRecord)] == kept, "types do not change what is read")
    _read_again(data, found, dictionary)
    # Grown before it is compressed, and after.
    promise_cost(case, lambda grown: _count(built(grown)))
    promise_cost(data, _count)


def _count(data: bytes) -> None:
    """Read a long case, without keeping what is read."""
    for _ in read_warc(io.BytesIO(data), wanted=_EVERY_TYPE, max_record_bytes=_LARGEST):
        pass


def _read_again(data: bytes, found: Sequence[WarcRecord | Damage], dictionary: bytes | None) -> None:
    """Every record that has its stored bytes and its name for itself comes back from them."""
    places = [(item.offset, item.record_id) for item in found if isinstance(item, WarcRecord)]
    last_end = -1
    for item in found:
        alone = item.offset >= last_end
        last_end = max(last_end, item.offset + item.length)
        if isinstance(item, Damage) or not alone or places.count((item.offset, item.record_id)) > 1:
            continue
        stored = data[item.offset : item.offset + item.length]
        again = decode_record(stored, dictionary, record_id=item.record_id, max_record_bytes=_LARGEST)
        promise(again._replace(offset=item.offset, length=item.length) == item, "a record comes back from its bytes")


TARGET = Target(
    "warc",
    _seeds,
    _check,
    tokens=(
        b"WARC/1.1\r\n",
        b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <a>\r\nContent-Length: 4\r\n\r\nHTTP\r\n\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"Content-Length: ",
        b"WARC-Type: response\r\n",
        b"WARC-Truncated: length\r\n",
        b"WARC-Date: 0001-01-01T00:00:00+23:59\r\n",
        b"WARC-Target-URI: ",
        b"\xfe\xff",
        b"\xfe\xff\xfd",
        b"\xfe\xff\xfc",
        b"\xfe\xff\xfb\x7f",
        _ZSTD,
        _GZIP,
        b"\x5d\x2a\x4d\x18",
        b"99999999999999",
        _ZSTD + b"\x04\x58\x58\0\0WARC/",
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03\0\x0f\0\xf0\xffWARC/",
        gzip.compress(b"WARC/1.0\r\n", mtime=0),
    ),
    longest=2048,
)
