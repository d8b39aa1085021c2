"""Reading one table over all archives with DuckDB: the SQL of it, and the connections that may run it.

What is asked of the tables is not here: see `funnel`, `warehouse` and `explain`.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.dataset.archives import ARCHIVES, named_ownership
from imgmine.dataset.near_groups import NEAR_DUPLICATES
from imgmine.dataset.ownership import OWNERSHIP
from imgmine.errors import PersonNeeded, first_line
from imgmine.store.tables import ANOMALY_SCORES, FILES, IMAGES, JUDGEMENTS, RECORDS, embeddings_schema, parquet_metadata

# The tables of which each archive has a part, and those of which there is one file for all.
ARCHIVE_TABLES: Mapping[str, pa.Schema] = MappingProxyType(
    {
        "records": RECORDS,
        "files": FILES,
        "images": IMAGES,
        "embeddings": embeddings_schema(1),
        "anomaly_scores": ANOMALY_SCORES,
        **JUDGEMENTS,
    }
)
DATASET_TABLES: Mapping[str, pa.Schema] = MappingProxyType(
    {"ownership": OWNERSHIP, "archives": ARCHIVES, "near_duplicates": NEAR_DUPLICATES}
)

MADE_BY: Mapping[str, str] = MappingProxyType(
    {"ownership": "statistics", "archives": "statistics", "near_duplicates": "find_near_duplicates"}
)
"""The jobs that make `DATASET_TABLES` anew."""

_PARQUET = ".parquet"
# Not the pattern over all archives, which is in the SQL that the message goes on with.
_NAMED_FILE = re.compile(r"""["'][^"'*]+\.parquet["']""")


class DamagedTable(PersonNeeded):
    """A table over all archives cannot be read."""

    def __init__(self, table: str, key: str, why: Exception) -> None:
        super().__init__(
            f"{key} in the store cannot be read ({first_line(why)}). Remove it, then launch the job {MADE_BY[table]}."
        )


class UnreadableFile(PersonNeeded):
    """A published table of an archive cannot be read; `fault` says which and why, without a full stop."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"{fault}. imgmine doctor says what to do.")


def unreadable_file(error: Exception) -> UnreadableFile | None:
    """Return what to tell a person of an error of DuckDB that names a Parquet file; None of any other error."""
    if not isinstance(error, duckdb.Error) or not _NAMED_FILE.search(first_line(error)):
        return None
    return UnreadableFile(first_line(error))


def connect(database: Path | None = None, *, read_only: bool = False, memory: str = "1GB") -> duckdb.DuckDBPyConnection:
    """Open a database file, or one in memory: times are UTC, nothing is downloaded, `memory` bounds what it takes.

    A file spills beside itself; one in memory does not spill, for it would into the working folder.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    if database is None:
        connection = duckdb.connect(config={**config, "temp_directory": ""})
    else:
        connection = duckdb.connect(str(database), read_only=read_only, config=config)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def archive_table(table: str, folder: Path, archives: Collection[str] | None = None) -> str:
    """Return a SELECT of one of `ARCHIVE_TABLES` over the archives in `folder`; `archive` is always its first column.

    Over all of them where `archives` is None: those that come or go later are seen too, except that a folder without
    any gives an empty table for good.
    """
    schema = ARCHIVE_TABLES[table]
    own_archive = "archive" in schema.names
    if not (_has_parts(folder) if archives is None else archives):
        return _empty(schema) if own_archive else _empty(pa.schema([pa.field("archive", pa.string()), *schema]))
    columns = ", ".join(_quoted_name(name) for name in schema.names)
    if archives is None:
        source = f"read_parquet({quoted(f'{_alone(folder.resolve())}/*{_PARQUET}')}, filename = true)"
    else:
        source = parquet_source(*(folder / f"{name}{_PARQUET}" for name in sorted(archives)), named=True)
    if own_archive:
        return f"SELECT {columns} FROM {source}"
    return f"SELECT left(parse_filename(filename), -{len(_PARQUET)}) AS archive, {columns} FROM {source}"


def parquet_source(*paths: Path, named: bool = False) -> str:
    """Return the SQL that reads these files, one or more, as one relation; where `named`, each row has its `filename`.

    Whatever is in a path stands for itself: DuckDB takes `*`, `?` and `[` for a pattern.
    """
    files = ", ".join(quoted(_alone(path.resolve())) for path in paths)
    return f"read_parquet([{files}], filename = {str(named).lower()})"


def view_archive_tables(connection: duckdb.DuckDBPyConnection, folders: Mapping[str, Path]) -> None:
    """Make a view of each of these `ARCHIVE_TABLES`, which lie in these folders, over all archives."""
    for table, folder in folders.items():
        connection.execute(f"CREATE VIEW {table} AS {archive_table(table, folder)}")


def dataset_table(table: str, folder: Path) -> str:
    """Return a SELECT of one of `DATASET_TABLES`, which lie in `folder`. Raises `DamagedTable`."""
    schema = DATASET_TABLES[table]
    columns = ", ".join(_quoted_name(name) for name in schema.names)
    paths = ownership_files(folder) if table == "ownership" else (folder / f"{table}{_PARQUET}",)
    if not paths or not paths[0].is_file():
        return _empty(schema)
    for path in paths:
        try:
            pq.read_metadata(path)
        except (pa.ArrowException, OSError) as error:
            raise DamagedTable(table, f"{folder.name}/{path.name}", error) from error
    whole, *changes = (f"SELECT {columns} FROM {parquet_source(path)}" for path in paths)
    if not changes:
        return whole
    return (
        f"SELECT {columns} FROM ({whole}) AS base WHERE NOT EXISTS "
        f"(SELECT 1 FROM ({changes[0]}) AS changed WHERE changed.blake2b = base.blake2b) UNION ALL {changes[0]}"
    )


def empty_dataset_table(table: str) -> str:
    """Return a SELECT of none of the rows of one of `DATASET_TABLES`."""
    return _empty(DATASET_TABLES[table])


def ownership_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of the `ownership` that is published in `folder`: a whole table, and changes to it, or none.

    A row of the changes is true instead of the whole's. They are of the `archives.parquet` that lies there now. Raises
    `DamagedTable`.
    """
    metadata = _archives_metadata(folder)
    return tuple(folder / name for name in named_ownership(metadata))


