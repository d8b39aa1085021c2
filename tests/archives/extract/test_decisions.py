"""The pass over small archives: every decision, every column."""

import hashlib
import io
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imgmine.archives.warc import decode_record, leading_dictionary
from imgmine.decisions import RecordDecision as D
from imgmine.images.decoder_pool import DecoderPool
from imgmine.store.shards import shard_members
from imgmine.store.tables import Provenance, to_parquet
from tests.archives.extract.extracting import ARCHIVE, CASES, ROOT, Extract, blake2b, decisions, extracted, image
from tests.archives.small_warcs import Answer, Compression, Span, jpeg, png, request, write_warc


@pytest.mark.parametrize("compression", ["dictionary", "gzip"])
def test_every_record_gets_its_decision(extract: Extract, compression: Compression) -> None:
    # Each case has its own id and bytes, so that none decides about another.
    answers, expected = [], []
    for number, (answer, decision) in enumerate(CASES.values()):
        url = answer.url and answer.url.replace("abcde", f"ab{number:03d}")
        answers += [request("https://i.imgur.com/"), Answer(**{**vars(answer), "url": url})]
        if decision is D.KEPT and "Transfer-Encoding" not in dict(answer.headers):
            body = answer.body[:-4] + b"%04d" % number
            answers[-1] = Answer(**{**vars(answers[-1]), "body": body})
        expected.append(decision)
    extraction = extract(answers, compression=compression)
    assert decisions(extraction) == expected
    assert {name: count for name, count in extraction.counts.items() if name in set(D)} == Counter(expected)


def test_the_columns_of_a_kept_record_and_its_file(extract: Extract) -> None:
    answer = image(
        "abcde",
        png(),
        headers=[("Content-Type", "image/jpeg"), ("Last-Modified", "Tue, 02 May 2017 10:00:00 GMT")],
        date="2023-05-01T12:00:00Z",
    )
    extraction = extract([request(ROOT), answer])
    [record], [file] = extraction.records.to_pylist(), extraction.files.to_pylist()
    offset, length = record.pop("warc_offset"), record.pop("warc_length")
    captured_at = datetime(2023, 5, 1, 12, tzinfo=UTC)
    assert record == {
        "archive": ARCHIVE,
        "warc_file": "a.warc.zst",
        "record_id": answer.record_id,
        "record_type": "response",
        "url": f"{ROOT}/abcde.jpg",
        "captured_at": captured_at,
        "http_status": 200,
        "served_type": "image/jpeg",
        "declared_length": 700,
        "body_length": 700,
        "media_id": "abcde",
        "decision": "kept",
        "blake2b": blake2b(png()),
        "known_as": None,
        "blocked_by": None,
    }
    shard = extraction.shards[0]
    assert file == {
        "blake2b": blake2b(png()),
        "md5": hashlib.md5(png()).digest(),
        "sha1": hashlib.sha1(png()).digest(),
        "sha256": hashlib.sha256(png()).digest(),
        "size": 700,
        "media_type": "image/png",  # by the bytes
        "extension": "png",
        "media_id": "abcde",
        "url": f"{ROOT}/abcde.jpg",
        "captured_at": captured_at,
        "last_modified": datetime(2017, 5, 2, 10, tzinfo=UTC),
        "warc_file": "a.warc.zst",
        "warc_offset": offset,
        "warc_length": length,
        "shard": shard.key,
        "shard_offset": 512,
        "video_blake2b": None,
        "frame_time": None,
    }
    assert shard.key.startswith(f"files/{ARCHIVE}/00000-")
    assert [name for name, _, _ in shard_members(shard.path)] == [f"{blake2b(png()).hex()}.png"]


def test_rows_say_where_the_record_lies(tmp_path: Path, decoders: DecoderPool) -> None:
    answers = [image(f"abc{number:02d}", jpeg(b"%d" % number, 500 + number)) for number in range(20)]
    spans = write_warc(tmp_path / "a.warc.zst", answers)
    records = extracted(tmp_path, ["a.warc.zst"], decoders).records
    assert [Span(row["warc_offset"], row["warc_length"]) for row in records.to_pylist()] == spans
    stored = (tmp_path / "a.warc.zst").read_bytes()
    dictionary = leading_dictionary(io.BytesIO(stored))
    for span, answer in zip(spans, answers, strict=True):
        record = decode_record(stored[span.offset : span.offset + span.length], dictionary)
        assert record.record_id == answer.record_id


def test_a_revisit_has_the_fields_of_its_head_and_no_body(extract: Extract) -> None:
    [record] = extract([CASES["revisit"][0]]).records.to_pylist()
    assert (record["http_status"], record["declared_length"], record["body_length"]) == (200, 700, 0)
    assert (record["media_id"], record["blake2b"]) == ("abcde", None)
    [bare] = extract([CASES["revisit_without_head"][0]]).records.to_pylist()
    assert (bare["http_status"], bare["declared_length"], bare["body_length"]) == (None, None, 0)


def test_a_copy_has_the_id_of_what_it_is_a_copy_of(extract: Extract) -> None:
    records = extract([image("abcdefgs", jpeg()), image("abcde_d", jpeg(), "webp?maxwidth=760")]).records
    assert records["media_id"].to_pylist() == ["abcdefg", "abcde"]
    assert records["blake2b"].null_count == 2


def test_odd_values_become_null_or_fit(extract: Extract) -> None:
    answers = [
        image("abcd1", jpeg(b"1"), declared="99999999999999999999999999"),
        image("abcd2", jpeg(b"2"), declared="no number"),
        image("abcd3", jpeg(b"3"), headers=[("Content-Type", "image/j\0p\xe9g"), ("Last-Modified", "yesterday")]),
        image("abcd4", jpeg(b"4"), headers=[("Last-Modified", "Mon, 99 Foo 99999 99:99:99 GMT")]),
        image("abcd5", jpeg(b"5"), headers=[("Last-Modified", "Tue, 02 May 2017 10:00:00")]),
        image("abcd6", jpeg(b"6"), headers=[("Last-Modified", "0" * 100_000)]),
        image("abcd7", jpeg(b"7"), date="the first of May"),
        Answer("https://i.imgur.com/\udcff\udcfe\0.jpg", jpeg(b"8")),
        image("abcd9", jpeg(b"9"), status="999999"),
        image("abcdA", jpeg(b"A"), record_id=""),
    ]
    extraction = extract(answers)
    rows = extraction.records.to_pylist()
    assert [row["declared_length"] for row in rows[:3]] == [None, None, 700]
    assert rows[2]["served_type"] == "image/jpég"
    assert rows[6]["captured_at"] is None
    assert "\0" not in rows[7]["url"]
    assert rows[8]["http_status"] is None
    assert rows[8]["decision"] == D.DAMAGED
    assert rows[9]["record_id"] is None
    modified = {row["media_id"]: row["last_modified"] for row in extraction.files.to_pylist()}
    assert modified == {
        **dict.fromkeys(("abcd1", "abcd2", "abcd3", "abcd4", "abcd6", "abcd7", "abcdA")),
        "abcd5": datetime(2017, 5, 2, 10, tzinfo=UTC),
    }
    to_parquet(extraction.records, Provenance("test", "1", "0"))
