"""The warehouse: one DuckDB file over the published tables, `<store>/warehouse.duckdb`.

It is made in scratch and published whole, so nobody ever waits for a lock on it. What the reports count is dbt's
business (`dbt_reports/`); they live in the same file.

    records, files, images, embeddings, anomaly_scores   views over every archive, `archive` is their first column
    watermark_scores and whatever is beside the funnel   likewise
    ownership(blake2b, archive, copies), archives        views of the dataset's tables
    funnel(archive, stage, decision, n)                  a table, counted when the warehouse was built
    digest(blake2b)                                      a macro: the digest as 64 hexadecimal digits

The views name the Parquet files by absolute paths: the store's own where it is a local folder, else the mirror folder
that was given. So `duckdb -readonly <store>/warehouse.duckdb` works for a person on a machine that has them, without
any extension.
"""

import os
import shutil
import uuid
from pathlib import Path

import duckdb

from imgmine.dataset.funnel import FUNNEL_SQL
from imgmine.dataset.relations import ARCHIVE_TABLES, DATASET_TABLES, archive_table, connect, dataset_table
from imgmine.store.base import NotInStore, Store

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
    folders = {table: store.mirror(table, ".parquet", mirror_folder) for table in ARCHIVE_TABLES}
    dataset = store.mirror("dataset", ".parquet", mirror_folder)
    views = {
        **{table: archive_table(table, folder) for table, folder in folders.items()},
        **{table: dataset_table(table, dataset) for table in DATASET_TABLES},
    }
    with connect(path) as connection:
        connection.execute("BEGIN")
        for name in [*views, "funnel"]:
            _drop(connection, name)
        for name, select in views.items():
            connection.execute(f"CREATE VIEW {name} AS {select}")
        connection.execute("CREATE OR REPLACE MACRO digest(blake2b) AS lower(hex(blake2b))")
        connection.execute(f"CREATE TABLE funnel AS SELECT * FROM ({FUNNEL_SQL}) ORDER BY archive, stage, decision")
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")
    return path


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
