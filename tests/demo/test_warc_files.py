import base64
import hashlib
import io
import re
from collections import Counter
from http.client import HTTPResponse, IncompleteRead

import pytest
import zstandard
from warcio.archiveiterator import ArchiveIterator as WarcioIterator

from imgmine.decisions import RecordDecision
from imgmine.demo.exchanges import Kind
from tests.demo.demo_archives import ReadBack, dictionary_of, frames_at

KINDS = list(Kind)
RESPONSE_HEADERS = [
    "WARC-Type",
    "WARC-Record-ID",
    "WARC-Warcinfo-ID",
    "WARC-Concurrent-To",
    "WARC-Target-URI",
    "WARC-Date",
    "WARC-IP-Address",
    "WARC-Block-Digest",
    "WARC-Payload-Digest",
    "X-Wget-AT-Project-Item-Name",
    "Content-Type",
    "Content-Length",
]


@pytest.mark.parametrize("kind", KINDS)
def test_fastwarc_sees_the_records_of_the_truth_at_their_offsets(demo: dict[Kind, ReadBack], kind: Kind) -> None:
    for path in demo[kind].archive.warc_files:
        seen = [(offset, name) for name, offset, _, _ in demo[kind].records(path) if name in ("response", "revisit")]
        told = [(row.warc_offset, row.record_type) for row in demo[kind].truth.records if row.warc_file == path.name]
        assert seen == told


@pytest.mark.parametrize("kind", KINDS)
def test_warcio_sees_as_many_records_in_what_was_decompressed(demo: dict[Kind, ReadBack], kind: Kind) -> None:
    for path in demo[kind].archive.warc_files:
        _, dictionary = dictionary_of(path)
        start = next(offset for name, offset, _, _ in demo[kind].records(path) if name == "warcinfo")
        plain = b"".join(text for _, text in frames_at(path, start, path.stat().st_size - start, dictionary))
        types = Counter(record.rec_type for record in WarcioIterator(io.BytesIO(plain)))
        told = Counter(row.record_type for row in demo[kind].truth.records if row.warc_file == path.name)
        assert {name: types[name] for name in told} == dict(told)
        assert types["request"] == types["response"] + types["revisit"]


