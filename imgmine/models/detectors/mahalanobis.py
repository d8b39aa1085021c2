"""One Gaussian over the whole space: the Mahalanobis distance from the mean, by a covariance that is shrunk.

Mixtures are in `density`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from imgmine.models.detectors.base import Fitted, in_chunks

_CHUNK = 2048


@dataclass(frozen=True)
class Mahalanobis:
    """`mean` (d,) and `whitening` (d, d): the distance of v is the length of (v - mean) @ whitening."""

    mean: np.ndarray
    whitening: np.ndarray

    @classmethod
    def fit(cls, rows: np.ndarray) -> Fitted:
        """Fit to (n, d) rows. The covariance is shrunk towards a sphere as Ledoit and Wolf (2004) have it.

        So it can be inverted though there are fewer rows than dimensions.
        """
        from sklearn.covariance import LedoitWolf

        shrunk = LedoitWolf(store_precision=False).fit(rows)
        variances, axes = np.linalg.eigh(shrunk.covariance_)
        detector = cls(shrunk.location_, axes / np.sqrt(variances))
        return Fitted(detector, detector.score(rows))

    @property
    def dimension(self) -> int:
        return len(self.mean)

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """Return the negative distance of each of (n, d) vectors, in standard deviations: float64 (n,)."""
        return in_chunks(self._score, vectors, _CHUNK)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"mean": self.mean, "whitening": self.whitening}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Mahalanobis":
        return cls(arrays["mean"], arrays["whitening"])

    def _score(self, vectors: np.ndarray) -> np.ndarray:
        return np.asarray(-np.linalg.norm((vectors - self.mean) @ self.whitening, axis=1))
