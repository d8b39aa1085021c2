"""Which archive owns each file: the earliest that has it, by publicdate, then identifier.

Files are split by the first bits of their BLAKE2b into buckets that are independent of each other and of bounded
size, so memory does not grow with the dataset. What archives there are, and their order, is `archives`'; an archive
that comes later is `ownership_changes`'; publishing the result is `publishing`'s.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.dataset.ownership_spool import WORDS, Digests, Ranks, Rows, Spool, empty_digests
from imgmine.errors import ImgmineError
from imgmine.in_order import in_order
from imgmine.store.tables import DIGEST

OWNERSHIP = pa.schema(
    [
        pa.field("blake2b", DIGEST, nullable=False),
        pa.field("archive", pa.string(), nullable=False),
        pa.field("copies", pa.int32(), nullable=False),
    ]
)

_MOST_BITS = 16
_ROW_GROUP = 1 << 17
_BATCH = 1 << 17
_THREADS = 2

Counts = npt.NDArray[np.int64]


class BadFilesTable(ImgmineError):
    """A published `files` table has no column of BLAKE2b-256 digests, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Holding:
    """An archive and the local Parquet file that lists what it has."""

    archive: str
    files: Path


@dataclass(frozen=True, slots=True)
class Ownership:
    """What was found. `held` and `owned` are per holding: its distinct files, and those of them that it owns."""

    distinct: int
    repeated: int
    held: tuple[int, ...]
    owned: tuple[int, ...]


class Owned(NamedTuple):
    """Distinct digests in order, the place in the order of archives of each one's owner, and how many have it."""

    digests: Digests
    owners: Ranks
    copies: npt.NDArray[np.int32]


