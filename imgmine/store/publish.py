"""Putting one archive's outputs of one stage into the store, and reading them back.

Shards go first, under names that carry their digest, some of them from an `outbox` long before; the tables that name
them are put after that, each in one atomic put, the stage's last table last: it is what makes the outputs count. Shards
that no table names go at the end. A run killed at any point so leaves the earlier tables readable with all the shards
that they name.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from imgmine.store.base import NotInStore, Store
from imgmine.store.shards import Shard
from imgmine.store.tables import SCHEMA_VERSION, Provenance, from_parquet, parquet_metadata, table_key, to_parquet

# In a table's metadata: the keys of all shards of its stage and archive, one a line.
_SHARDS = "shards"
# In the metadata of a table that rows were taken out of: its digest before that.
_ORIGIN = "before_takedown"
# As a table's inputs: no fingerprint is this.
_OUT_OF_DATE = "to be made again"
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """One archive's part of a table as it is in the store: its bytes, and what they are known by."""

    key: str
    data: bytes
    digest: str
    metadata: Mapping[str, str]

    @property
    def origin(self) -> str:
        """What later stages make their fingerprints from: the digest that the table had before a take-down.

        So what was made of the table, and follows the take-down too, need not be made again.
        """
        return self.metadata.get(_ORIGIN, self.digest)

    @property
    def shards(self) -> frozenset[str]:
        """The keys of the shards of its stage and archive."""
        return frozenset(_named_shards(self))

    @property
    def has_shards(self) -> bool:
        """Whether it says which shards there are, be it none."""
        return _SHARDS in self.metadata

    def read(self) -> pa.Table:
        """Return the rows."""
        return from_parquet(self.data)


def content_digest(data: bytes) -> str:
    """Return the hexadecimal BLAKE2b-128 of the bytes: what fingerprints and data versions are made from."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def file_digest(path: Path) -> str:
    """Return what `content_digest` returns of a file's bytes, without holding them."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def fingerprint(**inputs: object) -> str:
    """Return one digest for everything that a stage's output depends on: named digests, parameters, versions."""
    named = {**inputs, "schema_version": SCHEMA_VERSION}
    canonical = "\n".join(f"{name}={named[name]!r}" for name in sorted(named))
    return content_digest(canonical.encode())


def read_table(store: Store, table: str, archive: str) -> PublishedTable:
    """Read one archive's part of a table. Raises `NotInStore` where it was never published."""
    key = table_key(table, archive)
    data = store.get_bytes(key)
    return PublishedTable(key, data, content_digest(data), parquet_metadata(data))


def published_with(store: Store, table: str, archive: str, **metadata: str) -> pa.Table | None:
    """Return the rows of one archive's part of a table where its metadata has all these values."""
    try:
        published = read_table(store, table, archive)
    except NotInStore:
        return None
    return published.read() if all(published.metadata.get(key) == said for key, said in metadata.items()) else None


def unchanged(store: Store, tables: Sequence[str], archive: str, inputs: str, shard_prefix: str | None) -> bool:
    """Return whether these tables are published, were made from these inputs, and have all their shards.

    Where they are, a run may still have been killed between its last table and the end: former shards that it left
    behind are removed now.
    """
    named: set[str] = set()
    for table in tables:
        try:
            published = read_table(store, table, archive)
        except NotInStore:
            return False
        if published.metadata.get("inputs") != inputs or (
            shard_prefix is not None and _SHARDS not in published.metadata
        ):
            return False
        named |= _named_shards(published)
    return shard_prefix is None or not _remove_former_shards(store, archive, shard_prefix, named)


def remove_unnamed_shards(store: Store, tables: Sequence[str], archive: str, shard_prefix: str) -> None:
    """Remove the archive's shards that none of these tables, as published, names: what a run that failed has left."""
    named: set[str] = set()
    for table in tables:
        try:
            named |= _named_shards(read_table(store, table, archive))
        except NotInStore:
            continue
    _remove_former_shards(store, archive, shard_prefix, named)


