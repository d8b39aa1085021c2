"""The ledger of one archive while it is being read: a row a record, held in Arrow's memory, settled at the end.

What a row's decision is, is not known here.
"""

from array import array
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import pyarrow as pa

from imgmine.decisions import RecordDecision
from imgmine.store.tables import RECORDS

_BATCH_ROWS = 4096
_UNDECIDED = -1
_DECISIONS = list(RecordDecision)
_CODES: Mapping[RecordDecision | None, int] = {
    None: _UNDECIDED,
    **{decision: code for code, decision in enumerate(_DECISIONS)},
}


class LedgerRow(NamedTuple):
    """What is known of a record before it is decided about; the fields are columns of `records`."""

    warc_file: str
    warc_offset: int
    warc_length: int
    record_id: str | None = None
    record_type: str | None = None
    url: str | None = None
    captured_at: datetime | None = None
    http_status: int | None = None
    served_type: str | None = None
    declared_length: int | None = None
    body_length: int | None = None
    media_id: str | None = None
    known_as: bytes | None = None


_ROW_SCHEMA = pa.schema([RECORDS.field(name) for name in LedgerRow._fields])


class Ledger:
    """Rows in the order of reading. Each has a number, by which a row that was left undecided is settled later."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._pending: list[LedgerRow] = []
        self._decisions = array("b")
        self._digests: dict[int, bytes] = {}
        self._blocked_by: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._decisions)

    def add(self, row: LedgerRow, decision: RecordDecision | None) -> int:
        """Append a row and return its number. Text and numbers that a column cannot hold are made to fit or null."""
        self._pending.append(
            row._replace(
                record_id=_text(row.record_id),
                url=_text(row.url),
                http_status=_fitting(row.http_status, 16),
                served_type=_text(row.served_type),
                declared_length=_fitting(row.declared_length, 64),
            )
        )
        self._decisions.append(_CODES[decision])
        if len(self._pending) == _BATCH_ROWS:
            self._flush()
        return len(self._decisions) - 1

    def settle(
        self, number: int, decision: RecordDecision, blake2b: bytes | None, blocked_by: str | None = None
    ) -> None:
        """Decide about a row that was left undecided, whose bytes were hashed or need not be."""
        self._decisions[number] = _CODES[decision]
        if blake2b is not None:
            self._digests[number] = blake2b
        if blocked_by is not None:
            self._blocked_by[number] = blocked_by

    def _flush(self) -> None:
        columns = zip(*self._pending, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _ROW_SCHEMA, strict=True)]
        self._batches.append(pa.record_batch(arrays, schema=_ROW_SCHEMA))
        self._pending.clear()

    def table(self, archive: str) -> pa.Table:
        """Return the rows as `records`, in order. Raises `ValueError` where a row was never decided about."""
        if _UNDECIDED in self._decisions:
            raise ValueError(f"{archive}: row {self._decisions.index(_UNDECIDED)} of the ledger is undecided")
        if self._pending:
            self._flush()
        rows = pa.Table.from_batches(self._batches, _ROW_SCHEMA)
        codes = pa.array(self._decisions, pa.int8())
        computed = {
            "archive": pa.repeat(pa.scalar(archive), len(self)),
            "decision": pa.DictionaryArray.from_arrays(codes, _DECISIONS).cast(pa.string()),
            "blake2b": pa.array([self._digests.get(number) for number in range(len(self))], pa.binary(32)),
            "blocked_by": pa.array([self._blocked_by.get(number) for number in range(len(self))], pa.string()),
        }
        columns = [computed[name] if name in computed else rows[name] for name in RECORDS.names]
        return pa.table(columns, schema=RECORDS)


def _text(value: str | None) -> str | None:
    """Make text from a hostile file storable: no NUL, and whatever is not valid Unicode escaped."""
    if value is None or (value.isascii() and "\0" not in value):
        return value
    return value.replace("\0", "").encode("utf-8", "backslashreplace").decode("utf-8")


def _fitting(value: int | None, bits: int) -> int | None:
    return value if value is not None and 0 <= value < 1 << (bits - 1) else None
