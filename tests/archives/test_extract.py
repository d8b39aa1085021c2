"""The pass over small archives: every decision, every column, the bytes in the shards, and what damage costs."""

import hashlib
import io
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgmine.archives.extract import (
    ArchiveUnreadable,
    Extraction,
    ScratchFailed,
    extract_archive,
    inputs_fingerprint,
)
from imgmine.archives.item import Item, ItemFile
from imgmine.archives.warc import decode_record, leading_dictionary
from imgmine.dataset.funnel import check_funnel
from imgmine.decisions import RecordDecision as D
from imgmine.images.decoder_pool import DecoderPool
from imgmine.store.shards import shard_members
from imgmine.store.tables import FILES, RECORDS, Provenance, to_parquet
from tests.archives.small_warcs import (
    HTML,
    Answer,
    Compression,
    Span,
    gif,
    jpeg,
    mp4,
    png,
    request,
    write_warc,
)

ARCHIVE = "archiveteam_imgur_20230501120000_0123abcd"
ROOT = "https://i.imgur.com"
VIDEOS = Path(__file__).parents[1] / "images" / "data"

Extract = Callable[..., Extraction]


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    with DecoderPool(workers=1) as pool:
        yield pool


@pytest.fixture
def extract(tmp_path: Path, decoders: DecoderPool) -> Extract:
    """Return a function that writes WARC files of the answers given and extracts them."""
    runs = iter(range(1000))

    def run(
        warcs: Mapping[str, Sequence[Answer]] | Sequence[Answer],
        *,
        compression: Compression = "dictionary",
        **options: object,
    ) -> Extraction:
        folder = tmp_path / f"run-{next(runs)}"
        folder.mkdir()
        named = warcs if isinstance(warcs, Mapping) else {"a.warc.zst": warcs}
        for name, answers in named.items():
            write_warc(folder / name, answers, compression)
        return extracted(folder, list(named), decoders, **options)

    return run


def extracted(folder: Path, names: Sequence[str], decoders: DecoderPool, **options: object) -> Extraction:
    scratch = folder / "scratch"
    scratch.mkdir()
    warcs = [(name, folder / name) for name in names]
    extraction = extract_archive(ARCHIVE, warcs, scratch, decoders=decoders, **options)  # type: ignore[arg-type]
    check(extraction)
    assert sorted(path.name for path in scratch.iterdir()) == ["shards"]
    return extraction


def check(extraction: Extraction) -> None:
    """What is true of every extraction: schemas, order, the funnel, and the bytes where the rows say they are."""
    records, files = extraction.records, extraction.files
    assert records.schema == RECORDS
    assert files.schema == FILES
    for table in (records, files):
        table.validate(full=True)
        for field in table.schema:
            assert field.nullable or table[field.name].null_count == 0
    places = list(zip(records["warc_file"].to_pylist(), records["warc_offset"].to_pylist(), strict=True))
    assert places == sorted(places)
    digests = files["blake2b"].to_pylist()
    assert digests == sorted(set(digests))
    assert check_funnel(records, files) == []
    shards = {shard.key: shard.path.read_bytes() for shard in extraction.shards}
    assert set(shards) == set(files["shard"].to_pylist())
    for row in files.to_pylist():
        payload = shards[row["shard"]][row["shard_offset"] : row["shard_offset"] + row["size"]]
        assert hashlib.blake2b(payload, digest_size=32).digest() == row["blake2b"]
        for name in ("md5", "sha1", "sha256"):
            assert hashlib.new(name, payload).digest() == row[name]


def decisions(extraction: Extraction) -> list[str]:
    return extraction.records["decision"].to_pylist()


def blake2b(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=32).digest()


def image(media_id: str, payload: bytes, extension: str = "jpg", **more: object) -> Answer:
    return Answer(f"{ROOT}/{media_id}.{extension}", payload, **more)  # type: ignore[arg-type]


CHUNKED = [("Transfer-Encoding", "chunked")]
REMOVED = [("Location", "https://i.imgur.com/removed.png")]

