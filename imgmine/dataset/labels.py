"""What people say of pictures: a log in the store that is only ever added to, and what holds by it now.

What is learned from labels is in `imgmine.models.probe`; how a person gives one is the command line's business.
"""

import csv
import getpass
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imgmine.errors import ImgmineError, PersonNeeded, first_line
from imgmine.store.base import Store
from imgmine.store.publish import content_digest, fingerprint
from imgmine.store.tables import DIGEST, LABELS, Provenance, to_parquet

FOLDER = "labels"
GOOD = "good"
BAD = "bad"
CODE_VERSION = "1"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TRUE, _FALSE, _TAKEN_BACK = frozenset({"1", "yes", "true", "good"}), frozenset({"0", "no", "false", "bad"}), "none"


class LabelError(ImgmineError):
    """What was given is no label."""


class DamagedLabels(PersonNeeded):
    """A part of the log cannot be read."""


class Label(NamedTuple):
    """One saying: the picture, a word, and whether it applies. `value` None takes back what was said before.

    `bad` is not a label of its own: it is `good` that does not apply.
    """

    blake2b: bytes
    label: str
    value: bool | None


class Saying(NamedTuple):
    """What somebody said of one picture, and when; `value` as in `Label`."""

    label: str
    value: bool | None
    by: str
    at: datetime


@dataclass(frozen=True)
class LabelLog:
    """What has been said until now. `digest` changes when anything is added."""

    values: Mapping[str, Mapping[bytes, bool]]
    """By label, then by BLAKE2b: what holds now, the last saying of each."""
    entries: int
    digest: str

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return for each label to how many pictures it applies, and to how many not."""
        tallies = {label: Counter(found.values()) for label, found in self.values.items()}
        return {label: (tally[True], tally[False]) for label, tally in sorted(tallies.items())}


def make_label(digest: str, label: str, *, applies: bool | None = True) -> Label:
    """Return a label of a picture by its BLAKE2b in hexadecimal. Raises `LabelError`."""
    digest, label = digest.strip().lower(), label.strip().lower()
    if not _DIGEST.fullmatch(digest):
        raise LabelError(f"{digest!r} is no BLAKE2b-256: 64 hexadecimal digits are wanted.")
    if not _NAME.fullmatch(label):
        raise LabelError(f"{label!r} is no label: a word of at most 64 letters, digits, '-' and '_' is wanted.")
    if label == BAD:
        label, applies = GOOD, None if applies is None else not applies
    return Label(bytes.fromhex(digest), label, applies)


def read_csv(path: Path) -> list[Label]:
    """Read labels from a CSV with the columns `blake2b`, `label` and, if not all apply, `value` (yes, no or none).

    Raises `LabelError` that names the line: then none of the file is to be taken.
    """
    labels: list[Label] = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path} cannot be read: {error}.") from error
    reader = csv.DictReader(io.StringIO(text))
    missing = {"blake2b", "label"} - set(reader.fieldnames or ())
    if missing:
        raise LabelError(f"{path} has no column {' and no column '.join(sorted(missing))}; its first line names them.")
    for row in reader:
        try:
            labels.append(make_label(row["blake2b"] or "", row["label"] or "", applies=_value(row.get("value"))))
        except LabelError as error:
            raise LabelError(f"{path}, line {reader.line_num}: {error} Nothing was taken.") from error
    return labels


def _value(text: str | None) -> bool | None:
    word = (text or "yes").strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    if word == _TAKEN_BACK:
        return None
    raise LabelError(f"the value {text!r} is not yes, no or none.")


def add_labels(store: Store, labels: Sequence[Label], *, by: str | None = None, at: datetime | None = None) -> str:
    """Add labels to the log, all or none, and return the key of the object that has them.

    `by` is the user of this process by default, `at` now. What others add at the same time stays.
    """
    at = at or datetime.now(UTC)
    by = by or getpass.getuser()
    rows = [{**label._asdict(), "by": by, "at": at} for label in labels]
    table = pa.Table.from_pylist(rows, schema=LABELS)
    data = to_parquet(table, Provenance(FOLDER, CODE_VERSION, fingerprint(by=by, at=at.isoformat())))
    # By its name the log is in the order of time; what others say at the same moment has another name.
    key = f"{FOLDER}/{at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{content_digest(data)[:12]}.parquet"
    store.put_bytes(key, data)
    return key


def read_labels(store: Store, mirror_folder: Path) -> LabelLog:
    """Return what has been said. `mirror_folder` keeps copies of a remote store's log. Raises `DamagedLabels`."""
    parts = _parts(store, mirror_folder)
    rows = _rows(parts)
    values: dict[str, dict[bytes, bool]] = {}
    for row in rows:
        found = values.setdefault(row["label"], {})
        if row["value"] is None:
            found.pop(row["blake2b"], None)
        else:
            found[row["blake2b"]] = row["value"]
    return LabelLog(values, len(rows), content_digest("\n".join(part.name for part in parts).encode()))


def sayings_of(store: Store, mirror_folder: Path, blake2b: bytes) -> tuple[Saying, ...]:
    """Return all that has been said of one picture, in the order of time. Raises `DamagedLabels`."""
    rows = _rows(_parts(store, mirror_folder), pc.field("blake2b") == pa.scalar(blake2b, DIGEST))
    return tuple(Saying(row["label"], row["value"], row["by"], row["at"]) for row in rows)


def _parts(store: Store, mirror_folder: Path) -> list[Path]:
    return sorted(store.mirror(FOLDER, ".parquet", mirror_folder).glob("*.parquet"))


def _rows(parts: Sequence[Path], which: pc.Expression | None = None) -> list[dict[str, Any]]:
    tables = [LABELS.empty_table(), *(_read(part, which) for part in parts)]
    return sorted(pa.concat_tables(tables).to_pylist(), key=lambda row: row["at"])


def _read(part: Path, which: pc.Expression | None) -> pa.Table:
    try:
        return pq.read_table(part, schema=LABELS, filters=which)
    except (pa.ArrowException, OSError) as error:
        raise DamagedLabels(
            f"{FOLDER}/{part.name} in the store cannot be read ({first_line(error)}). Restore it from a backup. Where "
            "there is none, remove it, and give the labels again that were given then."
        ) from error
