"""Taking files out of what is stored of one archive: its shards of originals and previews, and its tables.

Which files, and of which archives, the caller says; who keeps what was done is the caller too.
"""

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from imgmine.dataset.relations import ARCHIVE_TABLES
from imgmine.dataset.sketches import SKETCHES
from imgmine.decisions import RecordDecision
from imgmine.store.base import NotInStore, Store
from imgmine.store.publish import (
    PublishedTable,
    out_of_date,
    put_shard,
    read_table,
    remove_unnamed_shards,
    without_rows,
)
from imgmine.store.shards import Shard, ShardWriter, shard_members
from imgmine.store.tables import DIGEST, table_key

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class GoneMember:
    """What a shard had of a file: the file's BLAKE2b, and the member's own and its size in bytes, hexadecimal."""

    blake2b: str
    member: str
    size: int


@dataclass(frozen=True, slots=True)
class ShardChange:
    """A shard that was rewritten. `after` is None where nothing was left of it; the keys carry the digests."""

    before: str
    after: str | None
    gone: tuple[GoneMember, ...]


@dataclass(frozen=True, slots=True)
class TableChange:
    """A table that was rewritten: BLAKE2b-128 of the file before and after, and the rows that went or say `blocked`."""

    key: str
    before: str
    after: str
    rows: int


@dataclass(frozen=True, slots=True)
class ArchiveChange:
    """What the take-down does to an archive. `raw_files` are the WARC files that hold the bytes still."""

    archive: str
    files: tuple[str, ...]
    shards: tuple[ShardChange, ...]
    tables: tuple[TableChange, ...]
    raw_files: tuple[str, ...]

    @property
    def is_nothing(self) -> bool:
        return not (self.shards or self.tables)


class _Places(NamedTuple):
    """The columns by which a table says where a file's bytes lie, the shards' folder, the tables that name shards."""

    table: str
    shard: str
    offset: str
    folder: str
    stage: tuple[str, ...]


_PLACES = (
    _Places("files", "shard", "shard_offset", "files", ("records", "files")),
    _Places("images", "preview_shard", "preview_offset", "previews", ("images",)),
)
# `records` names the shards that `files` names. They are put last, in the order in which their stage puts them, and
# what comes of others before those: so no row is of a file that is in no table before it.
_FILES_FIRST = ("files", "records", *(name for name in ARCHIVE_TABLES if name not in ("files", "records")))
_PUT_ORDER = (*reversed(_FILES_FIRST[2:]), "records", "files")


class _Made(NamedTuple):
    """A shard that was written anew, and where its members went: offsets by former ones."""

    change: ShardChange
    moved: Mapping[int, int]


def take_out(
    store: Store,
    archive: str,
    blocked: Collection[bytes],
    scratch: Path,
    note: Callable[[ArchiveChange], None],
) -> ArchiveChange:
    """Take the blocked files out of an archive's shards and tables, and return what that changed.

    The rows of `records` stay and say `blocked`. Shards without such a file, and tables without such a row, are not
    touched. New shards go first, then the tables, what is made of others before those; former shards go last. `note` is
    told before any table names a new shard. Nothing happens the second time, but that a killed run's leftovers go.
    No stage of this archive may be at work meanwhile.
    """
    tables = _published(store, archive)
    gone = _gone(tables, blocked)
    made = _rewrite_shards(store, archive, tables, gone, scratch)
    rewritten: dict[str, PublishedTable] = {}
    changes: list[TableChange] = []
    for name in _FILES_FIRST:
        if name not in tables:
            continue
        published = tables[name]
        rows, count = _without(name, published.read(), gone)
        keys = _shards_after(name, published, rewritten.get("files", tables.get("files")), made)
        if count or keys != published.shards:
            rows = _moved(rows, name, made)
            rewritten[name] = without_rows(published, rows, None if keys is None else sorted(keys))
            changes.append(TableChange(published.key, published.digest, rewritten[name].digest, count))
    change = ArchiveChange(
        archive,
        tuple(sorted(digest.hex() for digest in gone)),
        tuple(made[key].change for key in sorted(made)),
        tuple(changes),
        _raw_files(tables, gone),
    )
    if not change.is_nothing:
        note(change)
    if rewritten:
        # It names places in former shards of previews, and is quickly made again of what is left.
        store.delete(table_key(SKETCHES, archive))
    for name in sorted(rewritten, key=_PUT_ORDER.index):
        store.put_bytes(rewritten[name].key, rewritten[name].data)
    for places in _PLACES:
        stage = [name for name in places.stage if name in tables]
        if all(tables[name].has_shards for name in stage) and stage:
            remove_unnamed_shards(store, stage, archive, places.folder)
    return change


def have_made_again(store: Store, archive: str) -> bool:
    """Have the next run of each stage make the archive's tables again; return whether there were any.

    What comes of others goes first, so that a kill in between leaves `records` to tell that there is more to do.
    """
    tables = _published(store, archive)
    store.delete(table_key(SKETCHES, archive))
    for name in reversed(tables):
        marked = out_of_date(tables[name])
        if marked.digest != tables[name].digest:
            store.put_bytes(marked.key, marked.data)
    return bool(tables)


def _published(store: Store, archive: str) -> dict[str, PublishedTable]:
    """Return the archive's tables, those that others are made of first."""
    found = {}
    for name in ARCHIVE_TABLES:
        try:
            found[name] = read_table(store, name, archive)
        except NotInStore:
            continue
    return found