def test_dictionaries_are_compressed_raw_and_missing(demo: dict[Kind, ReadBack]) -> None:
    carried = []
    for each in demo.values():
        for path in each.archive.warc_files:
            content, dictionary = dictionary_of(path)
            if dictionary is None:
                carried.append("none")
                continue
            assert dictionary[:4] == b"\x37\xa4\x30\xec"
            carried.append("raw" if content == dictionary else "compressed")
            dictionary_id = int(path.name.split(".")[1])
            assert zstandard.ZstdCompressionDict(dictionary).dict_id() == dictionary_id
            assert len(str(dictionary_id)) == 10
    assert carried == ["compressed", "compressed", "raw", "compressed", "none"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_record_decodes_alone_from_its_frames(demo: dict[Kind, ReadBack], kind: Kind) -> None:
    for path in demo[kind].archive.warc_files:
        _, dictionary = dictionary_of(path)
        expected_id = int(path.name.split(".")[1]) if dictionary else 0
        for row in [row for row in demo[kind].truth.records if row.warc_file == path.name]:
            frames = list(frames_at(path, row.warc_offset, row.warc_length, dictionary))
            assert (len(frames) > 1) == (row.case == "several_frames")
            record = b"".join(text for _, text in frames)
            assert record.startswith(f"WARC/1.1\r\nWARC-Type: {row.record_type}\r\n".encode())
            assert f"\r\nWARC-Target-URI: {row.url}\r\n".encode() in record
            assert record.endswith(b"\r\n\r\n")
            for frame, _ in frames:
                parameters = zstandard.get_frame_parameters(frame)
                assert parameters.content_size == zstandard.CONTENTSIZE_UNKNOWN
                assert parameters.has_checksum
                assert parameters.dict_id == expected_id


@pytest.mark.parametrize("kind", KINDS)
def test_headers_come_in_the_order_of_the_collection(demo: dict[Kind, ReadBack], kind: Kind) -> None:
    for path in demo[kind].archive.warc_files:
        for name, _, headers, _ in demo[kind].records(path):
            if name == "response":
                assert [header for header in headers if header != "WARC-Truncated"] == RESPONSE_HEADERS
            elif name == "revisit":
                ours = [header for header in headers if not re.match("WARC-(Refers-To|Profile|Truncated)", header)]
                assert ours == RESPONSE_HEADERS


@pytest.mark.parametrize("kind", KINDS)
def test_source_warcs_lie_end_to_end_in_their_order(demo: dict[Kind, ReadBack], kind: Kind) -> None:
    """warcinfo, then requests each with its answer, then the log; a revisit refers back within one of them."""
    for path in demo[kind].archive.warc_files:
        letters = {"warcinfo": "W", "request": "q", "response": "a", "revisit": "v", "metadata": "m", "resource": "r"}
        records = demo[kind].records(path)
        text = "".join(letters[name] for name, *_ in records)
        assert re.fullmatch("(W(q[av])+mrr)+", text)
        earlier: dict[str, str] = {}
        for name, _, headers, block in records:
            if name == "warcinfo":
                earlier = {}
            elif name == "response":
                earlier[headers["WARC-Record-ID"]] = headers["WARC-Target-URI"]
            elif name == "revisit":
                assert earlier[headers["WARC-Refers-To"]] == headers["WARC-Refers-To-Target-URI"]
                assert headers["WARC-Truncated"] == "length"
                assert headers["WARC-Profile"].endswith("/revisit/identical-payload-digest")
                assert block.startswith(b"HTTP/1.1 ")
                assert block.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("kind", KINDS)
def test_bodies_hash_as_the_truth_says(demo: dict[Kind, ReadBack], kind: Kind) -> None:
    """The HTTP client of Python's library as the judge."""
    rows = {(row.warc_file, row.record_id): row for row in demo[kind].truth.records}
    hashed = 0
    for path in demo[kind].archive.warc_files:
        for name, _, headers, block in demo[kind].records(path):
            if name not in ("response", "revisit"):
                continue
            row = rows[path.name, headers["WARC-Record-ID"].strip("<>")]
            response = HTTPResponse(_Received(block))  # type: ignore[arg-type]
            response.begin()
            assert (response.status, response.headers.get("Content-Type")) == (row.http_status, row.served_type)
            declared = response.headers.get("Content-Length")
            assert (declared and int(declared)) == row.declared_length
            if row.blake2b is not None:
                body = response.read()
                digest = hashlib.blake2b(body, digest_size=32).hexdigest()
                assert (len(body), digest) == (row.body_length, row.blake2b)
                hashed += 1
            elif row.decision == RecordDecision.TRUNCATED and "WARC-Truncated" not in headers:
                with pytest.raises(IncompleteRead):
                    response.read()
    assert hashed == sum(row.blake2b is not None for row in rows.values())


class _Received:
    """As much of a socket as an HTTP client reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def test_payload_digests_cannot_be_trusted(demo: dict[Kind, ReadBack]) -> None:
    wrong: dict[Kind, set[str]] = {}
    for kind, each in demo.items():
        wrong[kind] = set()
        rows = {row.record_id: row for row in each.truth.records}
        for path in each.archive.warc_files:
            for name, _, headers, block in each.records(path):
                body = block.split(b"\r\n\r\n", 1)[-1]
                digest, row = (
                    headers.get("WARC-Payload-Digest", "").removeprefix("sha1:"),
                    rows.get(headers["WARC-Record-ID"][1:-1]),
                )
                if name != "response" or row is None:
                    continue
                true = base64.b32encode(hashlib.sha1(body).digest()).decode()
                chunked = b"Transfer-Encoding: chunked" in block[: len(block) - len(body)]
                # The framing is in `body` here: a digest that is true of it is wrong of the payload.
                if chunked and digest == true:
                    wrong[kind].add("of the framing")
                elif not chunked and digest != true:
                    assert true.startswith(digest.rstrip("=")[:-1])
                    wrong[kind].add("cut at a zero byte")
    assert "cut at a zero byte" in wrong[Kind.MAY_15]
    assert all("of the framing" in found for found in wrong.values())


def test_skippable_and_empty_frames_lie_between_records(demo: dict[Kind, ReadBack]) -> None:
    for each in demo.values():
        odd = {row.case: row for row in each.truth.records if row.case.startswith("after_")}
        for case, magic in (("after_empty_frame", b"\x28\xb5\x2f\xfd"), ("after_skippable_frame", b"\x2a\x4d\x18")):
            row = odd[case]
            path = each.archive.folder / row.warc_file
            _, dictionary = dictionary_of(path)
            before = [offset for _, offset, _, _ in each.records(path) if offset < row.warc_offset][-1]
            with path.open("rb") as stream:
                stream.seek(before)
                data = stream.read(row.warc_offset - before)
            reader = zstandard.ZstdDecompressor(
                dict_data=zstandard.ZstdCompressionDict(dictionary or b"")
            ).decompressobj()
            reader.decompress(data)
            assert magic in reader.unused_data[:4]


def test_kept_and_duplicate_follow_the_order_of_files_and_offsets(demo: dict[Kind, ReadBack]) -> None:
    for each in demo.values():
        rows = each.truth.records
        assert rows == sorted(rows, key=lambda row: (row.warc_file, row.warc_offset))
        seen: set[str] = set()
        for row in rows:
            if row.decision in (RecordDecision.KEPT, RecordDecision.DUPLICATE):
                assert row.blake2b is not None
                assert (row.blake2b in seen) == (row.decision == RecordDecision.DUPLICATE)
                seen.add(row.blake2b)
        assert seen == {file.blake2b for file in each.truth.files}
