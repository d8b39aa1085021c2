"""Looking at what the store has of one archive: whether its tables, its shards and their rows belong to each other.

Nothing is changed here: what can be mended is `mending`'s, what lies about on this machine too.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from imgmine.dataset.funnel import check_funnel
from imgmine.dataset.relations import ARCHIVE_TABLES
from imgmine.dataset.shard_checksums import Place, check_shard, digest_in
from imgmine.dataset.sketches import SKETCH, SKETCHES
from imgmine.decisions import ImageDecision
from imgmine.store.base import NotInStore, Store
from imgmine.store.object_file import open_parquet
from imgmine.store.shards import END_BYTES
from imgmine.store.tables import SCHEMA_VERSION, key_values, manifest_key, table_key

TABLES: Mapping[str, pa.Schema] = {**ARCHIVE_TABLES, SKETCHES: SKETCH}
"""The tables of which each archive has a part, by name; those that others are made of come first."""

_BLOCK = 512
# What a table is made of. `records` and `files` are made at once, `files` last.
_MADE_OF = {
    "records": "files",
    "files": "records",
    "images": "files",
    "embeddings": "images",
    "anomaly_scores": "embeddings",
    "probe_scores": "embeddings",
}
_READ = {
    "records": ("decision", "blake2b"),
    "files": ("blake2b", "media_type", "video_blake2b", "shard", "shard_offset", "size"),
    "images": ("blake2b", "decision", "preview_shard", "preview_offset", "preview_size"),
    "anomaly_scores": ("blake2b", "decision"),
}


class Kind(StrEnum):
    """What can be wrong."""

    UNREADABLE = "a table that cannot be read"
    OTHER_SCHEMA = "a table of another schema"
    NOT_MADE_FROM_ANYTHING = "a table without the one that it is made of"
    NO_MANIFEST = "an archive without its manifest"
    SHARD_MISSING = "a shard that is gone"
    SHARD_SHORT = "a shard that was cut short"
    SHARD_ALTERED = "a shard with other bytes than it was made with"
    SHARD_UNNAMED = "a shard that no table names"
    SHARD_WITHOUT_TABLE = "a shard whose table is gone"
    NO_SHARD = "an object that is no shard"
    ROWS_OUTSIDE = "rows that point outside their shard"
    ROWS_WRONG = "rows that point to other bytes than theirs"
    ROWS_DISAGREE = "rows that do not follow from each other"
    WAITING_RESULTS = "results of the gate that were used"
    LEFT_BEHIND = "what a killed process has left"
    NO_PARTITION = "data of an archive that is no partition"
    DATASET = "tables over all archives"
    LABELS = "what people said of pictures"
    MODEL = "a fitted model"
    RELEASE = "a release"
    TAKEDOWN_LOG = "the log of take-downs"


# What may go, and what may be marked to be made again, without losing anything.
REMOVABLE = frozenset({Kind.SHARD_UNNAMED, Kind.WAITING_RESULTS, Kind.LEFT_BEHIND})
MARKABLE = frozenset({Kind.ROWS_OUTSIDE, Kind.ROWS_WRONG, Kind.ROWS_DISAGREE})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: of which archive (None: of none), where, what, and what to do about it.

    `where` is a store's key, or a path on this machine. `table` is the one to be made again.
    """

    kind: Kind
    archive: str | None
    where: str
    message: str
    remedy: str
    table: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.message}. {self.remedy}"


class _Shards(NamedTuple):
    """A folder of shards, the tables whose metadata name them, and the columns by which the last one's rows do."""

    folder: str
    named_in: tuple[str, ...]
    shard: str
    offset: str
    size: str

    @property
    def table(self) -> str:
        return self.named_in[-1]


_SHARDS = (
    _Shards("files", ("records", "files"), "shard", "shard_offset", "size"),
    _Shards("previews", ("images",), "preview_shard", "preview_offset", "preview_size"),
)


@dataclass
class _Read:
    """What was read of the archive's tables: metadata, and the rows of those of this schema."""

    metadata: dict[str, Mapping[str, str]] = field(default_factory=dict)
    rows: dict[str, pa.Table] = field(default_factory=dict)
    there: set[str] = field(default_factory=set)


def examine(
    store: Store,
    archive: str,
    scratch: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Finding]:
    """Yield what is wrong with what the store has of an archive, the tables first. Nothing where all is well.

    With `scratch`, every byte of every shard and table is read; of a remote store one shard at a time is in that
    folder. `progress` is told bytes of shards as they are read.
    """
    read = _Read()
    for name in TABLES:
        yield from _read_table(store, archive, name, read, whole=scratch is not None)
    yield from _check_order(store, archive, read)
    for shards in _SHARDS:
        yield from _check_shards(store, archive, shards, read, scratch, progress)
    yield from _check_rows(archive, read)


def _mine(archive: str) -> str:
    return f"Run: imgmine mine {archive}"


def _mark_and_make(archive: str, table: str) -> str:
    then = make_again(archive, table)
    return f"Run: imgmine doctor {archive} --repair; then {then[0].lower()}{then[1:]}"