def assign_ownership(
    holdings: Sequence[Holding],
    out: Path,
    scratch: Path,
    metadata: Mapping[str, str],
    *,
    bucket_rows: int = 1 << 19,
    prefix: str = "",
    counted: Callable[[Ownership], Mapping[str, str]] | None = None,
    on_bucket: Callable[[Owned], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Ownership:
    """Write `out`, a Parquet file of `OWNERSHIP` sorted by `blake2b`: one row for each distinct file.

    `holdings` come in order of precedence: the first that has a file owns it. Only their `blake2b` columns are read,
    once. `bucket_rows` bounds the memory (about 350 bytes a row, and 150 MB for what is being read and written) and
    changes nothing else; `scratch` takes 32 bytes a row. With a `prefix`, only the files whose digests begin with these
    hexadecimal digits are there, and counted. `counted` gives what else goes into the file's metadata, once all is
    found. `on_bucket` is shown the rows as they are written, `on_progress(done, total)` counts holdings. Raises
    `BadFilesTable`.
    """
    total = sum(_count_rows(holding) for holding in holdings) >> 4 * len(prefix)
    bits = min(_MOST_BITS, max(0, math.ceil(math.log2(max(total, 1) / bucket_rows))))
    identifiers = [holding.archive for holding in holdings]
    owned: Counts = np.zeros(len(holdings), np.int64)
    distinct = repeated = 0
    spool = Spool(scratch / "ownership.spool", bits, 2 * bucket_rows, prefix)
    try:
        held = []
        # numpy and Arrow hold no lock meanwhile.
        with spool:
            for digests in in_order(
                lambda holding: _beginning_with(prefix, read_digests(holding)), holdings, _THREADS, _THREADS
            ):
                spool.add(digests)
                held.append(len(digests))
                if on_progress is not None:
                    on_progress(len(held), len(holdings))
        with OwnershipWriter(out, identifiers, metadata) as writer:
            for bucket in in_order(
                lambda number: owners_of(spool.bucket(number)), range(1 << bits), _THREADS, _THREADS
            ):
                writer.write(bucket)
                owned += np.bincount(bucket.owners, minlength=len(holdings))
                distinct += len(bucket.owners)
                repeated += int((bucket.copies > 1).sum())
                if on_bucket is not None:
                    on_bucket(bucket)
            found = Ownership(distinct, repeated, tuple(held), tuple(owned.tolist()))
            if counted is not None:
                writer.add_metadata(counted(found))
    finally:
        spool.remove()
    return found


def _count_rows(holding: Holding) -> int:
    try:
        return int(pq.read_metadata(holding.files).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(holding, error) from error


def read_digests(holding: Holding) -> Digests:
    """Return the holding's distinct files in order. Raises `BadFilesTable`."""
    try:
        with pq.ParquetFile(holding.files, pre_buffer=False) as parquet:
            column = parquet.read(["blake2b"], use_threads=False).column("blake2b")
    except (OSError, KeyError, pa.ArrowException) as error:
        raise _unreadable(holding, error) from error
    if column.type != DIGEST or column.null_count:
        raise BadFilesTable(
            f"{holding.files}: blake2b is {column.type} with {column.null_count} nulls, where {DIGEST} without any is "
            f"wanted. Materialize unique_files of {holding.archive} again."
        )
    chunks = [digests_in(chunk) for chunk in column.chunks if len(chunk)]
    digests = chunks[0] if len(chunks) == 1 else np.concatenate([empty_digests(), *chunks], dtype=WORDS)
    prefix = digests[:, 0].astype(np.uint64)
    if (prefix[1:] > prefix[:-1]).all():
        return digests
    # A table that is as it should be is sorted and has no digest twice.
    return owners_of(Rows(digests, np.zeros(len(digests), np.uint32))).digests


def digests_in(column: pa.FixedSizeBinaryArray) -> Digests:
    """Return the digests of an Arrow array without nulls; nothing is copied."""
    values = np.frombuffer(column.buffers()[1], WORDS, count=4 * len(column), offset=32 * column.offset)
    return values.reshape(-1, 4)


def _beginning_with(prefix: str, digests: Digests) -> Digests:
    if not prefix:
        return digests
    words = digests[:, 0].astype(np.uint64)
    first = np.searchsorted(words, np.uint64(int(prefix.ljust(16, "0"), 16)))
    end = np.searchsorted(words, np.uint64(int(prefix.ljust(16, "f"), 16)), side="right")
    return digests[first:end].copy()  # else the whole column would wait in memory with it


def _unreadable(holding: Holding, error: Exception) -> BadFilesTable:
    return BadFilesTable(
        f"{holding.files}: cannot be read as the files of {holding.archive} ({error}). If the archive is being mined "
        "again just now, run this again afterwards; else materialize its unique_files."
    )


def owners_of(rows: Rows) -> Owned:
    """Return who owns each distinct digest of some rows, in any order; no archive's rows hold a digest twice."""
    digests, ranks = rows
    prefix = digests[:, 0].astype(np.uint64)
    order = np.argsort(prefix)
    prefix = prefix[order]
    new = np.concatenate([[True], prefix[1:] != prefix[:-1]]) if len(prefix) else np.empty(0, np.bool_)
    same = np.flatnonzero(~new)
    if (digests[order[same], 1:] != digests[order[same - 1], 1:]).any():
        # Two digests share their first 64 bits: somebody went to some lengths for that, and it must not fool us.
        order = np.lexsort([digests[:, word].astype(np.uint64) for word in (3, 2, 1, 0)])
        new[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
    starts = np.flatnonzero(new)
    if not len(starts):
        return Owned(empty_digests(), np.empty(0, np.uint32), np.empty(0, np.int32))
    return Owned(
        np.take(digests, order[starts], axis=0),
        np.minimum.reduceat(ranks[order], starts),
        np.diff(starts, append=len(order)).astype(np.int32),
    )


class OwnershipWriter:
    """Writes a Parquet file of `OWNERSHIP` in row groups whose size does not depend on what it is given at a time."""

    def __init__(self, path: Path, identifiers: Sequence[str], metadata: Mapping[str, str]) -> None:
        self._identifiers = pa.array(identifiers, pa.string())
        # Archives go in as numbers, as Parquet has them: twice as fast. Without Arrow's own copy of the schema they
        # are read back as the strings that they stand for.
        numbered = pa.field("archive", pa.dictionary(pa.int32(), pa.string()), nullable=False)
        self._schema = OWNERSHIP.set(1, numbered)
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression={"blake2b": "none", "archive": "zstd", "copies": "zstd"},
            use_dictionary=["archive", "copies"],
            store_schema=False,
        )
        self.add_metadata(metadata)
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        """Add to the file's key-value metadata."""
        self._writer.add_key_value_metadata(dict(metadata))

    def write(self, owned: Owned) -> None:
        """Add rows; those of all calls are in order of digest."""
        digests = pa.py_buffer(np.ascontiguousarray(owned.digests))
        table = pa.table(
            [
                pa.FixedSizeBinaryArray.from_buffers(DIGEST, len(owned.digests), [None, digests]),
                pa.DictionaryArray.from_arrays(pa.array(owned.owners.astype(np.int32)), self._identifiers),
                pa.array(owned.copies),
            ],
            schema=self._schema,
        )
        self._waiting.append(table)
        self._waiting_rows += len(table)
        if self._waiting_rows >= _ROW_GROUP:
            self._flush(keep=self._waiting_rows % _ROW_GROUP)

    def _flush(self, keep: int) -> None:
        rows = pa.concat_tables(self._waiting)
        done = len(rows) - keep
        self._writer.write_table(rows.slice(0, done), row_group_size=_ROW_GROUP)
        self._waiting, self._waiting_rows = [rows.slice(done)], keep

    def __enter__(self) -> "OwnershipWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._waiting_rows:
            self._flush(keep=0)
        self._writer.close()


def read_owned(parquet: pq.ParquetFile, numbers: dict[str, int]) -> Iterator[Owned]:
    """Yield the rows of a Parquet file of `OWNERSHIP`, some at a time.

    `numbers` are the archives' places; one that has none gets the next.
    """
    for batch in parquet.iter_batches(_BATCH, use_threads=False):
        encoded = batch.column("archive").dictionary_encode()
        here = [numbers.setdefault(name, len(numbers)) for name in encoded.dictionary.to_pylist()]
        owners = np.array(here, np.uint32)[encoded.indices.to_numpy(zero_copy_only=False)]
        copies = batch.column("copies").to_numpy(zero_copy_only=False)
        yield Owned(digests_in(batch.column("blake2b")), owners, copies)
