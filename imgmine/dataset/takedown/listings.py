"""What of a table may be listed: all but what the log of take-downs blocks, from the moment it does."""

import pyarrow as pa
import pyarrow.compute as pc

from imgmine.dataset.takedown_log import read_log
from imgmine.store.base import Store
from imgmine.store.tables import DIGEST


def listed(store: Store, table: pa.Table) -> pa.Table:
    """Return the rows of a table by `blake2b` whose files are not taken down."""
    blocked = read_log(store).blocked
    return table.filter(pc.invert(pc.is_in(table["blake2b"], pa.array(sorted(blocked), DIGEST)))) if blocked else table
