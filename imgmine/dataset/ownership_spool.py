"""Digests on disk, gathered by their first bits, with the archive that each is of: what `ownership` works through.

Only arrays and a file are known here; who owns what is not decided.
"""

import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

# A digest is four big-endian words, which sort as the digest does.
WORDS = np.dtype(">u8")
_COUNT = np.dtype("<u4")
_DIGEST_BYTES = 32
_AS_BYTES = np.dtype((np.void, _DIGEST_BYTES))  # gathered six times as fast as four words

Digests = npt.NDArray[np.uint64]
Ranks = npt.NDArray[np.uint32]


class Rows(NamedTuple):
    """Digests, (n, 4) words, and for each the place of its archive in the order."""

    digests: Digests
    ranks: Ranks


class _Batch(NamedTuple):
    """What was written at once: archives from `first` on; where each bucket's digests begin in the file, and where the
    counts do, a row of them for each bucket.
    """

    first: int
    archives: int
    digests: npt.NDArray[np.int64]
    counts: int


def empty_digests() -> Digests:
    """Return no digests."""
    return np.empty((0, 4), WORDS)


class Spool:
    """The digests of archives, added in order of precedence; `1 << bits` buckets are read from it in any order.

    All of them begin with `prefix`, hexadecimal digits; the bits that tell the bucket come after it.
    Of each batch of archives the file has the digests, bucket by bucket and in each bucket archive by archive, and how
    many of them each archive has in each bucket.
    """

    def __init__(self, path: Path, bits: int, batch_rows: int, prefix: str = "") -> None:
        self._path = path
        # With neither bits nor a prefix there is but the 0, however far it is moved.
        buckets = np.arange(1 << bits, dtype=np.uint64) << np.uint64(min(63, 64 - 4 * len(prefix) - bits))
        self._firsts = buckets + np.uint64(int(prefix.ljust(16, "0"), 16))
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
        counts = np.ascontiguousarray(np.diff(edges, axis=1).T)
        firsts = np.cumsum([0, *map(len, self._waiting[:-1])])
        # Where each row comes from: a few numbers for each archive and bucket, and no loop over them.
        shifts = (edges[:, :-1].T + firsts).ravel() - np.cumsum(counts.ravel()) + counts.ravel()
        order = np.repeat(shifts, counts.ravel())
        order += np.arange(len(order))
        rows = np.take(np.concatenate(self._waiting, dtype=WORDS).view(_AS_BYTES).ravel(), order)
        start = self._stream.tell()
        self._stream.write(rows.view(np.uint8).data)
        digests = start + _DIGEST_BYTES * np.concatenate([[0], np.cumsum(counts.sum(axis=1))])
        self._batches.append(_Batch(self._archives, len(self._waiting), digests, self._stream.tell()))
        self._stream.write(counts.astype(_COUNT).data)
        self._archives += len(self._waiting)
        self._waiting, self._waiting_rows = [], 0

    def _edges(self, digests: Digests) -> npt.NDArray[np.intp]:
        """Return where each bucket begins among digests that are in order, and their number."""
        return np.append(np.searchsorted(digests[:, 0].astype(np.uint64), self._firsts), len(digests))

    def bucket(self, number: int) -> Rows:
        """Return a bucket's rows. May be called from several threads at once."""
        sizes = [int(batch.digests[number + 1] - batch.digests[number]) for batch in self._batches]
        digests = np.empty((sum(sizes) // _DIGEST_BYTES, 4), WORDS)
        whole = _bytes_of(digests)
        ranks = [np.empty(0, np.uint32)]
        filled = 0
        with self._path.open("rb", buffering=0) as stream:
            for batch, size in zip(self._batches, sizes, strict=True):
                counts = np.empty(batch.archives, _COUNT)
                self._read(stream, batch.counts + number * counts.nbytes, _bytes_of(counts))
                self._read(stream, int(batch.digests[number]), whole[filled : filled + size])
                ranks.append(np.repeat(np.arange(batch.first, batch.first + batch.archives, dtype=np.uint32), counts))
                filled += size
        return Rows(digests, np.concatenate(ranks))

    def _read(self, stream: BinaryIO, offset: int, into: memoryview) -> None:
        if os.preadv(stream.fileno(), [into], offset) != into.nbytes:
            raise OSError(f"{self._path} ended early: another process has changed the scratch folder.")

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


def _bytes_of(array: npt.NDArray[np.generic]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
