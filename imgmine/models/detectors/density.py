"""The density of embeddings: a Gaussian mixture in a subspace, and a plain Gaussian for what lies outside it.

Evaluation only; how the parameters are found is in `gmm_fit`, how scores are calibrated in `anomaly_fit`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from imgmine.models.detectors.base import in_chunks
from imgmine.models.detectors.stacked_precisions import StackedPrecisions

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

_CHUNK = 2048


@dataclass(frozen=True)
class Subspace:
    """A probabilistic PCA from d dimensions to e: `mean` (d,), orthonormal `axes` (e, d), and what lies outside.

    Outside the subspace a vector is taken to vary by `noise`, a variance, alike in every direction (Tipping and Bishop,
    1999). Without that, whatever is unlike the reference in a way in which the reference does not vary would count as
    usual: on the demo's pictures, a mixture inside the subspace alone is worse than chance.
    """

    mean: np.ndarray
    axes: np.ndarray
    noise: float

    def points(self, vectors: np.ndarray) -> np.ndarray:
        """Return (n, d) vectors as (n, e) points in the subspace."""
        return np.asarray((vectors - self.mean) @ self.axes.T)

    def outside(self, vectors: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return the log-density (n,) of what the points leave out of the vectors."""
        left_out = np.maximum(((vectors - self.mean) ** 2).sum(axis=1) - (points**2).sum(axis=1), 0)
        directions = self.axes.shape[1] - self.axes.shape[0]
        return np.asarray(-0.5 * (directions * np.log(2 * np.pi * self.noise) + left_out / self.noise))


@dataclass(frozen=True)
class Density:
    """A mixture of k Gaussians in e dimensions over vectors of d dimensions.

    `subspace` is the PCA, or None where the mixture is over the vectors themselves (e = d). `weights` (k,), `means`
    (k, e) and `precisions_cholesky` (k, e, e) are scikit-learn's, for full covariances; other types are given as the
    full ones that they equal. All float64.
    """

    subspace: Subspace | None
    weights: np.ndarray
    means: np.ndarray
    precisions_cholesky: np.ndarray

    @classmethod
    def of(cls, mixture: "GaussianMixture", subspace: Subspace | None = None) -> "Density":
        """Return the density of a mixture that scikit-learn fitted, of any covariance type, to points of a subspace."""
        factors = mixture.precisions_cholesky_
        components, dimensions = mixture.means_.shape
        match mixture.covariance_type:
            case "full":
                full = factors
            case "tied":
                full = np.broadcast_to(factors, (components, dimensions, dimensions))
            case "diag":
                full = factors[:, :, None] * np.eye(dimensions)
            case _:
                full = factors[:, None, None] * np.eye(dimensions)
        return cls(subspace, mixture.weights_, mixture.means_, np.ascontiguousarray(full))

    @property
    def dimension(self) -> int:
        """The dimension d of the vectors."""
        return int(self.means.shape[1] if self.subspace is None else len(self.subspace.mean))

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each of (n, d) vectors, float64 (n,), in nats.

        It is scikit-learn's `score_samples` of the points in the subspace, and the log-density of what lies outside it.
        Distances are float32 products (`StackedPrecisions`), which rounds the seventh digit of a log-likelihood.
        """
        return in_chunks(self._score, vectors, _CHUNK)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the parameters by name."""
        arrays = {"weights": self.weights, "means": self.means, "precisions_cholesky": self.precisions_cholesky}
        if self.subspace is not None:
            noise = np.array(self.subspace.noise)
            arrays |= {"mean": self.subspace.mean, "axes": self.subspace.axes, "noise": noise}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Density":
        """Read what `arrays` returned. Raises `KeyError` for what is missing."""
        subspace = None
        if "mean" in arrays:
            subspace = Subspace(arrays["mean"], arrays["axes"], float(arrays["noise"]))
        return cls(subspace, arrays["weights"], arrays["means"], arrays["precisions_cholesky"])

    def _score(self, vectors: np.ndarray) -> np.ndarray:
        if self.subspace is None:
            return self._mixture_score(vectors)
        exact = vectors.astype(np.float64)
        points = self.subspace.points(exact)
        return np.asarray(self._mixture_score(points) + self.subspace.outside(exact, points))

    def _mixture_score(self, points: np.ndarray) -> np.ndarray:
        logs = self._log_constants - 0.5 * self._stacked.squared_distances(points)
        highest = logs.max(axis=1)
        return np.asarray(highest + np.log(np.exp(logs - highest[:, None]).sum(axis=1)))

    @cached_property
    def _stacked(self) -> StackedPrecisions:
        return StackedPrecisions(self.means, self.precisions_cholesky)

    @cached_property
    def _log_constants(self) -> np.ndarray:
        """The log of each component's weight and of its density's constant: (k,)."""
        diagonals = np.diagonal(self.precisions_cholesky, axis1=1, axis2=2)
        log_determinants = np.log(diagonals).sum(axis=1)
        return np.asarray(np.log(self.weights) + log_determinants - 0.5 * self.means.shape[1] * np.log(2 * np.pi))
