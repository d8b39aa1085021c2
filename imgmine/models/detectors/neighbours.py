"""How far a vector is from its nearest neighbours among the reference: no model of their distribution at all.

It keeps the rows themselves, where the other detectors keep what they learnt of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from imgmine.models.detectors.base import Fitted, in_chunks

NEIGHBOURS = 10
_CHUNK = 1024


@dataclass(frozen=True)
class Neighbours:
    """`rows` (n, d), float32, and how many of the nearest are averaged over."""

    rows: np.ndarray
    neighbours: int = NEIGHBOURS

    @classmethod
    def fit(cls, rows: np.ndarray) -> Fitted:
        """Keep (n, d) rows. A row's own score leaves the row itself out."""
        detector = cls(rows.astype(np.float32), min(NEIGHBOURS, len(rows) - 1))
        return Fitted(detector, in_chunks(lambda part: detector._score(part, leave_out=1), detector.rows, _CHUNK))

    @property
    def dimension(self) -> int:
        return int(self.rows.shape[1])

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """Return the negative mean Euclidean distance of (n, d) vectors to their nearest rows: float64 (n,)."""
        return in_chunks(self._score, vectors, _CHUNK)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"rows": self.rows, "neighbours": np.array(self.neighbours, np.int64)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Neighbours":
        return cls(arrays["rows"], int(arrays["neighbours"]))

    def _score(self, vectors: np.ndarray, leave_out: int = 0) -> np.ndarray:
        part = vectors.astype(np.float32)
        squares = self._squares - 2 * (part @ self.rows.T)
        squares += np.einsum("nd,nd->n", part, part)[:, None]
        nearest = leave_out + self.neighbours
        if nearest < squares.shape[1]:
            squares = np.partition(squares, nearest - 1, axis=1)[:, :nearest]
        squares = np.sort(squares, axis=1)[:, leave_out:].astype(np.float64)
        return np.asarray(-np.sqrt(np.maximum(squares, 0)).mean(axis=1))

    @cached_property
    def _squares(self) -> np.ndarray:
        return np.asarray(np.einsum("nd,nd->n", self.rows, self.rows))