CASES = {
    "kept": (image("abcde", jpeg()), D.KEPT),
    "kept_without_length": (image("abcde", jpeg(), declared=None), D.KEPT),
    "kept_longer_than_declared": (image("abcde", jpeg(), declared=10), D.KEPT),
    "kept_in_chunks": (
        image("abcde", b"2bc\r\n" + jpeg() + b"\r\n0\r\n\r\n", declared=None, headers=CHUNKED),
        D.KEPT,
    ),
    "damaged_head": (Answer(f"{ROOT}/abcde.jpg", block=b"\xff\xd8 no HTTP at all"), D.DAMAGED),
    "damaged_empty": (Answer(f"{ROOT}/abcde.jpg", block=b""), D.DAMAGED),
    "revisit": (image("abcde", record_type="revisit", truncated="length", payload=b"", declared=700), D.REVISIT),
    "revisit_without_head": (Answer(f"{ROOT}/abcde.jpg", record_type="revisit", block=b""), D.REVISIT),
    "removed_by_redirect": (image("abcde", b"", status=302, headers=REMOVED), D.REMOVED),
    "redirect": (Answer("https://imgur.com/abcde", b"", 301, [("Location", "https://imgur.com/x")]), D.REDIRECT),
    "not_found": (image("abcde", jpeg(), status=404), D.ERROR_STATUS),
    "page": (Answer("https://imgur.com/abcde", HTML), D.NO_MEDIA),
    "no_url": (Answer(None, jpeg()), D.NO_MEDIA),
    "copy": (image("abcdefgs", jpeg()), D.DOWNSCALED_COPY),
    "short_copy": (image("abcdefgs", jpeg(), declared=9999), D.DOWNSCALED_COPY),
    "empty": (image("abcde", b""), D.EMPTY),
    "empty_though_declared": (image("abcde", b"", declared=700), D.EMPTY),
    "short": (image("abcde", jpeg(), declared=701), D.TRUNCATED),
    "chunks_without_end": (image("abcde", b"2bc\r\n" + jpeg(), declared=None, headers=CHUNKED), D.TRUNCATED),
    "marked_truncated": (image("abcde", jpeg(), truncated="time"), D.TRUNCATED),
    "removed_by_body": (image("abcde", png(size=503)), D.REMOVED),
    "late_503_bytes": (image("abcde", png(size=503), date="2023-05-21T00:00:00Z"), D.KEPT),
    "removed_itself": (image("removed", png(), "png"), D.REMOVED),
    "page_at_media_url": (image("abcde", HTML), D.NO_MEDIA),
}


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


CHOICE = {
    "lesser": image("abcde", jpeg(b"lesser")),
    "best": image("abcde", png(b"best"), "png"),
    "again": image("abcde", png(b"best"), "png?1"),
    "other_id": image("fghij", png(b"best")),
}


@pytest.mark.parametrize("order", permutations(CHOICE))
@pytest.mark.parametrize("files", [1, 4])
def test_the_choice_does_not_depend_on_the_order(extract: Extract, order: tuple[str, ...], files: int) -> None:
    if files == 1:
        extraction = extract([CHOICE[name] for name in order])
    else:
        extraction = extract({f"{number}.warc.zst": [CHOICE[name]] for number, name in enumerate(order)})
    found = dict(zip(order, decisions(extraction), strict=True))
    winners = [name for name in order if name != "lesser"]
    assert found == {"lesser": D.LESSER_COPY, **dict.fromkeys(winners, D.DUPLICATE), winners[0]: D.KEPT}
    assert extraction.files["blake2b"].to_pylist() == [blake2b(png(b"best"))]
    assert extraction.files["url"].to_pylist() == [CHOICE[winners[0]].url]
    lesser = extraction.records.to_pylist()[order.index("lesser")]
    assert lesser["blake2b"] == blake2b(jpeg(b"lesser"))


def test_files_are_read_in_the_order_of_their_names(extract: Extract) -> None:
    answers = {"b.warc.zst": [image("abcdX", jpeg())], "a.warc.zst": [image("abcdY", jpeg())]}
    extraction = extract(answers)
    assert extraction.records["warc_file"].to_pylist() == ["a.warc.zst", "b.warc.zst"]
    assert decisions(extraction) == [D.KEPT, D.DUPLICATE]
    assert extraction.files["media_id"].to_pylist() == ["abcdY"]


