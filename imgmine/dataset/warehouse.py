"""The warehouse: one DuckDB file over the published tables, `<store>/warehouse.duckdb`.

It is made in scratch and published whole, so nobody ever waits for a lock on it. What the reports count is dbt's
business (`dbt_reports/`); they live in the same file.

    records, files, images, embeddings, anomaly_scores   views over every archive, `archive` is their first column
    watermark_scores and whatever is beside the funnel   likewise
    ownership(blake2b, archive, copies), archives        views of the dataset's tables
    blocked(blake2b)                                     a table: what was taken down, and is in no view
    funnel(archive, stage, decision, n)                  a table, counted when the warehouse was built
    population, accumulation                             tables: how many distinct files there are (`population_tables`)
    models(of_table, model, embedder, archives)          a table: which models the judgements are of (`models_used`)
    digest(blake2b)                                      a macro: the digest as 64 hexadecimal digits

The views name the Parquet files by absolute paths: the store's own where it is a local folder, else the mirror folder
that was given. So `duckdb -readonly <store>/warehouse.duckdb` works for a person on a machine that has them, without
any extension. Where the store or the mirror was moved or copied since, whoever opens the warehouse by this module has
the views made anew in the private copy: they would show what lies, or lay, at the former place.
"""

import logging
import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from imgmine.dataset.funnel import FUNNEL_SQL
from imgmine.dataset.models_used import write_models
from imgmine.dataset.population_tables import write_population
from imgmine.dataset.relations import (
    ARCHIVE_TABLES,
    DATASET_TABLES,
    DamagedTable,
    archive_table,
    connect,
    dataset_table,
    empty_dataset_table,
    listed,
    quoted,
)
from imgmine.dataset.takedown_log import read_log
from imgmine.errors import PersonNeeded
from imgmine.store.base import NotInStore, Store
from imgmine.store.tables import DIGEST

WAREHOUSE_KEY = "warehouse.duckdb"

_log = logging.getLogger(__name__)
# The view whose comment says over which folder the views were made.
_PLACED = "records"


class DamagedWarehouse(PersonNeeded):
    """The published warehouse cannot be opened."""


def checkout_warehouse(store: Store, scratch: Path) -> Path:
    """Return a private, writable copy of the published warehouse, or of an empty one; it lies in `scratch`.

    A published file that this version of DuckDB cannot open counts as none: all of it can be made again.
    """
    path = scratch / WAREHOUSE_KEY
    try:
        _copy_published(store, path)
    except NotInStore:
        connect(path).close()
    except DamagedWarehouse as error:
        _log.warning("%s All of it is begun anew; that job counts again what was in it.", error)
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
        write_models(connection, {table: store.mirror_path(table, mirror_folder) for table in ARCHIVE_TABLES})
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")
    return path


def hide_blocked(store: Store, mirror_folder: Path, scratch: Path) -> bool:
    """Publish the warehouse again with what the log of take-downs blocks now in no view, and in no table of rows.

    The views are made anew, of the tables that are there now; what was counted is counted anew with the next
    statistics. Where another warehouse is published meanwhile, it is done with that one. Returns False where there is
    none yet. A damaged table over all archives does not keep anything from being hidden: its view is empty.
    """
    while (published := store.stat(WAREHOUSE_KEY)) is not None:
        path = checkout_warehouse(store, scratch)
        blocked = read_log(store).blocked
        with connect(path) as connection:
            connection.execute("BEGIN")
            _make_views(connection, store, mirror_folder, blocked, with_damaged=True)
            for table in _tables_by_file(connection):
                connection.execute(f'DELETE FROM "{table}" WHERE blake2b IN (SELECT blake2b FROM blocked)')
            connection.execute("COMMIT")
        if store.stat(WAREHOUSE_KEY) == published:
            publish_warehouse(store, path)
            return True
    return False


def place_views(store: Store, mirror_folder: Path, path: Path) -> None:
    """Make the views of a local warehouse anew where they are of another place than the store, or its mirror, is now.

    What the log blocks now is in none of them. Raises `DamagedTable`.
    """
    with connect(path, read_only=True) as connection:
        if _are_placed(connection, store, mirror_folder):
            return
    with connect(path) as connection:
        connection.execute("BEGIN")
        _make_views(connection, store, mirror_folder, read_log(store).blocked)
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")


