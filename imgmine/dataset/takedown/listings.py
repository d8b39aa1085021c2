"""What of a table may be listed: all but what the log of take-downs blocks, from the moment it does."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from imgmine.dataset.relations import connect
from imgmine.dataset.takedown_log import read_log
from imgmine.store.base import Store
from imgmine.store.tables import DIGEST


def hidden_in(warehouse: Path) -> frozenset[bytes]:
    """Return what a local warehouse leaves out of its views."""
    with connect(warehouse, read_only=True) as connection:
        return frozenset(digest for (digest,) in connection.execute("SELECT blake2b FROM blocked").fetchall())


def listed(store: Store, table: pa.Table) -> pa.Table:
    """Return the rows of a table by `blake2b` whose files are not taken down."""
    blocked = read_log(store).blocked
    return table.filter(pc.invert(pc.is_in(table["blake2b"], pa.array(sorted(blocked), DIGEST)))) if blocked else table
