"""Distances to all components of a mixture at once: a few large float32 products instead of one float64 product each.

What a mixture is, and its log-likelihood, is in `density`.
"""

import numpy as np

# Columns of a block. A precision factor is upper triangular, so the block of columns j…j+w needs the rows up to j+w
# alone: with eight blocks, 9/16 of the whole product.
_BLOCKS = 8
_LEAST_COLUMNS = 32


class StackedPrecisions:
    """The precision factors of k Gaussians in e dimensions, stacked by blocks of columns, in float32.

    Points are taken relative to the mean of the components' means, which keeps float32's rounding small.
    """

    def __init__(self, means: np.ndarray, precisions_cholesky: np.ndarray) -> None:
        """Take `means` (k, e) and upper triangular `precisions_cholesky` (k, e, e), as scikit-learn has them."""
        self._components, self._dimensions = means.shape
        self._centre = means.mean(axis=0)
        shifts = np.einsum("kd,kde->ke", means - self._centre, precisions_cholesky)
        width = max(_LEAST_COLUMNS, -(-self._dimensions // _BLOCKS))
        self._blocks = []
        for first in range(0, self._dimensions, width):
            last = min(first + width, self._dimensions)
            # The shift is a row of the product: a point's coordinate of 1 stands before the others.
            stacked = np.concatenate([-shifts[:, None, first:last], precisions_cholesky[:, :last, first:last]], axis=1)
            wide = stacked.transpose(1, 0, 2).reshape(last + 1, -1)
            self._blocks.append(np.ascontiguousarray(wide, dtype=np.float32))

    def squared_distances(self, points: np.ndarray) -> np.ndarray:
        """Return the squared Mahalanobis distance of (n, e) points to each component: float64 (n, k)."""
        rows = np.empty((len(points), self._dimensions + 1), np.float32)
        rows[:, 0] = 1
        np.subtract(points, self._centre, out=rows[:, 1:], casting="same_kind")
        distances = np.zeros((len(points), self._components))
        for block in self._blocks:
            whitened = (rows[:, : block.shape[0]] @ block).reshape(len(points), self._components, -1)
            distances += np.einsum("nkw,nkw->nk", whitened, whitened)
        return distances
