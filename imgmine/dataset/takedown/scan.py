"""Looking for bytes that should be gone: in each member of each shard, each value of each table, each other object.

What is looked for the caller says; nothing is changed here.
"""

import hashlib
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imgmine.dataset.relations import connect
from imgmine.store.base import NotInStore, Store, StoredObject
from imgmine.store.tables import DIGEST

_CHUNK = 1 << 20
_BATCH_ROWS = 256
_MOST_FOUND = 1000
# What says which files are blocked, and what people said of files, name them for good; the ledger does so by design.
_NAMED_IN = ("takedown/", "labels/", "records/")


class ScanMode(StrEnum):
    """How much is read."""

    FULL = "full"
    """Every member of every shard is hashed."""
    BY_SIZE = "by-size"
    """Every member is looked at, and hashed where it has the size of something that is looked for."""
    AFFECTED = "affected"
    """As `full`, but of the archives' shards only those of the archives that had something."""


@dataclass
class Scan:
    """What was looked at. `found` names what should not be there; the rest are counts, sizes in bytes.

    `unread` are objects that could not be read, and `skipped` shards that the mode leaves out.
    """

    mode: ScanMode
    looked_for: int
    objects: int = 0
    shards: int = 0
    members: int = 0
    members_hashed: int = 0
    bytes_hashed: int = 0
    tables: int = 0
    values: int = 0
    skipped: int = 0
    found: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.found or self.unread)


