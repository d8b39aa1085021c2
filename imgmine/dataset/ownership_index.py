"""An index of a whole ownership table: which row a digest has, without reading the table.

It lies in a cache, is named for its table, and can be made again from it at any time. Keys are the first 128 bits of
the digests, which nobody can make equal for two files; the tables have all 256.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from imgmine.dataset.ownership import Owned, read_owned
from imgmine.dataset.ownership_spool import Digests

_COLUMNS: Mapping[str, np.dtype[Any]] = {
    "high": np.dtype("<u8"),
    "low": np.dtype("<u8"),
    "owner": np.dtype("<u4"),
    "copies": np.dtype("<i4"),
}
_ARCHIVES = "archives.json"


class Found(NamedTuple):
    """For each digest that was asked for: whether it is there, its owner (a place in `archives`), its copies."""

    there: npt.NDArray[np.bool_]
    owners: npt.NDArray[np.uint32]
    copies: npt.NDArray[np.int32]


class OwnershipIndex:
    """A published index, memory-mapped: a lookup touches the pages that it needs."""

    def __init__(self, folder: Path) -> None:
        self.archives: list[str] = json.loads((folder / _ARCHIVES).read_bytes())
        # An empty file cannot be mapped.
        self._high, self._low, self._owner, self._copies = (
            np.memmap(path, kind, "r") if (path := folder / name).stat().st_size else np.empty(0, kind)
            for name, kind in _COLUMNS.items()
        )

    def __len__(self) -> int:
        return len(self._high)

    def find(self, digests: Digests) -> Found:
        """Look digests up, in any order."""
        places = find_rows(self._high, self._low, digests)
        there = places >= 0
        owners, copies = np.zeros(len(digests), np.uint32), np.zeros(len(digests), np.int32)
        owners[there], copies[there] = self._owner[places[there]], self._copies[places[there]]
        return Found(there, owners, copies)


def find_rows(high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64], digests: Digests) -> npt.NDArray[np.intp]:
    """Return the row of each digest in a sorted table by its first two words, or -1."""
    wanted_high, wanted_low = digests[:, 0].astype(np.uint64), digests[:, 1].astype(np.uint64)
    at = np.searchsorted(high, wanted_high)
    found = np.full(len(digests), -1, np.intp)
    looking = np.arange(len(digests))
    while True:
        looking = looking[at[looking] < len(high)]
        looking = looking[high[at[looking]] == wanted_high[looking]]
        hit = low[at[looking]] == wanted_low[looking]
        found[looking[hit]] = at[looking[hit]]
        looking = looking[~hit]
        if not len(looking):
            return found
        at[looking] += 1


class IndexWriter:
    """Writes an index in a folder that is not seen by its name before all is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._draft = folder.with_name(f".pending-{folder.name}")
        shutil.rmtree(self._draft, ignore_errors=True)
        self._draft.mkdir(parents=True)
        self._streams = [(self._draft / name).open("wb") for name in _COLUMNS]

    def add(self, owned: Owned) -> None:
        """Add rows; those of all calls are in order of digest."""
        values: tuple[npt.NDArray[Any], ...] = (owned.digests[:, 0], owned.digests[:, 1], owned.owners, owned.copies)
        for stream, kind, value in zip(self._streams, _COLUMNS.values(), values, strict=True):
            stream.write(value.astype(kind).tobytes())

    def name_archives(self, archives: Sequence[str]) -> None:
        """Say which archives the owners' numbers stand for."""
        (self._draft / _ARCHIVES).write_text(json.dumps(list(archives)))

    def __enter__(self) -> "IndexWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:
            stream.close()
        if kind is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._draft.rename(self._folder)
        else:
            shutil.rmtree(self._draft, ignore_errors=True)


def index_of(table: Callable[[], Path], folder: Path) -> OwnershipIndex:
    """Return the index in `folder`, made first where there is none from its table, which is then fetched."""
    if not folder.is_dir():
        with pq.ParquetFile(table()) as parquet:
            numbers: dict[str, int] = {}
            with IndexWriter(folder) as writer:
                for owned in read_owned(parquet, numbers):
                    writer.add(owned)
                writer.name_archives(list(numbers))
    return OwnershipIndex(folder)