def _remove_former_shards(store: Store, archive: str, shard_prefix: str, named: set[str]) -> set[str]:
    """Remove the archive's shards that no table names, if all those named are there; return the missing ones."""
    present = {found.key for found in store.list(f"{shard_prefix}/{archive}/")}
    missing = named - present
    if not missing:
        for key in sorted(present - named):
            store.delete(key)
    return missing


def _named_shards(published: PublishedTable) -> set[str]:
    return {key for key in published.metadata.get(_SHARDS, "").split("\n") if key}


def publish(
    store: Store,
    archive: str,
    tables: Mapping[str, pa.Table],
    provenance: Provenance,
    shards: Sequence[Shard] = (),
    shard_prefix: str | None = None,
    on_upload: Callable[[int, int], None] | None = None,
    extra: Mapping[str, str] | None = None,
    remake: Callable[[Shard], None] | None = None,
) -> dict[str, str]:
    """Publish a stage's tables (in the order given, the one that counts last) and return each one's digest.

    `shard_prefix` is the folder of the stage's shards (`files`, `previews`); every shard of the archive in it that is
    not among `shards` is removed at the end. `on_upload(done, total)` is told the bytes of shards put so far.
    `extra` goes into the metadata of every table. `remake` writes the local file of a shard again, which is gone where
    the shard was put before.
    """
    named = {_SHARDS: "\n".join(shard.key for shard in shards)} if shard_prefix is not None else {}
    # All is written out before anything is put, so that rows that do not fit their schema leave nothing behind.
    written = {name: to_parquet(table, provenance, {**named, **(extra or {})}) for name, table in tables.items()}
    _put_shards(store, shards, on_upload, remake)
    for name, data in written.items():
        store.put_bytes(table_key(name, archive), data)
    if shard_prefix is not None:
        current = {shard.key: shard for shard in shards}
        missing = _remove_former_shards(store, archive, shard_prefix, set(current))
        if missing:
            # Another run of this archive took them for its own former ones before the tables named them.
            _put_shards(store, [current[key] for key in sorted(missing)], None, remake)
            _remove_former_shards(store, archive, shard_prefix, set(current))
    return {name: content_digest(data) for name, data in written.items()}


def without_rows(published: PublishedTable, rows: pa.Table, shards: Sequence[str] | None = None) -> PublishedTable:
    """Return a published table with fewer rows, or other values in them, and the `shards` that it names then.

    It counts as made of the same inputs. Nothing is put.
    """
    extra = {**published.metadata, _ORIGIN: published.origin}
    if shards is not None and published.has_shards:
        extra[_SHARDS] = "\n".join(shards)
    return _rewritten(published, rows, extra)


def out_of_date(published: PublishedTable) -> PublishedTable:
    """Return a published table that the next run of its stage makes again, with the same rows. Nothing is put."""
    kept = {key: said for key, said in published.metadata.items() if not _FINGERPRINT.fullmatch(said)}
    return _rewritten(published, published.read(), {**kept, "inputs": _OUT_OF_DATE})


def _rewritten(published: PublishedTable, rows: pa.Table, metadata: Mapping[str, str]) -> PublishedTable:
    data = to_parquet(rows, Provenance("", "", ""), metadata)
    return PublishedTable(published.key, data, content_digest(data), parquet_metadata(data))


def put_shard(store: Store, shard: Shard, remake: Callable[[Shard], None] | None = None) -> None:
    """Put a shard, unless it is there."""
    stored = store.stat(shard.key)
    if stored is not None and stored.size == shard.size:
        return
    if remake is not None and not shard.path.is_file():
        remake(shard)
    store.put_file(shard.key, shard.path)


def _put_shards(
    store: Store,
    shards: Sequence[Shard],
    on_upload: Callable[[int, int], None] | None,
    remake: Callable[[Shard], None] | None,
) -> None:
    total = sum(shard.size for shard in shards)
    done = 0
    for shard in shards:
        put_shard(store, shard, remake)
        done += shard.size
        if on_upload is not None:
            on_upload(done, total)