def scan_store(
    store: Store,
    digests: Collection[bytes],
    sizes: Mapping[bytes, int],
    scratch: Path,
    *,
    mode: ScanMode = ScanMode.FULL,
    archives: Collection[str] = (),
    prefix: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Scan:
    """Look for files with these BLAKE2b-256 in everything that the store has, and for rows and members named by them.

    With a `prefix`, only in what has a key that begins so.

    `sizes` are those known of the files; what has a size that nobody knows makes `BY_SIZE` hash everything. `archives`
    are those whose shards `AFFECTED` reads. Of a remote store one object at a time is in `scratch`. `progress(done,
    total)` is told bytes.
    """
    scan = Scan(mode, len(digests))
    known = set(sizes.values()) if mode is ScanMode.BY_SIZE and set(digests) <= sizes.keys() else None
    seeker = _Seeker(scan, frozenset(digests), known)
    objects = list(store.list(prefix))
    total = sum(stored.size for stored in objects)
    done = 0
    for stored in objects:
        if mode is ScanMode.AFFECTED and _belongs_to_others(stored.key, archives):
            scan.skipped += 1
        else:
            _look_into(store, stored, seeker, scratch)
        done += stored.size
        if progress is not None:
            progress(done, total)
    return scan


def _belongs_to_others(key: str, archives: Collection[str]) -> bool:
    folder, _, rest = key.partition("/")
    return folder in ("files", "previews") and rest.endswith(".tar") and rest.partition("/")[0] not in archives


def _look_into(store: Store, stored: StoredObject, seeker: "_Seeker", scratch: Path) -> None:
    with TemporaryDirectory(dir=scratch) as folder:
        try:
            path = store.local_copy(stored.key, Path(folder))
            seeker.look_into(stored.key, path, Path(folder))
        except NotInStore:  # removed since it was listed
            return
        except (OSError, tarfile.TarError, pa.ArrowException, duckdb.Error) as error:
            seeker.scan.unread.append(f"{stored.key}: {error}")


class _Seeker:
    """Looks for some digests in files."""

    def __init__(self, scan: Scan, digests: frozenset[bytes], sizes: Collection[int] | None) -> None:
        self.scan = scan
        self._digests = digests
        self._names = {digest.hex() for digest in digests}
        self._array = pa.array(sorted(digests), DIGEST)
        self._name_array = pa.array(sorted(self._names), pa.string())
        self._sizes = sizes

    def look_into(self, key: str, path: Path, scratch: Path) -> None:
        """Note what of the digests is in the object of this key, a local file. `scratch` is an empty folder or so."""
        self.scan.objects += 1
        if key.endswith(".tar"):
            self._look_into_shard(key, path)
        elif key.endswith(".parquet"):
            self._look_into_table(key, path)
        elif key.endswith(".duckdb"):
            self._look_into_database(key, path, scratch)
        else:
            with path.open("rb") as stream:
                self._see(key, stream, path.stat().st_size)

    def _look_into_shard(self, key: str, path: Path) -> None:
        self.scan.shards += 1
        with path.open("rb") as stream:
            for name, offset, size in _members(stream):
                self.scan.members += 1
                if name.rpartition("/")[2].partition(".")[0] in self._names:
                    self._found(f"{key}: a member is called {name}")
                stream.seek(offset)
                if self._see(f"{key}: {name}", stream, size):
                    self.scan.members_hashed += 1

    def _see(self, where: str, stream: BinaryIO, size: int) -> bool:
        """Hash the next bytes of a stream, where they may be what is looked for; return whether that was so."""
        if self._sizes is not None and size not in self._sizes:
            return False
        digest = hashlib.blake2b(digest_size=32)
        left = size
        while left and (chunk := stream.read(min(_CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
        self.scan.bytes_hashed += size - left
        if digest.digest() in self._digests:
            self._found(f"{where}: its bytes")
        return True

    def _look_into_table(self, key: str, path: Path) -> None:
        self.scan.tables += 1
        is_named_in = key.startswith(_NAMED_IN)
        with pq.ParquetFile(path) as table:
            wanted = [column.name for column in table.schema_arrow if _has_bytes(column.type) or _is_name(key, column)]
            if not wanted:
                return
            # Pictures inside a table are read a few at a time; digests, which are small, by the row group's worth.
            only_digests = all(table.schema_arrow.field(name).type == DIGEST for name in wanted)
            for batch in table.iter_batches(batch_size=1 << 16 if only_digests else _BATCH_ROWS, columns=wanted):
                for name, values in _leaves(batch):
                    if _has_bytes(values.type) or name in wanted:
                        self._look_at_values(key, name, values, is_named_in)

    def _look_at_values(self, key: str, name: str, values: pa.Array, is_named_in: bool) -> None:
        self.scan.values += len(values)
        if values.type == DIGEST:
            hits = pc.sum(pc.is_in(values, self._array)).as_py() or 0
            if hits and not is_named_in:
                self._found(f"{key}: {hits} rows by {name}")
        elif pa.types.is_string(values.type):
            hits = pc.sum(pc.is_in(values, self._name_array)).as_py() or 0
            if hits:
                self._found(f"{key}: {hits} rows by {name}")
        elif pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
            for value in values:
                buffer = value.as_buffer()
                if buffer is not None and (self._sizes is None or buffer.size in self._sizes):
                    self.scan.bytes_hashed += buffer.size
                    if hashlib.blake2b(buffer, digest_size=32).digest() in self._digests:
                        self._found(f"{key}: bytes in {name}")

    def _look_into_database(self, key: str, path: Path, scratch: Path) -> None:
        private = scratch / "private.duckdb"  # whoever writes to the other one does not hold this up
        shutil.copyfile(path, private)
        with connect(private, read_only=True) as connection:
            found = connection.execute(
                "SELECT table_name, column_name FROM duckdb_columns() JOIN duckdb_tables() USING (schema_name, "
                "table_name) WHERE data_type = 'BLOB' AND table_name <> 'blocked' ORDER BY ALL"
            ).fetchall()
            connection.register("those", pa.table({"value": self._array}))
            for table, column in found:
                self.scan.tables += 1
                query = f'SELECT count(*) FROM "{table}" SEMI JOIN those ON "{column}" = value'
                (hits,) = connection.execute(query).fetchall()[0]
                if hits:
                    self._found(f"{key}: {hits} rows of {table} by {column}")

    def _found(self, what: str) -> None:
        if len(self.scan.found) < _MOST_FOUND:
            self.scan.found.append(what)


def _members(stream: BinaryIO) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset and size of every file in a tar of any writer."""
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for member in archive:
            if member.isfile():
                yield member.name, member.offset_data, member.size


def _is_name(key: str, column: pa.Field) -> bool:
    """Tell whether a column of a release names files in hexadecimal; what tells of those that are out does, too."""
    in_release = key.startswith("releases/") and not key.endswith(("/diff.parquet", "/gone.parquet"))
    return in_release and pa.types.is_string(column.type) and column.name in ("blake2b", "still_of")


def _has_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_has_bytes(kind.field(part).type) for part in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or kind == DIGEST)


def _leaves(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array]]:
    """Yield the columns that have no columns in them, by name; lists are taken for what is in them."""
    waiting = list(zip(batch.schema.names, batch.columns, strict=True))
    while waiting:
        name, values = waiting.pop()
        kind = values.type
        if pa.types.is_struct(kind):
            waiting += [(f"{name}.{kind.field(part).name}", values.field(part)) for part in range(kind.num_fields)]
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            waiting.append((name, values.flatten()))
        else:
            yield name, values
