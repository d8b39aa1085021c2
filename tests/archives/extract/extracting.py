"""Extracting small archives: the answers that are in them, and what is true of whatever comes of it."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from imgmine.archives.extract import Extraction, extract_archive
from imgmine.dataset.funnel import check_funnel
from imgmine.decisions import RecordDecision as D
from imgmine.images.decoder_pool import DecoderPool
from imgmine.store.tables import FILES, RECORDS
from tests.archives.small_warcs import HTML, Answer, jpeg, png

ARCHIVE = "archiveteam_imgur_20230501120000_0123abcd"
ROOT = "https://i.imgur.com"
VIDEOS = Path(__file__).parents[2] / "images" / "data"
Extract = Callable[..., Extraction]


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


CHOICE = {
    "lesser": image("abcde", jpeg(b"lesser")),
    "best": image("abcde", png(b"best"), "png"),
    "again": image("abcde", png(b"best"), "png?1"),
    "other_id": image("fghij", png(b"best")),
}


def video(name: str) -> bytes:
    return (VIDEOS / name).read_bytes()