def _gone(tables: Mapping[str, PublishedTable], blocked: Collection[bytes]) -> frozenset[bytes]:
    """Return those files of the archive that are blocked, or are the still of a video that is."""
    wanted = pa.array(sorted(blocked), DIGEST)
    gone: set[bytes] = set()
    for published in tables.values():
        rows = published.read()
        gone |= set(rows["blake2b"].filter(pc.is_in(rows["blake2b"], wanted)).to_pylist())
        if "video_blake2b" in rows.schema.names:
            gone |= set(rows["blake2b"].filter(pc.is_in(rows["video_blake2b"], wanted)).to_pylist())
    return frozenset(gone)


def _without(name: str, rows: pa.Table, gone: Collection[bytes]) -> tuple[pa.Table, int]:
    """Return the rows without those of the files, and how many went; those of `records` stay, and say it."""
    hit = pc.fill_null(pc.is_in(rows["blake2b"], pa.array(sorted(gone), DIGEST)), False)
    if name != "records":
        return rows.filter(pc.invert(hit)), pc.sum(hit).as_py() or 0
    hit = pc.and_(hit, pc.not_equal(rows["decision"], RecordDecision.BLOCKED.value))
    count = pc.sum(hit).as_py() or 0
    if count:
        rows = _set(rows, "decision", hit, pa.scalar(RecordDecision.BLOCKED.value))
        if "blocked_by" in rows.schema.names:
            by = [None if digest is None else f"blake2b:{digest.hex()}" for digest in rows["blake2b"].to_pylist()]
            rows = _set(rows, "blocked_by", hit, pa.chunked_array([pa.array(by, pa.string())]))
    return rows, count


def _set(rows: pa.Table, column: str, where: pa.ChunkedArray, value: pa.Scalar | pa.ChunkedArray) -> pa.Table:
    place = rows.schema.get_field_index(column)
    return rows.set_column(place, rows.schema.field(place), pc.if_else(where, value, rows[column]))


def _shards_after(
    name: str, published: PublishedTable, files: PublishedTable | None, made: Mapping[str, _Made]
) -> frozenset[str]:
    """Return the shards that a table names when it is rewritten."""
    if name == "records" and files is not None:
        return files.shards
    after = (made[key].change.after if key in made else key for key in published.shards)
    return frozenset(key for key in after if key is not None)


def _rewrite_shards(
    store: Store, archive: str, tables: Mapping[str, PublishedTable], gone: Collection[bytes], scratch: Path
) -> dict[str, _Made]:
    """Write anew, and put, the shards with bytes of these files. Nothing names the new ones yet."""
    made: dict[str, _Made] = {}
    for places in _PLACES:
        if places.table not in tables or not gone:
            continue
        rows = tables[places.table].read()
        rows = rows.filter(pc.is_in(rows["blake2b"], pa.array(sorted(gone), DIGEST)))
        members: dict[str, dict[int, bytes]] = {}
        columns = (rows[name].to_pylist() for name in ("blake2b", places.shard, places.offset))
        for digest, key, offset in zip(*columns, strict=True):
            if key is not None:
                members.setdefault(key, {})[offset] = digest
        for key in sorted(members):
            number = int(key.rpartition("/")[2].partition("-")[0])
            with TemporaryDirectory(dir=scratch) as folder:
                local = store.local_copy(key, Path(folder) / "former")
                prefix = f"{places.folder}/{archive}"
                written, moved, lost = without_members(local, members[key], Path(folder), prefix, number)
                if written is not None:
                    put_shard(store, written)
            made[key] = _Made(ShardChange(key, written.key if written is not None else None, lost), moved)
    return made


def without_members(
    shard: Path, gone: Mapping[int, bytes], folder: Path, prefix: str, number: int
) -> tuple[Shard | None, dict[int, int], tuple[GoneMember, ...]]:
    """Write a shard without the members at these offsets: the new one, offsets by former ones, and what went.

    None where no member is left. `gone` has the BLAKE2b of the files that the members are of.
    """
    moved: dict[int, int] = {}
    lost: list[GoneMember] = []
    with shard.open("rb") as source, ShardWriter(folder, prefix, limit=sys.maxsize, first=number) as writer:
        for name, offset, size in shard_members(shard):
            source.seek(offset)
            if offset in gone:
                lost.append(GoneMember(gone[offset].hex(), _hash(source, size), size))
            else:
                moved[offset] = writer.add_from(name, source, size).offset
    return (writer.shards[0] if writer.shards else None), moved, tuple(lost)


def _hash(source: BinaryIO, size: int) -> str:
    digest = blake2b(digest_size=32)
    while size and (chunk := source.read(min(_CHUNK, size))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()


def _moved(rows: pa.Table, name: str, made: Mapping[str, _Made]) -> pa.Table:
    """Return the rows that are left with their places in the new shards."""
    for places in _PLACES:
        if places.table != name:
            continue
        keys, offsets = rows[places.shard].to_pylist(), rows[places.offset].to_pylist()
        for row, key in enumerate(keys):
            if key in made:
                keys[row], offsets[row] = made[key].change.after, made[key].moved[offsets[row]]
        for column, values in ((places.shard, keys), (places.offset, offsets)):
            place = rows.schema.get_field_index(column)
            field = rows.schema.field(place)
            rows = rows.set_column(place, field, pa.array(values, field.type))
    return rows


def _raw_files(tables: Mapping[str, PublishedTable], gone: Collection[bytes]) -> tuple[str, ...]:
    if "records" not in tables:
        return ()
    rows = tables["records"].read()
    hit = pc.fill_null(pc.is_in(rows["blake2b"], pa.array(sorted(gone), DIGEST)), False)
    return tuple(sorted(set(rows["warc_file"].filter(hit).to_pylist())))
