"""The warehouse: one DuckDB file over the published tables, `<store>/warehouse.duckdb`.

It is made in scratch and published whole, so nobody ever waits for a lock on it. What the reports count is dbt's
business (`dbt_reports/`); they live in the same file.

    records, files, images, embeddings, anomaly_scores   views over every archive, `archive` is their first column
    watermark_scores and whatever is beside the funnel   likewise
    ownership(blake2b, archive, copies), archives        views of the dataset's tables
    blocked(blake2b)                                     a table: what was taken down, and is in no view
    funnel(archive, stage, decision, n)                  a table, counted when the warehouse was built
    population, accumulation                             tables: how many distinct files there are (`population_tables`)
    digest(blake2b)                                      a macro: the digest as 64 hexadecimal digits

The views name the Parquet files by absolute paths: the store's own where it is a local folder, else the mirror folder
that was given. So `duckdb -readonly <store>/warehouse.duckdb` works for a person on a machine that has them, without
any extension.
"""

import os
import shutil
import uuid
from collections.abc import Collection
from pathlib import Path

import duckdb
import pyarrow as pa

from imgmine.dataset.funnel import FUNNEL_SQL
from imgmine.dataset.population_tables import write_population
from imgmine.dataset.relations import ARCHIVE_TABLES, DATASET_TABLES, archive_table, connect, dataset_table, listed
from imgmine.dataset.takedown_log import read_log
from imgmine.store.base import NotInStore, Store
from imgmine.store.tables import DIGEST

WAREHOUSE_KEY = "warehouse.duckdb"


def checkout_warehouse(store: Store, scratch: Path) -> Path:
    """Return a private, writable copy of the published warehouse, or of an empty one; it lies in `scratch`.

    A published file that this version of DuckDB cannot open counts as none: all of it can be made again.
    """
    path = scratch / WAREHOUSE_KEY
    path.unlink(missing_ok=True)
    try:
        shutil.copyfile(store.local_copy(WAREHOUSE_KEY, scratch / "published"), path)
        connect(path).close()
    except NotInStore:
        connect(path).close()
    except duckdb.Error:
        path.unlink()
        connect(path).close()
    return path


def build_warehouse(store: Store, mirror_folder: Path, scratch: Path) -> Path:
    """Return the path of a warehouse in `scratch` whose views and funnel are of what is published now.

    It starts from the published one, so that dbt's reports are there until they are made again.
    """
    path = checkout_warehouse(store, scratch)
    with connect(path) as connection:
        connection.execute("BEGIN")
        _make_views(connection, store, mirror_folder, read_log(store).blocked)
        _drop(connection, "funnel")
        connection.execute("CREATE OR REPLACE MACRO digest(blake2b) AS lower(hex(blake2b))")
        connection.execute(f"CREATE TABLE funnel AS SELECT * FROM ({FUNNEL_SQL}) ORDER BY archive, stage, decision")
        write_population(connection)
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")
    return path


def hide_blocked(store: Store, mirror_folder: Path, scratch: Path) -> bool:
    """Publish the warehouse again with what the log of take-downs blocks now in no view, and in no table of rows.

    The views are made anew, of the tables that are there now; what was counted is counted anew with the next
    statistics. Where another warehouse is published meanwhile, it is done with that one. Returns False where there is
    none yet.
    """
    while (published := store.stat(WAREHOUSE_KEY)) is not None:
        path = checkout_warehouse(store, scratch)
        blocked = read_log(store).blocked
        with connect(path) as connection:
            connection.execute("BEGIN")
            _make_views(connection, store, mirror_folder, blocked)
            for table in _tables_by_file(connection):
                connection.execute(f'DELETE FROM "{table}" WHERE blake2b IN (SELECT blake2b FROM blocked)')
            connection.execute("COMMIT")
        if store.stat(WAREHOUSE_KEY) == published:
            publish_warehouse(store, path)
            return True
    return False


def _make_views(
    connection: duckdb.DuckDBPyConnection, store: Store, mirror_folder: Path, blocked: Collection[bytes]
) -> None:
    """Make the views of every table, without the files that are blocked, and the table `blocked` of those."""
    folders = {table: store.mirror(table, ".parquet", mirror_folder) for table in ARCHIVE_TABLES}
    dataset = store.mirror("dataset", ".parquet", mirror_folder)
    views = {
        **{table: archive_table(table, folder) for table, folder in folders.items()},
        **{table: dataset_table(table, dataset) for table in DATASET_TABLES},
    }
    for name in [*views, "blocked"]:
        _drop(connection, name)
    connection.register("log", pa.table({"blake2b": pa.array(sorted(blocked), DIGEST)}))
    connection.execute("CREATE TABLE blocked AS SELECT blake2b FROM log")
    connection.unregister("log")
    schemas = {**ARCHIVE_TABLES, **DATASET_TABLES}
    for name, select in views.items():
        # Without the join where there is nothing to hide: it would cost every query of a large dataset.
        shown = listed(select, schemas[name].names) if blocked else select
        connection.execute(f"CREATE VIEW {name} AS {shown}")


def _tables_by_file(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the tables, views left out, that have a row for a file."""
    found = connection.execute(
        "SELECT table_name FROM duckdb_columns() JOIN duckdb_tables() USING (schema_name, table_name) "
        "WHERE column_name = 'blake2b' AND table_name <> 'blocked' AND schema_name = 'main'"
    ).fetchall()
    return [name for (name,) in found]


def publish_warehouse(store: Store, path: Path) -> None:
    """Publish a warehouse that no process has open any more; who reads the former one goes on reading it."""
    # Whatever is still in a write-ahead log beside the file goes into it: one file is published.
    with connect(path) as connection:
        connection.execute("CHECKPOINT")
    store.put_file(WAREHOUSE_KEY, path)


def open_warehouse(store: Store, scratch: Path) -> duckdb.DuckDBPyConnection:
    """Open the published warehouse, read-only. Raises `NotInStore` where there is none yet.

    What is opened is a private copy, gone from `scratch` at once: whoever has the published file open elsewhere, be it
    for writing, does not hold this up, and a warehouse that is published later does not change what is read here.
    """
    published = store.local_copy(WAREHOUSE_KEY, scratch / "published")
    scratch.mkdir(parents=True, exist_ok=True)
    private = scratch / f"warehouse-{os.getpid()}-{uuid.uuid4().hex}.duckdb"
    try:
        shutil.copyfile(published, private)
        return connect(private, read_only=True)
    finally:
        private.unlink(missing_ok=True)


def _drop(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Drop the view or the table of this name: what was a table in an earlier version may be a view in this one."""
    kinds = connection.execute(
        "SELECT table_type FROM information_schema.tables WHERE table_schema = 'main' AND table_name = ?", [name]
    ).fetchall()
    for (kind,) in kinds:
        connection.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {name}")
