"""What lists of hashes say of archives that are mined: from their tables alone, no shard is read.

What is then done with a file is the take-down's business.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imgmine.archives.blocked import Blocklist, Digests, HashKind, named
from imgmine.dataset.relations import archives_in
from imgmine.decisions import ImageDecision
from imgmine.images.pdq_index import PdqIndex
from imgmine.store.base import Store


def is_as_listed(blocklist: Blocklist, records: pa.Table, files: pa.Table) -> bool:
    """Tell whether an archive was mined as it would be with this list: all that it blocks, and nothing else.

    So a list that grows by what an archive does not have leaves the archive as it is.
    """
    if not all(map(blocklist.still_blocks, _blocked_by(records))):
        return False
    return not listed(blocklist, files).any()


class Listed(NamedTuple):
    """A file that is published and that a list names: its BLAKE2b, and the hash on the list, as `sha1:…`."""

    archive: str
    blake2b: bytes
    name: str


def listed_files(store: Store, mirror_folder: Path, blocklist: Blocklist) -> Iterator[Listed]:
    """Yield what of the archives that are mined a list names, by its bytes or by its picture; one archive at a time.

    Only the tables `files` and `images` are read, of each the columns of hashes. `mirror_folder` keeps copies of those
    of a remote store. A file that is named by several hashes comes several times.
    """
    index = PdqIndex(blocklist.pdq)
    if blocklist.byte_kinds:
        folder = store.mirror("files", ".parquet", mirror_folder)
        for archive in archives_in(folder):
            files = _columns(folder, archive, ("blake2b", *blocklist.byte_kinds))
            for kind in blocklist.byte_kinds:
                if kind in files.schema.names:
                    found = files.filter(pa.array(blocklist.mask(kind, digests_of(files[kind], kind))))
                    for row in found.to_pylist():
                        yield Listed(archive, row["blake2b"], named(kind, row[kind]))
    if len(index):
        folder = store.mirror("images", ".parquet", mirror_folder)
        for archive in archives_in(folder):
            images = _columns(folder, archive, ("blake2b", "pdq", "pdq_quality"))
            if "pdq" in images.schema.names:
                near, _ = _near_pictures(index, images)
                for row in np.flatnonzero(near >= 0):
                    hashed = blocklist.pdq[near[row]].tobytes()
                    yield Listed(archive, images["blake2b"][int(row)].as_py(), named(HashKind.PDQ, hashed))


def _columns(folder: Path, archive: str, names: Iterable[str]) -> pa.Table:
    """Return those columns of an archive's part of a table that it has; an earlier version's may lack some."""
    with pq.ParquetFile(folder / f"{archive}.parquet") as table:
        return table.read([name for name in dict.fromkeys(names) if name in table.schema_arrow.names])


def listed(blocklist: Blocklist, files: pa.Table) -> npt.NDArray[np.bool_]:
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
    near, _ = _near_pictures(blocked, images)
    was_blocked = pc.equal(images["decision"], ImageDecision.BLOCKED.value).to_numpy()
    return bool(np.array_equal(near >= 0, was_blocked))


def _near_pictures(blocked: PdqIndex, images: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return of each row the row of the index that it is near to, or -1, and in how many bits they differ."""
    missing = pa.scalar(bytes(HashKind.PDQ.size), pa.binary(HashKind.PDQ.size))
    hashes = digests_of(images["pdq"].fill_null(missing), HashKind.PDQ).view(np.uint8).reshape(-1, HashKind.PDQ.size)
    return blocked.nearest_of(hashes, images["pdq_quality"].fill_null(0).to_numpy())


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