def test_lesser_bytes_are_kept_where_they_are_the_best_of_another_id(extract: Extract) -> None:
    shared = jpeg(b"shared")
    extraction = extract([image("abcdX", png(), "png"), image("abcdX", shared), image("abcdY", shared)])
    assert decisions(extraction) == [D.KEPT, D.LESSER_COPY, D.KEPT]


def test_a_broken_better_original_does_not_push_out_a_sound_one(extract: Extract) -> None:
    extraction = extract([image("abcde", png(), "png", declared=9999), image("abcde", jpeg())])
    assert decisions(extraction) == [D.TRUNCATED, D.KEPT]


def test_a_gif_goes_over_a_png_and_under_a_video(extract: Extract) -> None:
    answers = [image("abcde", kind()) for kind in (png, gif, mp4, jpeg)]
    assert decisions(extract(answers)) == [D.LESSER_COPY, D.LESSER_COPY, D.KEPT, D.LESSER_COPY]


def test_shards_roll_over(extract: Extract) -> None:
    answers = [image(f"abc{number:02d}", jpeg(b"%d" % number, 3000)) for number in range(10)]
    extraction = extract(answers, shard_bytes=10_000)
    assert len(extraction.shards) == 5
    assert [len(list(shard_members(shard.path))) for shard in extraction.shards] == [2] * 5
    in_order = [name for shard in extraction.shards for name, _, _ in shard_members(shard.path)]
    assert in_order == [f"{blake2b(answer.body).hex()}.jpg" for answer in answers]


def video(name: str) -> bytes:
    return (VIDEOS / name).read_bytes()


def test_a_video_is_followed_by_its_still(extract: Extract) -> None:
    film = video("one_key_frame.mp4")
    answer = image("abcde", film, "mp4", headers=[("Last-Modified", "Tue, 02 May 2017 10:00:00 GMT")])
    extraction = extract([image("fghij", jpeg()), answer, image("klmno", gif())])
    rows = {row["blake2b"]: row for row in extraction.files.to_pylist()}
    [still] = [row for row in rows.values() if row["video_blake2b"] is not None]
    own = rows[blake2b(film)]
    assert (own["media_type"], own["extension"], own["frame_time"]) == ("video/mp4", "mp4", None)
    assert (still["media_type"], still["extension"], still["video_blake2b"]) == ("image/png", "png", blake2b(film))
    assert still["frame_time"] >= 0
    same = ("media_id", "url", "captured_at", "last_modified", "warc_file", "warc_offset", "warc_length", "shard")
    assert [still[name] for name in same] == [own[name] for name in same]
    assert [name.partition(".")[2] for name, _, _ in shard_members(extraction.shards[0].path)] == [
        "jpg",
        "mp4",
        "png",
        "gif",
    ]
    assert extraction.counts["stills"] == 1


def test_a_video_without_a_frame_is_kept_and_told(extract: Extract) -> None:
    extraction = extract([image("abcde", mp4(), "mp4")])
    assert decisions(extraction) == [D.KEPT]
    assert extraction.files["media_type"].to_pylist() == ["video/mp4"]
    assert extraction.counts["videos_without_still"] == 1
    assert [f"{ROOT}/abcde.mp4" in warning for warning in extraction.warnings] == [True]


def black_video(path: Path, frames: int) -> bytes:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (160, 128))
    for _ in range(frames):
        writer.write(np.zeros((128, 160, 3), np.uint8))
    writer.release()
    return path.read_bytes()


def test_a_still_with_the_bytes_of_another_file_is_that_file(extract: Extract, tmp_path: Path) -> None:
    films = [black_video(tmp_path / f"{frames}.mp4", frames) for frames in (3, 4)]
    answers = [image(f"film{number}", film, "mp4") for number, film in enumerate(films)]
    extraction = extract(answers)
    assert extraction.counts["stills"] == extraction.counts["shared_stills"] == 1
    [still] = [row for row in extraction.files.to_pylist() if row["video_blake2b"] is not None]
    assert still["video_blake2b"] == blake2b(films[0])
    payload = extraction.shards[0].path.read_bytes()[still["shard_offset"] :][: still["size"]]
    # The same picture as a file of the archive: that row is there, whatever its place, and no still's.
    extraction = extract([*answers, image("abcde", payload, "png")])
    assert extraction.counts["stills"] == 0
    assert extraction.counts["shared_stills"] == 2
    [picture] = [row for row in extraction.files.to_pylist() if row["media_type"] == "image/png"]
    assert (picture["media_id"], picture["video_blake2b"]) == ("abcde", None)


