"""What damage costs the pass, and what ends it."""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgmine.archives.extract import ArchiveUnreadable, ScratchFailed, extract_archive
from imgmine.decisions import RecordDecision as D
from imgmine.images.decoder_pool import DecoderPool
from tests.archives.extract.extracting import ARCHIVE, CASES, ROOT, Extract, check, decisions, extracted, image
from tests.archives.small_warcs import HTML, Answer, Compression, Span, jpeg, write_warc


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


def test_many_damages_are_counted_and_a_hundred_told(extract: Extract) -> None:
    extraction = extract([Answer(f"{ROOT}/abcde.jpg", block=b"nothing") for _ in range(150)])
    assert extraction.counts["warnings"] == 150
    assert len(extraction.warnings) == 100


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
