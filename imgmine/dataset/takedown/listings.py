"""What of a table may be listed: all but what the log of take-downs blocks, from the moment it does."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from imgmine.dataset.relations import connect
from imgmine.dataset.takedown_log import read_log
from imgmine.dataset.warehouse import checkout_warehouse, hide_blocked
from imgmine.store.base import Store
from imgmine.store.tables import DIGEST


def hidden_in(warehouse: Path) -> frozenset[bytes]:
    """Return what a local warehouse leaves out of its views."""
    with connect(warehouse, read_only=True) as connection:
        try:
            return frozenset(digest for (digest,) in connection.execute("SELECT blake2b FROM blocked").fetchall())
        except duckdb.CatalogException:  # an earlier version's
            return frozenset()


def make_listings_true(store: Store, mirror_folder: Path, scratch: Path) -> bool:
    """Publish the warehouse again where it does not hide just what the log blocks, as after a kill; tell whether."""
    if hidden_in(checkout_warehouse(store, scratch)) == read_log(store).blocked:
        return False
    return hide_blocked(store, mirror_folder, scratch)


def listed(store: Store, table: pa.Table) -> pa.Table:
    """Return the rows of a table by `blake2b` whose files are not taken down."""
    blocked = read_log(store).blocked
    return table.filter(pc.invert(pc.is_in(table["blake2b"], pa.array(sorted(blocked), DIGEST)))) if blocked else table
