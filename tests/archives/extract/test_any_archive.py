"""What is true of the pass whatever the archive: the same bytes each time, and a ledger that adds up."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgmine.archives.extract import Extraction, extract_archive, inputs_fingerprint
from imgmine.archives.item import Item, ItemFile
from imgmine.decisions import RecordDecision as D
from imgmine.images.decoder_pool import DecoderPool
from imgmine.store.tables import Provenance, to_parquet
from tests.archives.extract.extracting import (
    ARCHIVE,
    CASES,
    CHOICE,
    ROOT,
    Extract,
    check,
    decisions,
    extracted,
    image,
    video,
)
from tests.archives.small_warcs import HTML, Answer, Compression, gif, jpeg, mp4, png, request, write_warc


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


def test_nothing_to_read_gives_empty_tables(tmp_path: Path, decoders: DecoderPool) -> None:
    extraction = extracted(tmp_path, [], decoders)
    assert (len(extraction.records), len(extraction.files), extraction.shards) == (0, 0, [])


def test_an_archive_of_pages_has_a_ledger_and_no_files(extract: Extract) -> None:
    extraction = extract([CASES["page"][0], request(ROOT)])
    assert (len(extraction.records), len(extraction.files), extraction.shards) == (1, 0, [])


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