def everything(extraction: Extraction) -> object:
    tables = [to_parquet(table, Provenance("test", "1", "0")) for table in (extraction.records, extraction.files)]
    return tables, [(shard.key, shard.path.read_bytes()) for shard in extraction.shards]


def test_two_runs_give_the_same_bytes(tmp_path: Path, decoders: DecoderPool) -> None:
    answers = [answer for answer, _ in CASES.values()]
    more = [image("filmA", video("vp9.webm"), "webm"), image("filmB", video("b_frames.mp4"), "mp4"), *CHOICE.values()]
    names = ["b.warc.zst", "a.warc.zst"]
    results = []
    for run, order in (("first", names), ("second", names[::-1])):
        folder = tmp_path / run
        folder.mkdir()
        write_warc(folder / "a.warc.zst", answers)
        write_warc(folder / "b.warc.zst", more)
        results.append(everything(extracted(folder, order, decoders, shard_bytes=20_000)))
    assert results[0] == results[1]


def damaged_file(path: Path, damage: Callable[[bytearray, list[Span]], bytes]) -> list[Span]:
    answers = [image(f"abc{number:02d}", jpeg(b"%d" % number)) for number in range(5)]
    spans = write_warc(path, answers)
    path.write_bytes(damage(bytearray(path.read_bytes()), spans))
    return spans


def test_a_damaged_frame_costs_its_record_alone(tmp_path: Path, decoders: DecoderPool) -> None:
    def flip(data: bytearray, spans: list[Span]) -> bytes:
        for at in range(spans[2].offset + 6, spans[2].offset + spans[2].length):
            data[at] ^= 0xA5
        return data

    spans = damaged_file(tmp_path / "a.warc.zst", flip)
    extraction = extracted(tmp_path, ["a.warc.zst"], decoders)
    assert decisions(extraction) == [D.KEPT, D.KEPT, D.DAMAGED, D.KEPT, D.KEPT]
    row = extraction.records.to_pylist()[2]
    assert (row["warc_offset"], row["warc_length"]) == (spans[2].offset, spans[2].length)
    known = {"archive", "warc_file", "warc_offset", "warc_length", "decision"}
    assert {name for name, value in row.items() if value is not None} == known
    assert len(extraction.warnings) == extraction.counts["warnings"] == 1
    assert "a.warc.zst" in extraction.warnings[0]


def test_a_file_cut_short_keeps_its_good_records(tmp_path: Path, decoders: DecoderPool) -> None:
    damaged_file(tmp_path / "a.warc.zst", lambda data, spans: data[: spans[3].offset + 20])
    damaged_file(tmp_path / "b.warc.zst", lambda data, spans: data)
    extraction = extracted(tmp_path, ["a.warc.zst", "b.warc.zst"], decoders)
    assert decisions(extraction) == [D.KEPT] * 3 + [D.DAMAGED] + [D.DUPLICATE] * 3 + [D.KEPT] * 2


@pytest.mark.parametrize("content", [b"no WARC at all" * 100, bytes(5000), HTML], ids=["text", "zeros", "page"])
def test_a_file_that_is_no_warc_is_one_damaged_row(tmp_path: Path, decoders: DecoderPool, content: bytes) -> None:
    (tmp_path / "a.warc.zst").write_bytes(content)
    write_warc(tmp_path / "b.warc.zst", [image("abcde", jpeg())])
    extraction = extracted(tmp_path, ["a.warc.zst", "b.warc.zst"], decoders)
    assert decisions(extraction) == [D.DAMAGED, D.KEPT]
    first = extraction.records.to_pylist()[0]
    assert (first["warc_offset"], first["warc_length"]) == (0, len(content))