def _are_placed(connection: duckdb.DuckDBPyConnection, store: Store, mirror_folder: Path) -> bool:
    select = "SELECT comment FROM duckdb_views() WHERE schema_name = 'main' AND view_name = ?"
    return connection.execute(select, [_PLACED]).fetchall() == [(_place(store, mirror_folder),)]


def _place(store: Store, mirror_folder: Path) -> str:
    return str(store.mirror_path(_PLACED, mirror_folder).resolve())


def _make_views(
    connection: duckdb.DuckDBPyConnection,
    store: Store,
    mirror_folder: Path,
    blocked: Collection[bytes],
    *,
    with_damaged: bool = False,
) -> None:
    """Make the views of every table, without the files that are blocked, and the table `blocked` of those.

    Raises `DamagedTable` where one over all archives cannot be read; `with_damaged`, its view is empty.
    """
    folders = {table: store.mirror(table, ".parquet", mirror_folder) for table in ARCHIVE_TABLES}
    dataset = store.mirror("dataset", ".parquet", mirror_folder)
    views = {table: archive_table(table, folder) for table, folder in folders.items()}
    for table in DATASET_TABLES:
        try:
            views[table] = dataset_table(table, dataset)
        except DamagedTable as error:
            if not with_damaged:
                raise
            # An empty view shows nothing that is blocked, and the table is made of others: nothing is lost by it.
            _log.warning("%s After that, launch the job statistics. Until then the view %s is empty.", error, table)
            views[table] = empty_dataset_table(table)
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
    connection.execute(f"COMMENT ON VIEW {_PLACED} IS {quoted(_place(store, mirror_folder))}")


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


def open_warehouse(store: Store, mirror_folder: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    """Open the published warehouse, read-only, with views over the store, or its mirror, where that is now.

    What is opened is a private copy, gone from `scratch` at once: whoever has the published file open elsewhere, be it
    for writing, does not hold this up, and a warehouse that is published later does not change what is read here.
    Raises `NotInStore` where there is none yet, `DamagedWarehouse`, and `DamagedTable` where views are made anew.
    """
    with _private_copy(store, scratch) as path:
        place_views(store, mirror_folder, path)
        return connect(path, read_only=True)


def check_warehouse(store: Store, scratch: Path, *, whole: bool) -> None:
    """Raise `DamagedWarehouse` where the published warehouse cannot be opened, or, if `whole`, a table not be read.

    Raises `NotInStore` where there is none yet.
    """
    with _private_copy(store, scratch) as path, connect(path, read_only=True) as connection:
        tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main'").fetchall()
        try:
            for (name,) in tables if whole else ():
                connection.execute(f'SELECT bit_xor(hash(row)) FROM "{name}" AS row').fetchall()
        except duckdb.Error as error:
            raise _damaged(store, error) from error


@contextmanager
def _private_copy(store: Store, scratch: Path) -> Iterator[Path]:
    """Give a copy of the published warehouse that can be opened; its name is gone at the end."""
    private = scratch / f"warehouse-{os.getpid()}-{uuid.uuid4().hex}.duckdb"
    try:
        _copy_published(store, private)
        yield private
    finally:
        private.unlink(missing_ok=True)


def _copy_published(store: Store, path: Path) -> None:
    """Copy the published warehouse. Raises `NotInStore`, and `DamagedWarehouse` where the copy cannot be opened."""
    published = store.local_copy(WAREHOUSE_KEY, path.parent / "published")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(published, path)
    try:
        connect(path, read_only=True).close()
    except duckdb.Error as error:
        raise _damaged(store, error) from error


def _damaged(store: Store, error: duckdb.Error) -> DamagedWarehouse:
    uri = store.uri(WAREHOUSE_KEY)
    return DamagedWarehouse(f"{uri} cannot be read ({type(error).__name__}). Launch the job statistics.")


def _drop(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Drop the view or the table of this name: what was a table in an earlier version may be a view in this one."""
    kinds = connection.execute(
        "SELECT table_type FROM information_schema.tables WHERE table_schema = 'main' AND table_name = ?", [name]
    ).fetchall()
    for (kind,) in kinds:
        connection.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {name}")
