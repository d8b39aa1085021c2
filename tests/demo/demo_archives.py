"""Reading demo archives back with other people's readers: FastWARC for whole files, zstandard for single records."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import zstandard
from fastwarc.warc import ArchiveIterator

from imgmine.demo.archives import DemoArchive
from imgmine.demo.truth import Truth, read_truth


@dataclass
class ReadBack:
    """A demo archive with its truth and the answer of its metadata API."""

    archive: DemoArchive

    @cached_property
    def truth(self) -> Truth:
        return read_truth(self.archive.truth)

    @cached_property
    def item(self) -> dict[str, Any]:
        return json.loads((self.archive.folder / "item.json").read_text())

    def records(self, path: Path) -> list[tuple[str, int, dict[str, str], bytes]]:
        """Return every record of a WARC file: type, offset, headers, block."""
        read = []
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, parse_http=False):
                headers = dict(record.headers)
                read.append((headers["WARC-Type"], record.stream_pos, headers, record.reader.read()))
        return read


def dictionary_of(path: Path) -> tuple[bytes, bytes | None]:
    """Return the content of the leading skippable frame of a WARC file, and the dictionary in it (None: no frame)."""
    with path.open("rb") as stream:
        head = stream.read(8)
        if head[:4] != b"\x5d\x2a\x4d\x18":
            return b"", None
        content = stream.read(struct.unpack("<I", head[4:])[0])
    return content, zstandard.decompress(content) if content[:4] == b"\x28\xb5\x2f\xfd" else content


def frames_at(path: Path, offset: int, length: int, dictionary: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """Yield each frame in a span of a WARC file, compressed and decompressed."""
    known = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
    with path.open("rb") as stream:
        stream.seek(offset)
        data = stream.read(length)
    while data:
        reader = zstandard.ZstdDecompressor(dict_data=known).decompressobj()
        text = reader.decompress(data)
        assert reader.eof, "a frame that does not end"
        rest = reader.unused_data
        yield data[: len(data) - len(rest)], text
        data = rest
