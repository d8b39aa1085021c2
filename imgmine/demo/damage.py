"""Damage to a finished WARC file, and what of its truth that changes.

What damage does to a reader is the reader's business; only bytes and expectations are changed here.
"""

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

    What is lost is chosen so that no other record's decision depends on it.

    Raises:
        ValueError: the archive has no such record; one of more records has.
    """
    name = max(record.warc_file for record in truth.records)
    victim, lost = _without_consequence(truth, name, damage)
    end = victim.warc_offset + victim.warc_length
    if damage is Damage.FRAME:
        overwrite(folder / name, victim.warc_offset + victim.warc_length // 2, 16)
    else:
        end = victim.warc_offset + victim.warc_length // 2
        cut(folder / name, end)
    hurt = TrueRecord(
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
    gone = set(lost)
    truth.records[:] = [
        hurt if record == victim else record for record in truth.records if record == victim or record not in gone
    ]
    digests = {record.blake2b for record in lost}
    truth.files[:] = [file for file in truth.files if file.blake2b not in digests]


def _without_consequence(truth: Truth, name: str, damage: Damage) -> tuple[TrueRecord, list[TrueRecord]]:
    """Return the record to damage and all that are lost with it; no other record is a sibling or a twin of one."""
    ours = [record for record in truth.records if record.warc_file == name]
    for number in reversed(range(len(ours))):
        victim = ours[number]
        lost = [victim] if damage is Damage.FRAME else ours[number:]
        if victim.decision != RecordDecision.KEPT:
            continue
        ids, digests = {record.media_id for record in lost}, {record.blake2b for record in lost} - {None}
        rest = [record for record in truth.records if record not in lost]
        if not any(record.blake2b in digests or (record.blake2b and record.media_id in ids) for record in rest):
            return victim, lost
    raise ValueError(f"{truth.archive} has no record that can be lost alone; make an archive of more records")
