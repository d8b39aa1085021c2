"""What was found of pairs of previews, kept in the store: a pair is looked at once, whatever run asks.

A verdict follows from the two files, their previews and the code alone, so to remember it changes nothing but the time.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imgmine.store.base import Store
from imgmine.store.tables import Provenance, from_parquet, to_parquet

VERDICTS = "verdicts"
_PAIR_BYTES = 16
_TABLE = pa.schema(
    [
        pa.field("pair", pa.binary(_PAIR_BYTES), nullable=False),
        pa.field("agreement", pa.float32(), nullable=False),
        pa.field("mirrored", pa.bool_(), nullable=False),
    ]
)
_ROW = np.dtype([("pair", "<u8", (2,)), ("agreement", "<f4"), ("mirrored", "?")])
_KEEP_EVERY = 20_000  # pairs: what a killed run has to look at again at most

Rows = npt.NDArray[np.void]


class Verdict(NamedTuple):
    """What was found of a pair: how many of its blocks agree, 0 where it is no pair, and whether one is mirrored."""

    agreement: float
    mirrored: bool

    @property
    def same(self) -> bool:
        return self.agreement > 0


class Verdicts:
    """The verdicts in the store, and those that are found now. Not for several threads at once."""

    def __init__(self, store: Store, code_version: str, part_pairs: int = 1 << 20) -> None:
        """`code_version` is of the code that judges: verdicts of another one count for nothing.

        `part_pairs` is how many there are in a file of the store, about, and are sorted at once.
        """
        self._store = store
        self._version = code_version
        self._part_pairs = part_pairs
        self._former = [stored.key for stored in store.list(f"{VERDICTS}/")]
        self._known = _joined([self._read(key) for key in self._former])
        self._firsts = np.ascontiguousarray(self._known["pair"][:, 0], np.uint64)
        self._asked = np.zeros(len(self._known), bool)
        self._judged: list[Rows] = []
        self._new: list[tuple[bytes, Verdict]] = []
        self.reused = 0
        self.found = 0

    def pair(self, one: tuple[bytes, int], other: tuple[bytes, int]) -> bytes:
        """Return the name of a pair of images, each by its BLAKE2b and its preview's size in bytes."""
        named = b"".join(blake2b + size.to_bytes(8, "little") for blake2b, size in (one, other))
        return hashlib.blake2b(named, digest_size=_PAIR_BYTES, key=self._version.encode()).digest()

    def get(self, pair: bytes) -> Verdict | None:
        """Return what an earlier run found of a pair, or None."""
        first, second = (int.from_bytes(half, "little") for half in (pair[:8], pair[8:]))
        row = int(np.searchsorted(self._firsts, np.uint64(first)))
        while row < len(self._known) and self._known[row]["pair"][0] == first:
            if self._known[row]["pair"][1] == second:
                self._asked[row] = True
                self.reused += 1
                return Verdict(float(self._known[row]["agreement"]), bool(self._known[row]["mirrored"]))
            row += 1
        return None

    def put(self, pair: bytes, verdict: Verdict) -> None:
        """Remember a verdict; from time to time those that are new are put into the store."""
        self._new.append((pair, verdict))
        self.found += 1
        if len(self._new) >= _KEEP_EVERY:
            self._former.append(self._write(self._take_new()))

    def publish(self) -> None:
        """Leave in the store exactly what this run asked for."""
        self._take_new()
        current = {self._write(rows) for rows in self._parts()}
        for key in self._former:
            if key not in current:
                self._store.delete(key)

    def _parts(self) -> Iterator[Rows]:
        """Yield what this run asked for, in order of pair, some at a time: names are digests, so parts are even."""
        pairs = int(self._asked.sum()) + sum(map(len, self._judged))
        parts = max(1, -(-pairs // self._part_pairs))
        starts = np.array([(number << 64) // parts for number in range(parts)], np.uint64)
        bounds = [*np.searchsorted(self._firsts, starts), len(self._known)]
        for number, (start, end) in enumerate(pairwise(bounds), 1):
            known = self._known[start:end][self._asked[start:end]]
            new = [rows[np.searchsorted(starts, rows["pair"][:, 0], "right") == number] for rows in self._judged]
            yield _sorted(np.concatenate([known, *new]))

    def _take_new(self) -> Rows:
        rows = np.empty(len(self._new), _ROW)
        for row, (pair, verdict) in zip(rows, self._new, strict=True):
            row["pair"] = np.frombuffer(pair, "<u8")
            row["agreement"], row["mirrored"] = verdict
        self._new = []
        self._judged.append(rows)
        return rows

    def _write(self, rows: Rows) -> str:
        pairs = np.ascontiguousarray(rows["pair"]).view(np.uint8)
        named = pa.FixedSizeBinaryArray.from_buffers(pa.binary(_PAIR_BYTES), len(rows), [None, pa.py_buffer(pairs)])
        table = pa.table([named, rows["agreement"], rows["mirrored"]], schema=_TABLE)
        data = to_parquet(table, Provenance(VERDICTS, self._version, ""))
        key = f"{VERDICTS}/{hashlib.blake2b(data, digest_size=16).hexdigest()}.parquet"
        self._store.put_bytes(key, data)
        return key

    def _read(self, key: str) -> Rows:
        try:
            table = from_parquet(self._store.get_bytes(key))
        except (pa.ArrowException, OSError):  # damaged: its pairs are looked at again
            return np.empty(0, _ROW)
        rows = np.empty(len(table), _ROW)
        pairs = table["pair"].combine_chunks()
        rows["pair"] = np.frombuffer(pairs.buffers()[1], "<u8", 2 * len(pairs), 16 * pairs.offset).reshape(-1, 2)
        rows["agreement"] = table["agreement"].to_numpy()
        rows["mirrored"] = table["mirrored"].to_numpy()
        return rows


def _joined(parts: Iterable[Rows]) -> Rows:
    """Return the rows of all parts in order of pair, each pair once; those that follow each other are not sorted."""
    ordered = sorted((_sorted(part) for part in parts if len(part)), key=lambda part: tuple(part["pair"][0]))
    rows = np.concatenate([np.empty(0, _ROW), *ordered])
    follow = all(tuple(one["pair"][-1]) < tuple(other["pair"][0]) for one, other in pairwise(ordered))
    return rows if follow else _sorted(rows)


def _sorted(rows: Rows) -> Rows:
    """Return the rows in order of pair, each pair once."""
    first, second = (np.ascontiguousarray(rows["pair"][:, half]).astype(np.uint64) for half in (0, 1))
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    new = np.ones(len(rows), bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return rows[order[new]]
