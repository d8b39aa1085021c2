"""How fast WARC files are read: ours beside the floor, FastWARC and warcio, on one file in one run.

    python bench/read.py --size 300

The file is written as Archiveteam's are: a dictionary in front, one zstd frame a record without a content size, for
each response of incompressible bytes a request. Bodies have the sizes of a mix: redirects and small pages, copies,
pictures of 120 KB in the median, some videos; `--payload` makes them all alike, and `--file` reads another file.
The floor is bare zstandard: each frame read and decoded in one go, its offset and its size when decoded known
beforehand, nothing parsed. Ours gives of each response its type, id, URL, time, exact place and length in
the file, its HTTP head parsed, its body as a memoryview. "FastWARC, equal work" gives the same as far as it can: HTTP
parsed, the same fields, the body as bytes, offsets of all records (a length is known when the next one begins; where
it meets a checksum late, its offset is 4 bytes off). "FastWARC, responses" skips other records and tells no length;
"blocks" does not parse HTTP either. Figures are compressed MB a CPU-second, the best round's. Each way is tried in a
process of its own, as a program that reads has one: in a process in which others have freed large blocks before, the
allocator keeps memory that FastWARC must else ask the kernel for, record by record: half of its time.
"""

import argparse
import io
import math
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import zstandard
from fastwarc.stream_io import ZstdReader
from fastwarc.warc import ArchiveIterator, WarcRecordType
from warcio.archiveiterator import ArchiveIterator as WarcioIterator

from imgmine.archives.http import parse_response
from imgmine.archives.warc import WarcRecord, leading_dictionary, read_warc

_LEVEL = 9
_UUID = "urn:uuid:{:08x}-0000-4000-8000-{:012x}"


class Frame(NamedTuple):
    """Where a frame lies, and how many bytes it decodes to at most."""

    offset: int
    length: int
    decoded: int


def alike(payload: int) -> Callable[[random.Random], int]:
    """Bodies of `payload` bytes, give or take a half."""
    return lambda rng: int(payload * rng.uniform(0.5, 1.5))


def mixed(rng: random.Random) -> int:
    """The size of a body of an archive: 8% next to nothing, 12% pages and copies, 77% pictures, 3% videos."""
    kind = rng.random()
    if kind < 0.08:
        return rng.randrange(0, 600)
    if kind < 0.20:
        return rng.randrange(2_000, 30_000)
    if kind < 0.97:
        return int(min(max(rng.lognormvariate(math.log(120_000), 1.0), 5_000), 5_000_000))
    return rng.randrange(500_000, 6_000_000)


def records(count: int, body_size: Callable[[random.Random], int], seed: int) -> Iterator[bytes]:
    """A request and a response, `count` times."""
    rng = random.Random(seed)
    for number in range(count):
        url = f"https://i.imgur.com/{rng.randbytes(4).hex()[:7]}.jpg"
        common = (
            f"WARC-Warcinfo-ID: <{_UUID.format(seed, 0)}>\r\n"
            f"WARC-Concurrent-To: <{_UUID.format(seed, 2 * number + 1)}>\r\n"
            f"WARC-Target-URI: {url}\r\nWARC-Date: 2023-05-{1 + number % 28:02d}T12:00:00Z\r\n"
            "WARC-IP-Address: 199.232.196.193\r\n"
            f"WARC-Block-Digest: sha1:{rng.randbytes(20).hex()}\r\n"
            f"X-Wget-AT-Project-Item-Name: i:{rng.randbytes(4).hex()}\r\n"
        )
        request = (
            f"GET {url[19:]} HTTP/1.1\r\nHost: i.imgur.com\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n\r\n".encode()
        )
        yield _record("request", 2 * number + 1, common, "application/http;msgtype=request", request)
        body = rng.randbytes(body_size(rng))
        head = (
            "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n"
            f"Content-Length: {len(body)}\r\nLast-Modified: Tue, 02 May 2017 03:04:05 GMT\r\n"
            f'ETag: "{rng.randbytes(16).hex()}"\r\nContent-Type: image/jpeg\r\n'
            "cache-control: public, max-age=31536000\r\n"
            "Accept-Ranges: bytes\r\nAge: 12345\r\nX-Served-By: cache-iad-kiad7000062-IAD\r\nX-Cache: HIT\r\n"
            f"X-Timer: S1683{number:06d}.123456,VS0,VE1\r\nServer: cat factory 1.0\r\n\r\n"
        ).encode()
        yield _record("response", 2 * number + 2, common, "application/http;msgtype=response", head + body)


def _record(record_type: str, number: int, fields: str, content_type: str, block: bytes) -> bytes:
    head = (
        f"WARC/1.1\r\nWARC-Type: {record_type}\r\nWARC-Record-ID: <{_UUID.format(1, number)}>\r\n{fields}"
        f"Content-Type: {content_type}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def write_file(path: Path, size: int, body_size: Callable[[random.Random], int], seed: int) -> list[Frame]:
    """Write a file of at least `size` bytes; returns the frame of each record."""
    dictionary = zstandard.train_dictionary(32 << 10, [record[:1500] for record in records(400, alike(4096), seed + 1)])
    compressor = zstandard.ZstdCompressor(_LEVEL, dict_data=dictionary, write_checksum=True, write_content_size=False)
    stored = zstandard.ZstdCompressor(_LEVEL).compress(dictionary.as_bytes())
    frames = []
    with path.open("wb") as file:
        file.write(b"\x5d\x2a\x4d\x18" + len(stored).to_bytes(4, "little") + stored)
        for record in records(sys.maxsize, body_size, seed):
            if file.tell() >= size:
                break
            # The writer of the real files does not know a record's size beforehand, so neither does this one.
            frame = compressor.compressobj()
            data = frame.compress(record) + frame.flush()
            frames.append(Frame(file.tell(), len(data), _room(len(record))))
            file.write(data)
    return frames


def frames_of(path: Path) -> list[Frame]:
    """The frames of a file that is there, if it has one for each record."""
    with path.open("rb") as file:
        dictionary = leading_dictionary(file)
        decoder = zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(dictionary or b""))
        file.seek(0)
        every = frozenset({"warcinfo", "request", "response", "revisit", "metadata", "resource"})
        places = [(found.offset, found.length) for found in read_warc(file, wanted=every)]
        frames: list[Frame] = []
        for offset, length in places:
            file.seek(offset)
            frames.append(Frame(offset, length, _room(len(decoder.decompressobj().decompress(file.read(length))))))
    return frames


