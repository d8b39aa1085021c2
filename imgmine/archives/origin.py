"""One record fetched again from where it came from, by its byte range alone, and its bytes hashed anew.

    python -m imgmine.archives.origin URL-OR-PATH OFFSET LENGTH [--expect BLAKE2B]

What a record means and what became of it is not told here.
"""

import argparse
import hashlib
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.http import HttpSyntaxError, parse_response
from imgmine.archives.warc import RecordUnreadable, decode_record, leading_dictionary
from imgmine.archives.zstd_walk import DICTIONARY_FRAME_MAGIC, SKIPPABLE_HEADER, BrokenFrame, skippable_length
from imgmine.errors import ImgmineError
from imgmine.settings import load_settings

_LARGEST_DICTIONARY = 64 << 20
_TIMEOUT_SECONDS = 60.0

ReadRange = Callable[[int, int], bytes]


class OriginError(ImgmineError):
    """A record could not be fetched from its origin, or what is there is no record with a body."""


@dataclass(frozen=True, slots=True)
class FetchedRecord:
    """A record as it is at its origin now. `blake2b` (hexadecimal) is of its HTTP body, de-chunked; `size` in bytes."""

    record_id: str
    url: str | None
    blake2b: str
    size: int


def fetch_record(
    origin: str, offset: int, length: int, record_id: str | None = None, session: requests.Session | None = None
) -> FetchedRecord:
    """Fetch the record at `offset` of a WARC file, `length` compressed bytes, and hash its body.

    `origin` is an HTTP(S) address whose server answers ranges, or a local path. Nothing but the leading dictionary
    frame (where the file has one) and the record is read. `record_id` tells which, where records share a frame.
    Raises `OriginError`.
    """
    if offset < 0 or length < 1:
        raise OriginError(f"{origin}: {length} bytes from {offset} on are no record.")
    if not origin.startswith(("http://", "https://")):
        return _fetch(origin, lambda start, size: _file_range(Path(origin), start, size), offset, length, record_id)
    opened = session or ArchiveOrg().download_session()
    try:
        return _fetch(origin, lambda start, size: _http_range(opened, origin, start, size), offset, length, record_id)
    finally:
        if session is None:
            opened.close()


def _fetch(origin: str, read_range: ReadRange, offset: int, length: int, record_id: str | None) -> FetchedRecord:
    where = f"{origin}, {length} bytes from {offset} on"
    stored = read_range(offset, length)
    try:
        dictionary = leading_dictionary(io.BytesIO(_leading_frame(read_range)))
        record = decode_record(stored, dictionary, record_id=record_id)
        if record.record_type != "response":
            raise OriginError(f"{where}: a {record.record_type} record; a response record is wanted.")
        body = parse_response(record.block).body
    except (BrokenFrame, RecordUnreadable, HttpSyntaxError) as error:
        raise OriginError(f"{where}: {error}. Check the offset, the length and that it is the same file.") from error
    return FetchedRecord(record.record_id, record.url, hashlib.blake2b(body, digest_size=32).hexdigest(), len(body))


def _leading_frame(read_range: ReadRange) -> bytes:
    """Return the skippable frame with the dictionary that the file begins with, or nothing."""
    head = read_range(0, SKIPPABLE_HEADER)
    length = skippable_length(head) if head.startswith(DICTIONARY_FRAME_MAGIC) else None
    if length is None or length > _LARGEST_DICTIONARY:
        return b""
    return head + read_range(SKIPPABLE_HEADER, length - SKIPPABLE_HEADER)


def _file_range(path: Path, offset: int, length: int) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(length)
    except OSError as error:
        raise OriginError(
            f"{path}: {error.strerror or error}. An address or the path of a WARC file is wanted."
        ) from error
    if len(data) != length:
        raise OriginError(f"{path} ends before byte {offset + length}. Is it the whole file?")
    return data


def _http_range(session: requests.Session, url: str, offset: int, length: int) -> bytes:
    wanted = f"bytes={offset}-{offset + length - 1}"
    data = bytearray()
    try:
        with session.get(url, headers={"Range": wanted}, timeout=_TIMEOUT_SECONDS, stream=True) as response:
            if response.status_code != 206:
                raise OriginError(_refusal(url, wanted, response))
            sent = response.headers.get("Content-Range", "no range")
            if sent.startswith(f"bytes {offset}-"):
                for part in response.iter_content(1 << 16):
                    data += part
                    if len(data) > length:
                        break
    except requests.RequestException as error:
        raise OriginError(f"{url}: {error}. Try again later.") from error
    if len(data) != length:
        raise OriginError(f"{url}: asked for {wanted}, got {len(data)} bytes of {sent}. Is it the same file?")
    return bytes(data)


def _refusal(url: str, wanted: str, response: requests.Response) -> str:
    status = response.status_code
    retry_after = response.headers.get("Retry-After")
    if status == 200:
        return f"{url}: the server sends the whole file instead of {wanted}. Download it and give its path."
    if retry_after is not None:
        return f"{url}: HTTP {status}; the server asks to come again later (Retry-After: {retry_after})."
    if status in {401, 403}:
        return f"{url}: HTTP {status}. The file is not for everybody."
    if status == 416:
        return f"{url}: HTTP 416 for {wanted}: the file is shorter than that. Is it the same file?"
    return f"{url}: HTTP {status} for {wanted}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the BLAKE2b of a record's body; return 1 where it is not the expected one or cannot be had."""
    parser = argparse.ArgumentParser(
        prog="python -m imgmine.archives.origin",
        description="Fetch one record of a WARC file by its byte range and print the BLAKE2b-256 of its HTTP body.",
    )
    parser.add_argument("origin", help="address (http, https) or path of the WARC file")
    parser.add_argument("offset", type=int, help="of the record in the compressed file")
    parser.add_argument("length", type=int, help="compressed bytes of the record")
    parser.add_argument("--record-id", metavar="ID", help="which record, where several share a compressed frame")
    parser.add_argument("--expect", metavar="BLAKE2B", help="exit with 1 where the body's hash is another")
    options = parser.parse_args(arguments)
    try:
        with ArchiveOrg(contact=load_settings().contact).download_session() as session:
            record = fetch_record(options.origin, options.offset, options.length, options.record_id, session)
    except ImgmineError as error:
        print(error, file=sys.stderr)
        return 1
    print(record.blake2b)
    if options.expect is not None and options.expect.lower() != record.blake2b:
        print(f"Expected {options.expect.lower()}. The record is not what it was.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
