"""The pass over the demo's archives: its ledger equals the generator's own list of what each record is, row for row."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from imgmine.archives.extract import Extraction, extract_archive
from imgmine.dataset.funnel import check_funnel
from imgmine.decisions import RecordDecision
from imgmine.demo.archives import DemoArchive, make_archives
from imgmine.demo.damage import Damage
from imgmine.demo.exchanges import Kind
from imgmine.images.decoder_pool import DecoderPool


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    with DecoderPool() as pool:
        yield pool


@pytest.fixture(scope="module")
def sound_archives(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, DemoArchive]:
    """The three archives of `imgmine demo`."""
    return {archive.kind: archive for archive in make_archives(tmp_path_factory.mktemp("sound"))}


def extracted(archive: DemoArchive, scratch: Path, decoders: DecoderPool) -> Extraction:
    warcs = [(path.name, path) for path in archive.warc_files]
    return extract_archive(archive.identifier, warcs, scratch, decoders=decoders)


def assert_records_equal_truth(extraction: Extraction, truth: dict[str, Any]) -> None:
    assert [comparable(row) for row in extraction.records.to_pylist()] == [
        comparable({name: value for name, value in row.items() if name != "case"}) for row in truth["records"]
    ]
    assert check_funnel(extraction.records, extraction.files) == []


def assert_files_equal_truth(extraction: Extraction, truth: dict[str, Any]) -> None:
    files = {row["blake2b"]: comparable(row) for row in extraction.files.to_pylist() if row["video_blake2b"] is None}
    true_files = [comparable(row) for row in truth["files"]]
    assert {digest.hex() for digest in files} == {row["blake2b"] for row in true_files}
    for known in true_files:
        row = files[bytes.fromhex(known["blake2b"])]
        shared = row.keys() & known.keys()
        assert shared >= {"md5", "sha1", "sha256"}
        assert {name: row[name] for name in shared} == {name: known[name] for name in shared}


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with digests in hexadecimal and times as times, whether it is from Arrow or from JSON."""
    times = {name: row[name] for name in ("captured_at", "last_modified") if name in row}
    parsed = {name: datetime.fromisoformat(at) if isinstance(at, str) else at for name, at in times.items()}
    digests = {name: value.hex() for name, value in row.items() if isinstance(value, bytes)}
    return {**row, **parsed, **digests}


@pytest.mark.parametrize("kind", Kind)
def test_the_ledger_is_what_the_generator_meant(
    sound_archives: dict[Kind, DemoArchive], kind: Kind, tmp_path: Path, decoders: DecoderPool
) -> None:
    archive = sound_archives[kind]
    extraction = extracted(archive, tmp_path, decoders)
    truth = json.loads(archive.truth.read_text())
    assert_records_equal_truth(extraction, truth)
    assert_files_equal_truth(extraction, truth)
    videos = sum(row["media_type"].startswith("video/") for row in extraction.files.to_pylist())
    assert extraction.counts["stills"] == videos > 0
    assert extraction.warnings == ()


@pytest.mark.parametrize("damage", Damage)
def test_a_damaged_archive_is_what_the_generator_meant(damage: Damage, tmp_path: Path, decoders: DecoderPool) -> None:
    [archive] = make_archives(tmp_path / "made", kinds=[Kind.MAY_3], scale=0.7, damage=damage)
    (tmp_path / "scratch").mkdir()
    extraction = extracted(archive, tmp_path / "scratch", decoders)
    assert_records_equal_truth(extraction, json.loads(archive.truth.read_text()))
    assert extraction.counts[RecordDecision.DAMAGED] == extraction.counts["warnings"] == 1
