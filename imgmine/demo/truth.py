"""What the generator knows of an archive that it made: each record and each distinct file, as a miner should find them.

Filled from the generator's intentions alone; imgmine's own rules are never asked.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from imgmine.decisions import RecordDecision
from imgmine.demo.encodings import Gate


@dataclass(frozen=True, slots=True)
class TrueRecord:
    """One row of `records` and the name of its case. `captured_at` is ISO 8601 in UTC, `blake2b` hexadecimal.

    `known_as` and `blocked_by` are None: what is told is a full read without lists of hashes.
    """

    archive: str
    warc_file: str
    warc_offset: int
    warc_length: int
    record_id: str | None
    record_type: str | None
    url: str | None
    captured_at: str | None
    http_status: int | None
    served_type: str | None
    declared_length: int | None
    body_length: int | None
    media_id: str | None
    decision: str
    blake2b: str | None
    case: str
    known_as: None = None
    blocked_by: None = None


@dataclass(frozen=True, slots=True)
class TrueFile:
    """One distinct kept file and what the gate should say of it; for a video, what it should say of its still.

    Where it comes from is the first record that was kept with it.
    """

    blake2b: str
    md5: str
    sha1: str
    sha256: str
    size: int
    media_type: str
    media_id: str
    url: str
    captured_at: str
    last_modified: str | None
    warc_file: str
    warc_offset: int
    warc_length: int
    form: str
    subject: str
    gate: Gate


@dataclass(slots=True)
class Truth:
    """Everything about one archive: `records` in order of file name and offset, `files` in order of first sight."""

    archive: str
    kind: str
    records: list[TrueRecord] = field(default_factory=list)
    files: list[TrueFile] = field(default_factory=list)

    def count(self, decision: RecordDecision) -> int:
        """Return the number of records with `decision`."""
        return sum(record.decision == decision for record in self.records)

    def write(self, path: Path) -> None:
        """Write the truth as JSON, one row a line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = {
            "records": ",\n".join(json.dumps(asdict(record)) for record in self.records),
            "files": ",\n".join(json.dumps(asdict(file)) for file in self.files),
        }
        lists = ",\n".join(f'"{name}": [\n{text}\n]' for name, text in rows.items())
        path.write_text(f'{{"archive": {json.dumps(self.archive)}, "kind": {json.dumps(self.kind)},\n{lists}}}\n')


def read_truth(path: Path) -> Truth:
    """Read back what `Truth.write` wrote."""
    data = json.loads(path.read_text())
    records = [TrueRecord(**row) for row in data["records"]]
    files = [TrueFile(**(row | {"gate": Gate(**row["gate"])})) for row in data["files"]]
    return Truth(data["archive"], data["kind"], records, files)