def test_nothing_to_read_gives_empty_tables(tmp_path: Path, decoders: DecoderPool) -> None:
    extraction = extracted(tmp_path, [], decoders)
    assert (len(extraction.records), len(extraction.files), extraction.shards) == (0, 0, [])


def test_an_archive_of_pages_has_a_ledger_and_no_files(extract: Extract) -> None:
    extraction = extract([CASES["page"][0], request(ROOT)])
    assert (len(extraction.records), len(extraction.files), extraction.shards) == (1, 0, [])


def test_many_damages_are_counted_and_a_hundred_told(extract: Extract) -> None:
    extraction = extract([Answer(f"{ROOT}/abcde.jpg", block=b"nothing") for _ in range(150)])
    assert extraction.counts["warnings"] == 150
    assert len(extraction.warnings) == 100


def test_progress_ends_at_the_whole(tmp_path: Path, decoders: DecoderPool) -> None:
    noise = np.random.default_rng(0).bytes(3 << 20)
    for name in ("a.warc.gz", "b.warc.gz"):
        answers = [image(f"abc0{number}", jpeg(noise[number:], 0)) for number in range(5)]
        write_warc(tmp_path / name, answers, "gzip")
    told: list[tuple[int, int]] = []
    extracted(tmp_path, ["b.warc.gz", "a.warc.gz"], decoders, progress=lambda *at: told.append(at))
    total = sum((tmp_path / name).stat().st_size for name in ("a.warc.gz", "b.warc.gz"))
    assert told == sorted(told)
    assert len(told) > 4
    assert told[-1] == (total, total)


