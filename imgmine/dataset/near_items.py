"""All images over all archives in the order in which they are preferred, on disk, by their sketches.

The largest comes first, then that of the earliest archive, then the least BLAKE2b: the place in this order is an
image's rank. Which of them are alike is not known here.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imgmine.dataset.near_pairs import CODE
from imgmine.dataset.relations import connect, parquet_source
from imgmine.images.hashes import mirrored_pdq, pdq_distance

_ITEM = np.dtype(
    [
        ("blake2b", "u1", (32,)),
        ("pdq", "u1", (32,)),
        ("vector", "u1", (32,)),
        ("has_pdq", "?"),
        ("has_vector", "?"),
        ("shard", "<u4"),
        ("offset", "<u8"),
        ("size", "<u4"),
    ]
)
_BATCH = 1 << 16

_ALL = """
SELECT blake2b, precedence, pixels, pdq, vector_code, preview_shard, preview_offset, preview_size
FROM {source} JOIN holdings ON parse_filename(filename) = file
ANTI JOIN blocked USING (blake2b)
"""
# The archive that has a file first speaks for it: the row is the same in all of them.
_FIRSTS = "CREATE TABLE firsts AS SELECT blake2b, min(precedence) AS precedence FROM ({all}) GROUP BY blake2b"
_CHOSEN = "CREATE TABLE chosen AS SELECT * FROM ({all}) JOIN firsts USING (blake2b, precedence)"
_ORDERED = "SELECT * FROM chosen ORDER BY pixels DESC, precedence, blake2b"


class Place(NamedTuple):
    """Where a preview lies: its shard's key, offset and size."""

    shard: str
    offset: int
    size: int


class Items:
    """The images by rank, on disk; `pdq_codes` and `vector_codes` are files of `CODE`s of those that have such."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "items"
        self.pdq_codes = folder / "pdq.codes"
        self.vector_codes = folder / "vector.codes"
        self._shards: dict[str, int] = {}
        self._names: list[str] = []
        self._rows: npt.NDArray[np.void] = np.empty(0, _ITEM)

    def __len__(self) -> int:
        return len(self._rows)

    def digest(self, rank: int) -> bytes:
        """Return the BLAKE2b of an image."""
        return bytes(self._rows["blake2b"][rank])

    def digests(self, ranks: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
        """Return the BLAKE2b of images, (n, 32) bytes."""
        return np.asarray(self._rows["blake2b"][ranks])

    def place(self, rank: int) -> Place:
        """Return where an image's preview lies."""
        row = self._rows[rank]
        return Place(self._names[int(row["shard"])], int(row["offset"]), int(row["size"]))

    def pdq_distance(self, one: int, other: int, *, mirrored: bool = False) -> int | None:
        """Return how many bits of two PDQ hashes differ, the other one of the mirrored picture, or None."""
        first, second = self._rows[one], self._rows[other]
        if not (first["has_pdq"] and second["has_pdq"]):
            return None
        hashed = bytes(second["pdq"])
        return pdq_distance(bytes(first["pdq"]), mirrored_pdq(hashed) if mirrored else hashed)

    def vector_distance(self, one: int, other: int) -> int | None:
        """Return how many bits of two vectors' codes differ, or None."""
        first, second = self._rows[one], self._rows[other]
        if not (first["has_vector"] and second["has_vector"]):
            return None
        return int(np.bitwise_count(first["vector"] ^ second["vector"]).sum())

    def _append(self, batch: pa.RecordBatch) -> npt.NDArray[np.void]:
        rows = np.zeros(len(batch), _ITEM)
        rows["blake2b"] = _bytes(batch["blake2b"])
        for name, column in (("pdq", batch["pdq"]), ("vector", batch["vector_code"])):
            rows[name] = _bytes(column)
            rows[f"has_{name}"] = column.is_valid().to_numpy(zero_copy_only=False)
        shards = batch["preview_shard"].dictionary_encode()
        numbers = np.array([self._shard(key) for key in shards.dictionary.to_pylist()], np.uint32)
        rows["shard"] = numbers[shards.indices.to_numpy()]
        rows["offset"] = batch["preview_offset"].to_numpy()
        rows["size"] = batch["preview_size"].to_numpy()
        return rows

    def _shard(self, key: str) -> int:
        if key not in self._shards:
            self._shards[key] = len(self._names)
            self._names.append(key)
        return self._shards[key]

    def fill(self, batches: pa.RecordBatchReader) -> None:
        """Write the images, which come in order, and their codes."""
        count = 0
        with (
            self._path.open("wb") as items,
            self.pdq_codes.open("wb") as pdq_codes,
            self.vector_codes.open("wb") as vector_codes,
        ):
            for batch in batches:
                rows = self._append(batch)
                items.write(rows.data)
                ranks = np.arange(count, count + len(rows), dtype=np.uint32)
                pdq_codes.write(_codes(ranks[rows["has_pdq"]], _halves(rows["pdq"][rows["has_pdq"]])).data)
                vector_codes.write(_codes(ranks[rows["has_vector"]], rows["vector"][rows["has_vector"]]).data)
                count += len(rows)
        if count:
            self._rows = np.memmap(self._path, _ITEM, "r")


def gather(sketches: Path, precedence: Mapping[str, int], blocked: Collection[bytes], scratch: Path) -> Items:
    """Return the images of these archives, each once, without those that are blocked.

    `sketches` is the folder of the archives' sketches, `precedence` the place of each archive in the order of
    archives. DuckDB sorts in `scratch`, in a GB of memory.
    """
    items = Items(scratch)
    if not precedence:
        return items
    database = scratch / "gather.duckdb"
    with connect(database) as connection:
        holdings = pa.table({"file": [f"{name}.parquet" for name in precedence], "precedence": [*precedence.values()]})
        taken = pa.table({"blake2b": pa.array(sorted(blocked), pa.binary())})
        connection.register("holdings", holdings)
        connection.register("blocked", taken)
        # Read by name, so that what is not among the holdings is not even opened for the whole of its rows.
        paths = [sketches / file for file in holdings["file"].to_pylist()]
        rows = _ALL.format(source=parquet_source(*paths, named=True))
        connection.execute("SET preserve_insertion_order = false")
        # One step after the other: each may spill, and two at once need twice the memory.
        connection.execute(_FIRSTS.format(all=rows))
        connection.execute(_CHOSEN.format(all=rows))
        connection.execute("DROP TABLE firsts")
        items.fill(connection.execute(_ORDERED).to_arrow_reader(_BATCH))
    database.unlink()
    return items


def _bytes(column: pa.Array) -> npt.NDArray[np.uint8]:
    """Return a column of 32 bytes each as (n, 32); a null is all zeros."""
    whole = pc.fill_null(column, bytes(32)).cast(pa.binary(32))
    return np.frombuffer(whole.buffers()[1], np.uint8, len(whole) * 32, whole.offset * 32).reshape(-1, 32)


def _halves(hashes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return PDQ hashes, (n, 32) bytes, with the bits that a mirror changes in the second half: 1, 3, …"""
    bits = np.unpackbits(hashes, axis=1)
    return np.concatenate([np.packbits(bits[:, first::2], axis=1) for first in (0, 1)], axis=1)


def _codes(ranks: npt.NDArray[np.uint32], codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.void]:
    rows = np.empty(len(ranks), CODE)
    rows["rank"] = ranks
    rows["words"] = np.ascontiguousarray(codes).view("<u8").reshape(-1, 4)
    return rows
