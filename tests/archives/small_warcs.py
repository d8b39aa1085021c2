"""Small WARC files for tests: records of given HTTP answers, compressed as the tests want them."""

import gzip
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import zstandard

Compression = Literal["dictionary", "zstd", "gzip", "plain"]

_SAMPLES = [b"WARC/1.1\r\nWARC-Type: response\r\n%d" % number * 20 for number in range(200)]
_DICTIONARY = zstandard.train_dictionary(4096, _SAMPLES, k=64, d=8, dict_id=1_600_000_001)


def jpeg(content: bytes = b"", size: int = 700) -> bytes:
    """Return bytes that begin like a JPEG; what decides in the pass is the signature."""
    return (b"\xff\xd8\xff\xe0" + content).ljust(size, b"\x01")


def png(content: bytes = b"", size: int = 700) -> bytes:
    return (b"\x89PNG\r\n\x1a\n" + content).ljust(size, b"\x02")


def gif(content: bytes = b"", size: int = 700) -> bytes:
    return (b"GIF89a" + content).ljust(size, b"\x03")


def mp4(content: bytes = b"", size: int = 700) -> bytes:
    """Return bytes that begin like an MP4 and that no decoder takes."""
    return (b"\0\0\0\x18ftypisom\0\0\2\0isommp41" + content).ljust(size, b"\x04")


HTML = b"<!DOCTYPE html><title>Imgur</title>" + b" " * 600


@dataclass(frozen=True)
class Answer:
    """One response or revisit: what the server said, and how the crawler kept it."""

    url: str | None
    body: bytes = b""
    status: int | str = 200
    headers: Sequence[tuple[str, str]] = ()
    declared: int | str | None = -1  # -1: what the body has
    record_type: str = "response"
    date: str = "2023-05-01T12:00:00Z"
    truncated: str | None = None
    block: bytes | None = None  # instead of the HTTP answer
    record_id: str = field(default_factory=lambda: f"urn:uuid:{uuid.uuid4()}")

    def record(self) -> bytes:
        block = self.block if self.block is not None else self._http()
        lines = [
            "WARC/1.1",
            f"WARC-Type: {self.record_type}",
            f"WARC-Record-ID: <{self.record_id}>",
            f"WARC-Date: {self.date}",
            f"Content-Length: {len(block)}",
        ]
        if self.url is not None:
            lines.append(f"WARC-Target-URI: {self.url}")
        if self.truncated is not None:
            lines.append(f"WARC-Truncated: {self.truncated}")
        return "\r\n".join(lines).encode(errors="surrogateescape") + b"\r\n\r\n" + block + b"\r\n\r\n"

    def _http(self) -> bytes:
        headers = list(self.headers)
        if self.declared is not None:
            headers.append(("Content-Length", str(len(self.body) if self.declared == -1 else self.declared)))
        head = [f"HTTP/1.1 {self.status} Something", *(f"{name}: {value}" for name, value in headers)]
        body = b"" if self.record_type == "revisit" else self.body
        return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def request(url: str) -> Answer:
    """Return a record that the pass has to pass over."""
    return Answer(url, record_type="request", block=b"GET / HTTP/1.1\r\n\r\n")


@dataclass(frozen=True)
class Span:
    offset: int
    length: int


def write_warc(
    path: Path, answers: Sequence[Answer], compression: Compression = "dictionary", *, checksums: bool = True
) -> list[Span]:
    """Write the answers, each in its own frame or member, and return where they lie."""
    dictionary = _DICTIONARY if compression == "dictionary" else None
    compressor = zstandard.ZstdCompressor(
        level=3, dict_data=dictionary, write_checksum=checksums, write_content_size=False, write_dict_id=True
    )
    compress = {
        "dictionary": compressor.compress,
        "zstd": compressor.compress,
        "gzip": lambda record: gzip.compress(record, mtime=0),
        "plain": bytes,
    }[compression]
    spans = []
    with path.open("wb") as out:
        if dictionary is not None:
            packed = zstandard.ZstdCompressor().compress(dictionary.as_bytes())
            out.write(b"\x5d\x2a\x4d\x18" + struct.pack("<I", len(packed)) + packed)
        for answer in answers:
            stored = compress(answer.record())
            spans.append(Span(out.tell(), len(stored)))
            out.write(stored)
    return spans