class NoSeek(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("seek")


def test_a_warc_may_be_a_stream_that_cannot_seek(tmp_path: Path, decoders: DecoderPool) -> None:
    write_warc(tmp_path / "a.warc.zst", [image("abcde", jpeg())])
    data = (tmp_path / "a.warc.zst").read_bytes()
    extraction = extract_archive(ARCHIVE, [("a.warc.zst", lambda: NoSeek(data))], tmp_path, decoders=decoders)
    check(extraction)
    assert decisions(extraction) == [D.KEPT]


def test_a_file_that_is_gone_is_named(tmp_path: Path, decoders: DecoderPool) -> None:
    with pytest.raises(ArchiveUnreadable, match=rf"{ARCHIVE}, a\.warc\.zst: No such file.*raw_archives"):
        extract_archive(ARCHIVE, [("a.warc.zst", tmp_path / "a.warc.zst")], tmp_path, decoders=decoders)


def test_a_disk_that_fails_while_reading_is_no_damage(tmp_path: Path, decoders: DecoderPool) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

        def readinto(self, buffer: object, /) -> int:
            raise OSError(5, "Input/output error")

    def opened() -> BinaryIO:
        return Failing()

    with pytest.raises(ArchiveUnreadable, match="Input/output error"):
        extract_archive(ARCHIVE, [("a.warc.zst", opened)], tmp_path, decoders=decoders)


def test_a_full_disk_says_what_to_do(tmp_path: Path, decoders: DecoderPool) -> None:
    write_warc(tmp_path / "a.warc.zst", [image("abcde", jpeg())])
    full = tmp_path / "scratch"
    full.mkdir()
    (full / "spool.bin").symlink_to("/dev/full")
    with pytest.raises(ScratchFailed, match=f"{ARCHIVE}.*No space left.*IMGMINE_HOME"):
        extract_archive(ARCHIVE, [("a.warc.zst", tmp_path / "a.warc.zst")], full, decoders=decoders)


def test_the_same_file_twice_is_refused(tmp_path: Path, decoders: DecoderPool) -> None:
    with pytest.raises(ValueError, match="twice"):
        extract_archive(ARCHIVE, [("a", tmp_path / "a"), ("a", tmp_path / "b")], tmp_path, decoders=decoders)


def item(*warcs: tuple[str, int, str]) -> Item:
    files = [
        ItemFile(name, "Web ARChive ZST", size, md5, sha1=None, crc32=None, mtime=None, private=False)
        for name, size, md5 in warcs
    ]
    return Item(ARCHIVE, None, None, None, dark=False, restricted=False, files=tuple(files))


def test_the_fingerprint_follows_the_inputs() -> None:
    one = item(("a.warc.zst", 10, "0" * 32))
    same = inputs_fingerprint(one)
    assert inputs_fingerprint(item(("a.warc.zst", 10, "0" * 32))) == same
    others = [
        inputs_fingerprint(item(("a.warc.zst", 10, "1" * 32))),
        inputs_fingerprint(item(("a.warc.zst", 11, "0" * 32))),
        inputs_fingerprint(item(("b.warc.zst", 10, "0" * 32))),
        inputs_fingerprint(item()),
        inputs_fingerprint(one, shard_bytes=1),
    ]
    assert len({same, *others}) == 6


PAYLOADS = [
    *(make(bytes([number])) for make in (jpeg, png, gif, mp4) for number in range(3)),
    png(size=503),
    HTML,
    b"",
]
IDS = ["abcde", "fghij", "klmnopq", "abcdes", "fghij_d", "klmnopqr"]

random_answers = st.builds(
    Answer,
    url=st.builds("{}/{}.{}".format, st.just(ROOT), st.sampled_from(IDS), st.sampled_from(["jpg", "png", "mp4"]))
    | st.sampled_from(["https://imgur.com/abcde", None, f"{ROOT}/removed.png"]),
    body=st.sampled_from(PAYLOADS),
    status=st.sampled_from([200, 200, 200, 200, 301, 404]),
    declared=st.sampled_from([-1, -1, -1, None, 9999]),
    record_type=st.sampled_from(["response", "response", "response", "revisit", "request", "warcinfo"]),
    date=st.sampled_from(["2023-05-01T12:00:00Z", "2023-06-01T12:00:00Z"]),
    truncated=st.sampled_from([None, None, None, "length"]),
    block=st.none() | st.sampled_from([b"", b"HTTP/1.1 200", b"garbage"]),
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    warcs=st.lists(st.lists(random_answers, max_size=8), max_size=3),
    compression=st.sampled_from(["dictionary", "zstd", "gzip", "plain"]),
    shard_bytes=st.sampled_from([1, 4000, 1 << 30]),
)
def test_the_funnel_adds_up_for_any_archive(
    extract: Extract, warcs: list[list[Answer]], compression: Compression, shard_bytes: int
) -> None:
    named = {f"{number}.warc": answers for number, answers in enumerate(warcs)}
    extraction = extract(named, compression=compression, shard_bytes=shard_bytes)
    told = [
        answer.record_id for answers in warcs for answer in answers if answer.record_type in ("response", "revisit")
    ]
    assert extraction.records["record_id"].to_pylist() == told
    records = extraction.records
    kept = records.filter(pa.compute.equal(records["decision"], "kept"))["blake2b"].to_pylist()
    assert sorted(kept) == extraction.files["blake2b"].to_pylist()
    assert sum(extraction.counts[decision] for decision in D) == len(told)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    compression=st.sampled_from(["dictionary", "zstd", "gzip", "plain"]),
    damages=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=40)), min_size=1, max_size=4),
    kept_share=st.floats(0, 1),
)
def test_no_damage_ends_an_archive(
    tmp_path: Path,
    decoders: DecoderPool,
    compression: Compression,
    damages: list[tuple[float, bytes]],
    kept_share: float,
) -> None:
    answers = [answer for answer, _ in CASES.values()]
    write_warc(tmp_path / "a.warc", answers, compression)
    data = bytearray((tmp_path / "a.warc").read_bytes())
    for share, noise in damages:
        at = int(share * len(data))
        data[at : at + len(noise)] = noise
    (tmp_path / "a.warc").write_bytes(data[: int(len(data) * kept_share)])
    write_warc(tmp_path / "b.warc", [image("zzzzz", jpeg(b"sound"))])
    with tempfile.TemporaryDirectory(dir=tmp_path) as scratch:
        warcs = [(name, tmp_path / name) for name in ("a.warc", "b.warc")]
        extraction = extract_archive(ARCHIVE, warcs, Path(scratch), decoders=decoders)
        check(extraction)
    assert decisions(extraction)[-1] == D.KEPT
