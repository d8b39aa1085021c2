"""Digests on disk, gathered by their first bits, with the archive that each is of: what `ownership` works through.

Only arrays and a file are known here; who owns what is not decided.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

# A digest is four big-endian words, which sort as the digest does.
WORDS = np.dtype(">u8")
_COUNT = np.dtype("<u4")
_DIGEST_BYTES = 32

Digests = npt.NDArray[np.uint64]
Ranks = npt.NDArray[np.uint32]


class Rows(NamedTuple):
    """Digests, (n, 4) words, and for each the place of its archive in the order."""

    digests: Digests
    ranks: Ranks


class _Batch(NamedTuple):
    """What was written at once: archives from `first` on; where each bucket begins in the file, and the end."""

    first: int
    archives: int
    offsets: npt.NDArray[np.int64]


def empty_digests() -> Digests:
    """Return no digests."""
    return np.empty((0, 4), WORDS)


class Spool:
    """The digests of archives, added in order of precedence; `1 << bits` buckets are read from it in any order.

    Of each batch of archives the file has, bucket by bucket, how many digests each archive has there, and the digests.
    """

    def __init__(self, path: Path, bits: int, batch_rows: int) -> None:
        self._path = path
        self._bits = bits
        self._batch_rows = batch_rows
        self._waiting: list[Digests] = []
        self._waiting_rows = 0
        self._archives = 0
        self._batches: list[_Batch] = []
        self._stream: BinaryIO | None = None

    def __enter__(self) -> "Spool":
        self._stream = self._path.open("wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._stream is not None
        if kind is None:
            self._flush()
        self._stream.close()

    def add(self, digests: Digests) -> None:
        """Add all digests of the next archive, in order."""
        self._waiting.append(digests)
        self._waiting_rows += len(digests)
        if self._waiting_rows >= self._batch_rows:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        assert self._stream is not None
        edges = np.stack([self._edges(digests) for digests in self._waiting])
        counts = np.diff(edges, axis=1).T.astype(_COUNT)
        sizes = counts.sum(axis=1, dtype=np.int64) * _DIGEST_BYTES + counts.shape[1] * _COUNT.itemsize
        start = self._stream.tell()
        for bucket, count in enumerate(counts):
            self._stream.write(count.tobytes())
            for digests, edge in zip(self._waiting, edges, strict=True):
                self._stream.write(_bytes_of(digests[edge[bucket] : edge[bucket + 1]]))
        offsets = start + np.concatenate([[0], np.cumsum(sizes)])
        self._batches.append(_Batch(self._archives, len(self._waiting), offsets))
        self._archives += len(self._waiting)
        self._waiting, self._waiting_rows = [], 0

    def _edges(self, digests: Digests) -> npt.NDArray[np.intp]:
        """Return where each bucket begins among digests that are in order, and their number."""
        firsts = np.arange(1 << self._bits, dtype=np.uint64) << np.uint64(64 - self._bits if self._bits else 0)
        return np.append(np.searchsorted(digests[:, 0].astype(np.uint64), firsts), len(digests))

    def bucket(self, number: int) -> Rows:
        """Return a bucket's rows. May be called from several threads at once."""
        sizes = [batch.offsets[number + 1] - batch.offsets[number] for batch in self._batches]
        heads = [batch.archives * _COUNT.itemsize for batch in self._batches]
        digests = np.empty((int(sum(sizes) - sum(heads)) // _DIGEST_BYTES, 4), WORDS)
        ranks = []
        filled = 0
        with self._path.open("rb", buffering=0) as stream:
            for batch, size, head in zip(self._batches, sizes, heads, strict=True):
                counts = np.empty(batch.archives, _COUNT)
                part = digests[filled : filled + (int(size) - head) // _DIGEST_BYTES]
                self._read(stream, int(batch.offsets[number]), [_bytes_of(counts), _bytes_of(part)])
                ranks.append(np.repeat(np.arange(batch.first, batch.first + batch.archives, dtype=np.uint32), counts))
                filled += len(part)
        return Rows(digests, np.concatenate([np.empty(0, np.uint32), *ranks]))

    def _read(self, stream: BinaryIO, offset: int, into: Sequence[memoryview]) -> None:
        wanted = [view for view in into if view.nbytes]
        if wanted and os.preadv(stream.fileno(), wanted, offset) != sum(view.nbytes for view in wanted):
            raise OSError(f"{self._path} ended early: another process has changed the scratch folder.")

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


def _bytes_of(array: npt.NDArray[np.generic]) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8))
