"""How fast WARC files are read: ours beside the floor, FastWARC and warcio, on one file in one run.

    python bench/read.py --size 300

The file is written as Archiveteam's are: a dictionary in front, one zstd frame a record without a content size, for
each response of incompressible bytes a request. The floor is bare zstandard: each frame read and decoded in one go, its
offsets known beforehand, nothing parsed. Ours gives of each response its type, id, URL, time, exact place and length in
the file, its HTTP head parsed, its body as a memoryview. "FastWARC, equal work" gives the same as far as it can: HTTP
parsed, the same fields, the body as bytes, offsets of all records (a length is known when the next one begins; where
it meets a checksum late, its offset is 4 bytes off). "FastWARC, responses" skips other records and tells no length;
"blocks" does not parse HTTP either. Figures are compressed MB a CPU-second of this process, the best round's.
"""

import argparse
import io
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard
from fastwarc.stream_io import ZstdReader
from fastwarc.warc import ArchiveIterator, WarcRecordType
from warcio.archiveiterator import ArchiveIterator as WarcioIterator

from imgmine.archives.http import parse_response
from imgmine.archives.warc import WarcRecord, leading_dictionary, read_warc

_LEVEL = 9
_UUID = "urn:uuid:{:08x}-0000-4000-8000-{:012x}"


def records(count: int, payload: int, seed: int) -> Iterator[bytes]:
    """A request and a response, `count` times; payloads of `payload` bytes on average."""
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
        body = rng.randbytes(int(payload * rng.uniform(0.5, 1.5)))
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


def write_file(path: Path, size: int, payload: int, seed: int) -> list[tuple[int, int]]:
    """Write a file of about `size` bytes; returns the offset and length of each record's frame."""
    samples = [record[:1500] for record in records(400, 4096, seed + 1)]
    dictionary = zstandard.train_dictionary(32 << 10, samples)
    compressor = zstandard.ZstdCompressor(_LEVEL, dict_data=dictionary, write_checksum=True, write_content_size=False)
    stored = zstandard.ZstdCompressor(_LEVEL).compress(dictionary.as_bytes())
    places = []
    with path.open("wb") as file:
        file.write(b"\x5d\x2a\x4d\x18" + len(stored).to_bytes(4, "little") + stored)
        for record in records(max(1, size // payload), payload, seed):
            # The writer of the real files does not know a record's size beforehand, so neither does this one.
            frame = compressor.compressobj()
            data = frame.compress(record) + frame.flush()
            places.append((file.tell(), len(data)))
            file.write(data)
    return places


def floor(path: Path, places: list[tuple[int, int]], largest: int) -> int:
    with path.open("rb") as file:
        prepared = zstandard.ZstdCompressionDict(leading_dictionary(file) or b"")
        decoder = zstandard.ZstdDecompressor(dict_data=prepared)
        file.seek(places[0][0])
        return sum(len(decoder.decompress(file.read(length), max_output_size=largest)) for _, length in places)


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


def race(ways: dict[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    """Return the CPU-seconds of each way's best round; they take turns, so that a busy machine is fair to all."""
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=300, metavar="MB", help="size of the file (default: 300)")
    parser.add_argument("--payload", type=int, default=200, metavar="KB", help="mean size of a body (default: 200)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the best counts (default: 5)")
    parser.add_argument("--seed", type=int, default=1, help="what the bytes are made from (default: 1)")
    parser.add_argument("--scratch", type=Path, help="folder for the file (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        path = Path(folder) / "bench.warc.zst"
        places = write_file(path, arguments.size * 1_000_000, arguments.payload * 1_000, arguments.seed)
        size = path.stat().st_size
        print(f"{size / 1e6:.0f} MB, {len(places)} records, bodies of about {arguments.payload} KB")
        largest = (arguments.payload * 1_500 // (128 << 10) + 2) * (128 << 10)
        ways: dict[str, Callable[[], int]] = {
            "floor: zstandard a frame": lambda: floor(path, places, largest),
            "ours, HTTP parsed": lambda: ours(path),
            "FastWARC, equal work": lambda: fastwarc_equal(path),
            "FastWARC, responses": lambda: fastwarc(path),
            "FastWARC, blocks": lambda: fastwarc(path, parse_http=False),
            "warcio over zstandard": lambda: warcio(path),
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
