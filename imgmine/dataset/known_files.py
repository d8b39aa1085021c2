"""What the archives before one have already: files found by their SHA-1, so that they need not be fetched again.

It is a hint for reading (`imgmine.archives.selection`), and decides nothing about who owns a file (`ownership`).
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.archives.item import Item
from imgmine.dataset.archives import described_by, read_archives
from imgmine.errors import ImgmineError
from imgmine.store.base import Store

_WORD = 8
# Digests are told apart by so many bits first: a table of them fits a core's cache.
_FILTER_BITS = 22


class KnownFiles:
    """The files of some archives, by their `files` tables. One table at a time is in memory, and one column of it."""

    def __init__(self, tables: Sequence[Path]) -> None:
        self._tables = tables

    def by_sha1(self, wanted: Collection[bytes]) -> dict[bytes, bytes]:
        """Return the BLAKE2b of the files that have these SHA-1s. One that several files have is told of none."""
        found: dict[bytes, bytes] = {}
        several: set[bytes] = set()
        for sha1, blake2b in self._rows("sha1", wanted):
            if found.setdefault(sha1, blake2b) != blake2b:
                several.add(sha1)
        return {sha1: blake2b for sha1, blake2b in found.items() if sha1 not in several}

    def has_all(self, wanted: Collection[bytes]) -> bool:
        """Tell whether there are files with all of these BLAKE2b."""
        return not wanted or {blake2b for _, blake2b in self._rows("blake2b", wanted)} >= set(wanted)

    def _rows(self, column: str, wanted: Collection[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Yield what the column has of the values wanted, each with its row's BLAKE2b."""
        if not wanted:
            return
        exactly = frozenset(wanted)
        among = _Among(np.frombuffer(b"".join(value[:_WORD] for value in exactly), ">u8"))
        for path in self._tables:
            try:
                with pq.ParquetFile(path) as table:
                    if column not in table.schema_arrow.names:  # an earlier version's
                        continue
                    values = table.read([column]).column(0)
                    rows = among.places_in(_first_words(values))
                    if len(rows):
                        places = pa.array(rows)
                        blake2b = table.read(["blake2b"]).column(0).take(places).to_pylist()
                        pairs = zip(values.take(places).to_pylist(), blake2b, strict=True)
                        yield from (pair for pair in pairs if pair[0] in exactly)
            except (OSError, pa.ArrowException) as error:
                raise ImgmineError(
                    f"{path}: cannot be read as the files of an archive ({error}). Materialize its unique_files again, "
                    "or go without IMGMINE_SELECT_KNOWN."
                ) from error


def known_before(store: Store, mirror_folder: Path, item: Item) -> KnownFiles:
    """Return the files of the published archives that come before this item, by publicdate, then identifier.

    Whatever they have is not this archive's to own. `mirror_folder` keeps copies of the tables of a remote store.
    """
    folder = store.mirror("files", ".parquet", mirror_folder)
    own = described_by(item).precedence
    tables = [
        folder / f"{archive.identifier}.parquet"
        for archive in read_archives(store, mirror_folder)
        if archive.precedence < own
    ]
    return KnownFiles([path for path in tables if path.is_file()])


def _first_words(values: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Return the first eight bytes of each digest, which nearly always tell it from others."""
    width = values.type.byte_width
    parts = [
        np.frombuffer(chunk.buffers()[1], np.uint8, count=width * len(chunk), offset=width * chunk.offset)
        for chunk in values.chunks
        if len(chunk)
    ]
    digests = np.concatenate(parts).reshape(-1, width) if parts else np.empty((0, width), np.uint8)
    return np.ascontiguousarray(digests[:, :_WORD]).view(">u8").reshape(-1).astype(np.uint64)


class _Among:
    """Finds words among others. It is asked for billions, so most are turned away before the search."""

    def __init__(self, wanted: npt.NDArray[np.void]) -> None:
        self._wanted = np.unique(wanted.astype(np.uint64))
        self._shift = np.uint64(64 - _FILTER_BITS)
        self._filter = np.zeros(1 << _FILTER_BITS, np.bool_)
        self._filter[self._wanted >> self._shift] = True

    def places_in(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
        """Return the places of those words that are among the wanted."""
        likely = np.flatnonzero(self._filter[words >> self._shift])
        places = np.minimum(np.searchsorted(self._wanted, words[likely]), len(self._wanted) - 1)
        found: npt.NDArray[np.intp] = likely[self._wanted[places] == words[likely]]
        return found
