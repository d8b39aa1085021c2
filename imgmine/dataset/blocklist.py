"""What lists of hashes say of archives that are mined: from their tables alone, no shard is read.

What is then done with a file is the take-down's business.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgmine.archives.blocked import Blocklist, Digests, HashKind
from imgmine.decisions import ImageDecision
from imgmine.images.hashes import Pdq
from imgmine.images.pdq_index import PdqIndex


def is_as_listed(blocklist: Blocklist, records: pa.Table, files: pa.Table) -> bool:
    """Tell whether an archive was mined as it would be with this list: all that it blocks, and nothing else.

    So a list that grows by what an archive does not have leaves the archive as it is.
    """
    if not all(map(blocklist.still_blocks, _blocked_by(records))):
        return False
    return not listed(blocklist, files).any()


def listed(blocklist: Blocklist, files: pa.Table) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Tell of each row of `files` whether its bytes are on the list."""
    found = np.zeros(files.num_rows, np.bool_)
    for kind in blocklist.byte_kinds:
        if kind in files.schema.names:
            found |= blocklist.mask(kind, digests_of(files[kind], kind))
    return found


def are_pictures_as_listed(blocked: PdqIndex, images: pa.Table) -> bool:
    """Tell whether the gate blocked all that is near to a hash of the index, and nothing else."""
    if "pdq" not in images.schema.names:  # an earlier version's
        return False
    return all(
        (row["decision"] == ImageDecision.BLOCKED) == (blocked.nearest(Pdq(row["pdq"], row["pdq_quality"])) is not None)
        for row in images.filter(pc.is_valid(images["pdq"])).select(["decision", "pdq", "pdq_quality"]).to_pylist()
    )


def digests_of(column: pa.ChunkedArray, kind: HashKind) -> Digests:
    """Return a column of digests without nulls, as a `Blocklist` takes them."""
    parts = [
        np.frombuffer(chunk.buffers()[1], f"S{kind.size}", count=len(chunk), offset=kind.size * chunk.offset)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(parts) if parts else np.empty(0, f"S{kind.size}")


def _blocked_by(records: pa.Table) -> list[str]:
    if "blocked_by" not in records.schema.names:  # an earlier version's
        return []
    names: list[str] = records["blocked_by"].drop_null().unique().to_pylist()
    return names