def _room(size: int) -> int:
    """What a decoder can know of a frame's size from its blocks, each of at most 128 KiB."""
    return (size // (128 << 10) + 1) * (128 << 10)


def floor(path: Path, frames: list[Frame]) -> int:
    total = 0
    with path.open("rb", buffering=0) as file:
        prepared = zstandard.ZstdCompressionDict(leading_dictionary(file) or b"")
        decoder = zstandard.ZstdDecompressor(dict_data=prepared)
        for frame in frames:
            file.seek(frame.offset)
            total += len(decoder.decompress(file.read(frame.length), max_output_size=frame.decoded))
    return total


def ours(path: Path) -> int:
    total = 0
    with path.open("rb", buffering=0) as file:
        for record in read_warc(file):
            assert isinstance(record, WarcRecord)
            total += len(parse_response(record.block).body)
    return total


def fastwarc(path: Path, parse_http: bool = True) -> int:
    with path.open("rb") as file:
        found = ArchiveIterator(ZstdReader(file), record_types=WarcRecordType.response, parse_http=parse_http)
        return sum(len(record.reader.read()) for record in found)


def fastwarc_equal(path: Path) -> int:
    total = 0
    begin: int | None = None
    fields: tuple[object, ...] = ()
    found: tuple[object, ...] = ()
    with path.open("rb") as file:
        for record in ArchiveIterator(ZstdReader(file)):
            if begin is not None:
                found = (begin, record.stream_pos - begin, *fields)
            begin = None
            if record.record_type in (WarcRecordType.response, WarcRecordType.revisit):
                begin = record.stream_pos
                headers, http = record.headers, record.http_headers
                url, truncated = headers.get("WARC-Target-URI"), headers.get("WARC-Truncated")
                status = http.status_code if http else None
                fields = (record.record_type, record.record_id, url, record.record_date, truncated, status)
                total += len(record.reader.read())
    return total if found else 0


def warcio(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        prepared = zstandard.ZstdCompressionDict(leading_dictionary(file) or b"")
        file.seek(0)
        reader = zstandard.ZstdDecompressor(dict_data=prepared).stream_reader(file, read_across_frames=True)
        for record in WarcioIterator(io.BufferedReader(reader, 1 << 16)):
            if record.rec_type == "response":
                total += len(record.content_stream().read())
    return total


def cpu_seconds(way: Callable[..., int], *arguments: object) -> float:
    """The CPU-seconds that a way takes in this process."""
    start = time.process_time()
    way(*arguments)
    return time.process_time() - start


def race(ways: dict[str, tuple[Callable[..., int], *tuple[object, ...]]], rounds: int) -> dict[str, float]:
    """Return the CPU-seconds of each way's best round; they take turns, so that a busy machine is fair to all."""
    seconds = dict.fromkeys(ways, float("inf"))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as alone:
        for _ in range(rounds):
            for name, way in ways.items():
                seconds[name] = min(seconds[name], alone.submit(cpu_seconds, *way).result())
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=300, metavar="MB", help="size of the file (default: 300)")
    parser.add_argument("--payload", type=int, metavar="KB", help="bodies alike, of this mean size, instead of the mix")
    parser.add_argument("--file", type=Path, help="a .warc.zst with a frame for each record, instead of one made here")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the best counts (default: 5)")
    parser.add_argument("--seed", type=int, default=1, help="what the bytes are made from (default: 1)")
    parser.add_argument("--scratch", type=Path, help="folder for the file (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        path, bodies = arguments.file, "its own bodies"
        if path is None:
            path = Path(folder) / "bench.warc.zst"
            bodies = f"bodies of about {arguments.payload} KB" if arguments.payload else "bodies of the mix"
            body_size = alike(arguments.payload * 1_000) if arguments.payload else mixed
            frames = write_file(path, arguments.size * 1_000_000, body_size, arguments.seed)
        else:
            frames = frames_of(path)
        size = path.stat().st_size
        print(f"{size / 1e6:.0f} MB, {len(frames)} records, {bodies}")
        ways: dict[str, tuple[Callable[..., int], *tuple[object, ...]]] = {
            "floor: zstandard a frame": (floor, path, frames),
            "ours, HTTP parsed": (ours, path),
            "FastWARC, equal work": (fastwarc_equal, path),
            "FastWARC, responses": (fastwarc, path),
            "FastWARC, blocks": (fastwarc, path, False),
            "warcio over zstandard": (warcio, path),
        }
        results = race(ways, arguments.rounds)
        least = results["floor: zstandard a frame"]
        print(f"{'':26}{'MB/CPU-s':>10}{'of the floor':>14}")
        for name, seconds in results.items():
            print(f"{name:26}{size / 1e6 / seconds:10.0f}{least / seconds:14.2f}")
        ratio = results["FastWARC, equal work"] / results["ours, HTTP parsed"]
        print(f"ours is {ratio:.2f} times FastWARC doing equal work")
    return 0


if __name__ == "__main__":
    sys.exit(main())