def ownership_answer(folder: Path) -> str | None:
    """Return a digest of all that the published ownership follows from: the same for the same rows, however it was
    made. None where there is none yet.
    """
    metadata = _archives_metadata(folder)
    return metadata.get("answer") or metadata.get("inputs")


def _archives_metadata(folder: Path) -> dict[str, str]:
    try:
        return parquet_metadata((folder / f"archives{_PARQUET}").read_bytes())
    except FileNotFoundError:
        return {}
    except (pa.ArrowException, OSError) as error:
        raise DamagedTable("archives", f"{folder.name}/archives{_PARQUET}", error) from error


def listed(select: str, columns: Collection[str]) -> str:
    """Return a SELECT of one of these tables without what is in the relation `blocked(blake2b)`.

    The ledger keeps its rows, which then say `blocked`, so that the funnel adds up.
    """
    if {"blake2b", "warc_offset", "decision"} <= set(columns):
        decision = "CASE WHEN blake2b IN (SELECT blake2b FROM blocked) THEN 'blocked' ELSE decision END AS decision"
        return f"SELECT * REPLACE ({decision}) FROM ({select})"
    return f"SELECT * FROM ({select}) ANTI JOIN blocked USING (blake2b)" if "blake2b" in columns else select


def archives_in(folder: Path) -> list[str]:
    """Return the archives that have a part of the table in `folder`, sorted."""
    return sorted(path.name.removesuffix(_PARQUET) for path in folder.glob(f"*{_PARQUET}"))


def _has_parts(folder: Path) -> bool:
    return next(folder.glob(f"*{_PARQUET}"), None) is not None


def _empty(schema: pa.Schema) -> str:
    columns = ", ".join(f"CAST(NULL AS {_sql_type(field.type)}) AS {_quoted_name(field.name)}" for field in schema)
    return f"SELECT {columns} WHERE false"


def _sql_type(kind: pa.DataType) -> str:
    """Return what DuckDB makes of a Parquet column of this type."""
    if pa.types.is_fixed_size_list(kind):
        return "FLOAT[]"
    if pa.types.is_fixed_size_binary(kind):
        return "BLOB"
    return {
        pa.string(): "VARCHAR",
        pa.int16(): "SMALLINT",
        pa.int32(): "INTEGER",
        pa.int64(): "BIGINT",
        pa.uint8(): "UTINYINT",
        pa.uint64(): "UBIGINT",
        pa.float32(): "FLOAT",
        pa.float64(): "DOUBLE",
        pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
    }[kind]


def quoted(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _quoted_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _alone(path: Path) -> str:
    """Return the path as a glob pattern that matches it alone."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in str(path))
