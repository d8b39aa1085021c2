"""The density of embeddings: a Gaussian mixture in a subspace, and a plain Gaussian for what lies outside it.

Evaluation only; how the parameters are found is in `gmm_fit`, how they are stored and calibrated in `gmm`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

_CHUNK = 4096


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
        """
        scores = np.empty(len(vectors))
        for start in range(0, len(vectors), _CHUNK):
            scores[start : start + _CHUNK] = self._score(vectors[start : start + _CHUNK].astype(np.float64))
        return scores

    def _score(self, vectors: np.ndarray) -> np.ndarray:
        points = vectors if self.subspace is None else self.subspace.points(vectors)
        logs = np.empty((len(points), len(self.weights)))
        for component, (centre, cholesky) in enumerate(zip(self.means, self.precisions_cholesky, strict=True)):
            whitened = points @ cholesky
            whitened -= centre @ cholesky
            logs[:, component] = -0.5 * np.einsum("ij,ij->i", whitened, whitened)
        logs += self._log_constants
        highest = logs.max(axis=1)
        scores = np.asarray(highest + np.log(np.exp(logs - highest[:, None]).sum(axis=1)))
        return scores if self.subspace is None else scores + self.subspace.outside(vectors, points)

    @cached_property
    def _log_constants(self) -> np.ndarray:
        """The log of each component's weight and of its density's constant: (k,)."""
        diagonals = np.diagonal(self.precisions_cholesky, axis1=1, axis2=2)
        log_determinants = np.log(diagonals).sum(axis=1)
        return np.asarray(np.log(self.weights) + log_determinants - 0.5 * self.means.shape[1] * np.log(2 * np.pi))