def _remove_and_mine(store: Store, key: str, archive: str) -> str:
    return f"Remove {store.uri(key)}, then run: imgmine mine {archive}"


def make_again(archive: str, table: str) -> str:
    """Return what to do to have a table made that is gone or counts as out of date."""
    return "Launch the job find_near_duplicates" if table == SKETCHES else _mine(archive)


def _read_table(store: Store, archive: str, name: str, read: _Read, *, whole: bool) -> Iterator[Finding]:
    key = table_key(name, archive)
    wanted = _READ.get(name, ("blake2b",))
    try:
        with open_parquet(store, key) as table:
            metadata = key_values(table.metadata)
            unlike = _unlike(table.schema_arrow, TABLES[name])
            rows = (
                None
                if set(wanted) - set(table.schema_arrow.names)
                else table.read(columns=list(wanted), use_threads=False)
            )
            for _ in table.iter_batches(batch_size=1 << 12, use_threads=False) if whole else ():
                pass
    except NotInStore:  # maybe removed meanwhile
        return
    except (pa.ArrowException, OSError, ValueError) as error:
        read.there.add(name)
        message = f"the table cannot be read ({str(error).splitlines()[0]})"
        yield Finding(Kind.UNREADABLE, archive, key, message, _remove_and_mine(store, key, archive))
        return
    read.there.add(name)
    read.metadata[name] = metadata
    version = metadata.get("schema_version")
    if version != SCHEMA_VERSION or unlike:
        message = (
            f"the table is of schema version {version}, and this is {SCHEMA_VERSION}"
            if version != SCHEMA_VERSION
            else f"the table has not the columns of its schema ({unlike})"
        )
        remedy = make_again(archive, name) if version != SCHEMA_VERSION else _remove_and_mine(store, key, archive)
        yield Finding(Kind.OTHER_SCHEMA, archive, key, message, remedy)
    if rows is not None and not unlike:
        read.rows[name] = rows


def _unlike(found: pa.Schema, expected: pa.Schema) -> str:
    """Return the names of the columns that are missing, too many, or of another type; vectors are of any length."""
    names = [
        name
        for name in dict.fromkeys((*expected.names, *found.names))
        if name not in found.names
        or name not in expected.names
        or (name != "embedding" and found.field(name).type != expected.field(name).type)
    ]
    return ", ".join(names)


def _check_order(store: Store, archive: str, read: _Read) -> Iterator[Finding]:
    for name in TABLES:
        origin = _MADE_OF.get(name, "images")
        if name in read.there and origin not in read.there:
            message = f"the table is there, and {table_key(origin, archive)} is not"
            key = table_key(name, archive)
            yield Finding(Kind.NOT_MADE_FROM_ANYTHING, archive, key, message, _mine(archive))
    key = manifest_key(archive)
    if read.there and store.stat(key) is None:
        yield Finding(Kind.NO_MANIFEST, archive, key, "the archive's manifest is not in the store", _mine(archive))


