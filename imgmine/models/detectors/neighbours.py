"""How far a vector is from its nearest neighbours among the reference: no model of their distribution at all.

It keeps the rows themselves, where the other detectors keep what they learnt of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from imgmine.models.detectors.base import Fitted, in_chunks

NEIGHBOURS = 10
# Of a vector's squared length: so near is only the vector itself, as float32 rounds the product of two.
_ITSELF = 1e-5
_CHUNK = 1024


@dataclass(frozen=True)
class Neighbours:
    """`rows` (n, d), float32, and how many of the nearest are averaged over."""

    rows: np.ndarray
    neighbours: int = NEIGHBOURS

    @classmethod
    def fit(cls, rows: np.ndarray) -> Fitted:
        """Keep (n, d) rows."""
        detector = cls(rows.astype(np.float32), min(NEIGHBOURS, len(rows) - 1))
        return Fitted(detector, detector.score(detector.rows))

    @property
    def dimension(self) -> int:
        return int(self.rows.shape[1])

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """Return the negative mean Euclidean distance of (n, d) vectors to their nearest rows: float64 (n,).

        A vector that is among the rows is not its own neighbour: one row that equals it is left out. So pictures of the
        reference are judged as others are, where an archive is what the reference was drawn from.
        """
        return in_chunks(self._score, vectors, _CHUNK)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"rows": self.rows, "neighbours": np.array(self.neighbours, np.int64)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Neighbours":
        return cls(arrays["rows"], int(arrays["neighbours"]))

    def _score(self, vectors: np.ndarray) -> np.ndarray:
        part = vectors.astype(np.float32)
        lengths = np.einsum("nd,nd->n", part, part)
        squares = self._squares - 2 * (part @ self.rows.T)
        squares += lengths[:, None]
        if self.neighbours + 1 < squares.shape[1]:
            squares = np.partition(squares, self.neighbours, axis=1)[:, : self.neighbours + 1]
        nearest = np.sort(squares, axis=1)
        is_row = nearest[:, :1] <= _ITSELF * lengths[:, None]
        nearest = np.where(is_row, nearest[:, 1:], nearest[:, :-1]).astype(np.float64)
        return np.asarray(-np.sqrt(np.maximum(nearest, 0)).mean(axis=1))

    @cached_property
    def _squares(self) -> np.ndarray:
        return np.asarray(np.einsum("nd,nd->n", self.rows, self.rows))
