"""Damage to a finished WARC file, and what of its truth that changes.

What damage does to a reader is the reader's business; only bytes and expectations are changed here.
"""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from imgmine.decisions import RecordDecision
from imgmine.demo.truth import TrueRecord, Truth


class Damage(StrEnum):
    """Kinds of damage to a WARC file."""

    CUT = "cut"  # the file ends in the middle of its last response
    FRAME = "frame"  # bytes in the middle of one response's frame are overwritten


def overwrite(path: Path, offset: int, length: int) -> None:
    """Flip every bit of `length` bytes of a file from `offset` on."""
    with path.open("r+b") as file:
        file.seek(offset)
        data = file.read(length)
        file.seek(offset)
        file.write(bytes(byte ^ 0xFF for byte in data))


def cut(path: Path, size: int) -> None:
    """Cut a file to its first `size` bytes."""
    with path.open("r+b") as file:
        file.truncate(size)


def damage_archive(folder: Path, truth: Truth, damage: Damage) -> None:
    """Damage the last WARC file of an archive and change `truth` to what a miner should find then.

    The record that is hit is one on whose bytes and id no other record's decision depends.
    """
    name = max(record.warc_file for record in truth.records)
    if damage is Damage.FRAME:
        victim = _independent(truth, [r for r in truth.records if r.warc_file == name])
        overwrite(folder / name, victim.warc_offset + victim.warc_length // 2, 16)
        lost, end = [victim], victim.warc_offset + victim.warc_length
    else:
        victim = _independent(truth, [r for r in truth.records if r.warc_file == name][-20:])
        end = victim.warc_offset + victim.warc_length // 2
        cut(folder / name, end)
        lost = [r for r in truth.records if r.warc_file == name and r.warc_offset >= victim.warc_offset]
    row = TrueRecord(
        archive=truth.archive,
        warc_file=name,
        warc_offset=victim.warc_offset,
        warc_length=end - victim.warc_offset,
        record_id=None,
        record_type=None,
        url=None,
        captured_at=None,
        http_status=None,
        served_type=None,
        declared_length=None,
        body_length=None,
        media_id=None,
        decision=RecordDecision.DAMAGED.value,
        blake2b=None,
        case=f"damaged_by_{damage}",
    )
    _lose(truth, lost)
    truth.records.append(row)
    truth.records.sort(key=lambda record: (record.warc_file, record.warc_offset))


def _independent(truth: Truth, candidates: list[TrueRecord]) -> TrueRecord:
    for record in candidates:
        alone = sum(other.media_id == record.media_id for other in truth.records) == 1
        only = sum(other.blake2b == record.blake2b for other in truth.records) == 1
        if record.decision == RecordDecision.KEPT and alone and only:
            return record
    raise ValueError(f"{truth.archive} has no record that can be damaged alone; make an archive of more records")


def _lose(truth: Truth, lost: list[TrueRecord]) -> None:
    """Take `lost` out of the truth; where the first of several equal files goes, the next one is the first."""
    gone = {(record.warc_file, record.warc_offset) for record in lost}
    truth.records[:] = [record for record in truth.records if (record.warc_file, record.warc_offset) not in gone]
    kept = {record.blake2b for record in truth.records if record.decision == RecordDecision.KEPT}
    # A better original that is gone leaves its lesser ones in charge; the default archives never lose one so.
    better = {record.media_id for record in lost if record.blake2b and record.decision != RecordDecision.LESSER_COPY}
    for number, record in enumerate(truth.records):
        if record.decision == RecordDecision.LESSER_COPY and record.media_id in better:
            truth.records[number] = replace(record, decision=RecordDecision.KEPT.value)
    truth.files[:] = [file for file in truth.files if file.blake2b in kept]