def _check_shards(
    store: Store,
    archive: str,
    shards: _Shards,
    read: _Read,
    scratch: Path | None,
    progress: Callable[[int], None] | None,
) -> Iterator[Finding]:
    present = {stored.key: stored.size for stored in store.list(f"{shards.folder}/{archive}/")}
    named = {
        key for table in shards.named_in for key in read.metadata.get(table, {}).get("shards", "").split("\n") if key
    }
    rows = read.rows.get(shards.table)
    ends = {} if rows is None else _ends(rows, shards)
    for key in sorted((named | ends.keys()) - present.keys()):
        count = f", which {ends[key][1]} rows name," if key in ends else ""
        message = f"the shard{count} is not in the store"
        yield Finding(Kind.SHARD_MISSING, archive, key, message, _mine(archive), shards.table)
    for key in sorted(present.keys() - named - ends.keys()):
        yield _unnamed(archive, key, shards, read)
    for key in sorted(present.keys() & (named | ends.keys())):
        end, _ = ends.get(key, (0, 0))
        size = present[key]
        whole = -(-end // _BLOCK) * _BLOCK + END_BYTES
        if size < whole or size % _BLOCK:
            outside = 0 if rows is None else _rows_beyond(rows, shards, key, size)
            if outside:
                message = f"{outside} rows of {shards.table} point outside the shard, which has {size} bytes"
                yield Finding(
                    Kind.ROWS_OUTSIDE, archive, key, message, _mark_and_make(archive, shards.table), shards.table
                )
            else:
                message = f"the shard has {size} bytes, and was cut short"
                yield Finding(Kind.SHARD_SHORT, archive, key, message, _remove_and_mine(store, key, archive))
        if scratch is not None:
            yield from _read_shard(store, archive, key, shards, rows, scratch, progress)


def _unnamed(archive: str, key: str, shards: _Shards, read: _Read) -> Finding:
    if digest_in(key) is None:
        return Finding(Kind.NO_SHARD, archive, key, "this is no shard, and no table names it", "Move it elsewhere")
    later = list(TABLES)[list(TABLES).index(shards.table) + 1 :]
    if all("shards" in read.metadata.get(name, {}) for name in shards.named_in):
        is_left = True
    else:  # a run that has published nothing yet; or tables that were lost, and this has what they named
        is_left = not read.there & {*shards.named_in, *later}
    if is_left:
        remedy = f"Run: imgmine doctor {archive} --repair"
        return Finding(Kind.SHARD_UNNAMED, archive, key, "no table names the shard", remedy)
    message = f"no table names the shard, for {table_key(shards.table, archive)} is gone or cannot be read"
    return Finding(Kind.SHARD_WITHOUT_TABLE, archive, key, message, _mine(archive))


def _ends(rows: pa.Table, shards: _Shards) -> dict[str, tuple[int, int]]:
    """Return, for each shard that rows name, the last byte that they name and how many they are."""
    placed = rows.filter(pc.is_valid(rows[shards.shard]))
    ends = pa.table({"shard": placed[shards.shard], "end": pc.add(placed[shards.offset], placed[shards.size])})
    found = ends.group_by("shard").aggregate([("end", "max"), ("end", "count")])
    return {row["shard"]: (row["end_max"] or 0, row["end_count"]) for row in found.to_pylist()}


def _rows_beyond(rows: pa.Table, shards: _Shards, key: str, size: int) -> int:
    own = rows.filter(pc.equal(rows[shards.shard], key))
    return pc.sum(pc.greater(pc.add(own[shards.offset], own[shards.size]), size)).as_py() or 0


def _read_shard(
    store: Store,
    archive: str,
    key: str,
    shards: _Shards,
    rows: pa.Table | None,
    scratch: Path,
    progress: Callable[[int], None] | None,
) -> Iterator[Finding]:
    places: list[Place] = []
    if rows is not None:
        own = rows.filter(pc.equal(rows[shards.shard], key))
        columns = (own[name].to_pylist() for name in (shards.offset, shards.size, "blake2b"))
        is_original = shards.folder == "files"
        places = [Place(offset, size, blake2b, is_original) for offset, size, blake2b in zip(*columns, strict=True)]
    with TemporaryDirectory(dir=scratch) as folder:
        try:
            found = check_shard(store.local_copy(key, Path(folder)), key, places, progress)
        except NotInStore:
            message = "the shard was removed while it was looked at"
            yield Finding(Kind.SHARD_MISSING, archive, key, message, _mine(archive), shards.table)
            return
        except OSError as error:
            message = f"the shard cannot be read ({error.strerror or error})"
            yield Finding(Kind.SHARD_ALTERED, archive, key, message, _remove_and_mine(store, key, archive))
            return
    which = f"{len(found.wrong)} files, the first {found.wrong[0]}" if found.wrong else "no file that rows name"
    if not found.is_as_named:
        message = f"the shard's bytes are not those that its name tells of: it was altered ({which})"
        yield Finding(Kind.SHARD_ALTERED, archive, key, message, _remove_and_mine(store, key, archive))
    elif found.wrong:
        message = f"rows of {shards.table} name other bytes of the shard than theirs ({which})"
        yield Finding(Kind.ROWS_WRONG, archive, key, message, _mark_and_make(archive, shards.table), shards.table)


def _check_rows(archive: str, read: _Read) -> Iterator[Finding]:
    """Compare the rows of each table with those that it is made of."""
    rows = read.rows
    if "records" in rows and "files" in rows:
        for problem in check_funnel(
            rows["records"],
            rows["files"],
            rows.get("images"),
            rows.get("embeddings"),
            rows.get("anomaly_scores"),
        ):
            table = {"scores": "anomaly_scores"}.get(problem.stage, problem.stage)
            yield _disagrees(archive, table, f"{problem.rows} rows: {problem.message}")
    if "images" not in rows:
        return
    images = rows["images"]
    kept = images.filter(pc.equal(images["decision"], ImageDecision.KEPT.value))["blake2b"]
    for name in (name for name in rows if name not in _READ and name != "embeddings"):
        inside = pc.is_in(rows[name]["blake2b"], value_set=kept.combine_chunks())
        strangers = len(inside) - (pc.sum(inside).as_py() or 0)
        if strangers:
            yield _disagrees(archive, name, f"{strangers} rows: not of images that the gate has kept")


def _disagrees(archive: str, table: str, message: str) -> Finding:
    return Finding(
        Kind.ROWS_DISAGREE, archive, table_key(table, archive), message, _mark_and_make(archive, table), table
    )


def archives_in(store: Store) -> set[str]:
    """Return every archive of which the store has anything."""
    found = set()
    for folder in ("manifests", "previews", *TABLES):
        for stored in store.list(f"{folder}/"):
            name, slash, _ = stored.key.removeprefix(f"{folder}/").partition("/")
            if slash or name.endswith((".parquet", ".json")):
                found.add(name if slash else name.rpartition(".")[0])
    return found


def unknown(archive: str, known: Collection[str]) -> Iterator[Finding]:
    """Yield that an archive is no partition, where it is none of those `known`."""
    if archive not in known:
        remedy = f"Run: imgmine remove {archive}, or to keep it: {_mine(archive).removeprefix('Run: ')}"
        yield Finding(Kind.NO_PARTITION, archive, archive, "there is data of it, and it is no partition", remedy)
