"""Which PCA a mixture is fitted in: how many dimensions, judged on rows that the PCA has not seen.

What a subspace's density is, is in `detectors.density`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imgmine.errors import PersonNeeded
from imgmine.models.detectors.density import Subspace

# A full covariance of e dimensions has e(e+1)/2 entries; ten rows for each dimension are twenty numbers for each entry.
ROWS_A_DIMENSION = 10


class AllTheSame(PersonNeeded):
    """The vectors are too much alike for anything to be fitted to them."""


@dataclass(frozen=True, slots=True)
class SubspaceCandidate:
    """A probabilistic PCA that was tried: fitted on the training rows, judged on the validation rows.

    `noise` is the variance in each direction outside, of the validation rows: of the training rows it is too small, for
    the axes were turned towards them, and a picture of any new kind would be odd. So that no row judges what was
    estimated on it, each half of the validation rows is judged with the noise of the other half. Log-likelihoods are
    means over the validation rows, in nats; `bic` is of the training rows, with their own noise. `behind` and
    `behind_error` are as a mixture's.
    """

    dimensions: int
    noise: float
    bic: float
    held_out_log_likelihood: float
    behind: float
    behind_error: float


def subspace_candidates(
    training: np.ndarray, validation: np.ndarray, dimensions: Sequence[int]
) -> list[SubspaceCandidate]:
    """Return the candidates of these dimensions that have at least 10 training rows each, and all of (n, d)'s own d.

    One decomposition serves all of them. Raises `AllTheSame`.
    """
    rows, own = training.shape
    most = min(rows // ROWS_A_DIMENSION, own)
    mean = training.mean(axis=0)
    _, singular, axes = np.linalg.svd(training - mean, full_matrices=False)
    variances = singular**2 / (rows - 1)
    if not variances[0] > 0:
        raise AllTheSame("The reference images' vectors are all the same. Put other pictures into the reference.")
    least = float(variances[0] * np.finfo(np.float64).eps)
    variances = np.maximum(variances, least)
    judged: list[tuple[int, float, float, np.ndarray]] = []
    for kept in sorted({*(number for number in dimensions if number <= most), *([own] if own <= most else [])}):
        signal = axes[:kept], variances[:kept]
        parameters = own + own * kept - kept * (kept - 1) / 2 + (kept < own)
        fitted = _log_likelihoods(training - mean, *signal, _noise(training - mean, axes[:kept], least))
        bic = -2 * float(fitted.sum()) + parameters * math.log(rows)
        one, other = np.array_split(validation - mean, 2)
        halves = ((one, other), (other, one))
        held_out = [_log_likelihoods(half, *signal, _noise(by, axes[:kept], least)) for half, by in halves]
        judged.append((kept, _noise(validation - mean, axes[:kept], least), bic, np.concatenate(held_out)))
    best = max((held_out for *_, held_out in judged), key=lambda held_out: float(held_out.mean()))
    return [
        SubspaceCandidate(kept, noise, bic, float(held_out.mean()), *behind(best, held_out))
        for kept, noise, bic, held_out in judged
    ]


def choose_subspace(candidates: Sequence[SubspaceCandidate]) -> SubspaceCandidate:
    """Return the candidate of the lowest BIC among those whose held-out likelihood is as good as the best.

    As good: behind the best by at most one standard error of the difference.
    """
    as_good = [candidate for candidate in candidates if candidate.behind <= candidate.behind_error]
    return min(as_good, key=lambda candidate: (candidate.bic, candidate.dimensions))


def fit_subspace(rows: np.ndarray, dimensions: int, noise: float) -> Subspace | None:
    """Return the PCA of (n, d) rows with this noise outside it, or None where all dimensions are kept."""
    from sklearn.decomposition import PCA

    if dimensions == rows.shape[1]:
        return None
    pca = PCA(dimensions, svd_solver="full").fit(rows)
    return Subspace(pca.mean_, pca.components_, noise)


def behind(best: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return how far the log-likelihoods (n,) of the same rows are below the best's on average, and its error."""
    difference = best - other
    return float(difference.mean()), float(difference.std(ddof=1) / math.sqrt(len(difference)))


def _noise(centred: np.ndarray, axes: np.ndarray, least: float) -> float:
    """Return the variance of (n, d) rows in each direction outside the axes (e, d); 0 where there is none."""
    kept, own = axes.shape
    return max(float(_left_out(centred, axes).mean()) / (own - kept), least) if kept < own else 0.0


def _left_out(centred: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Return the squared length (n,) of what lies outside the axes."""
    return np.asarray(np.maximum((centred**2).sum(axis=1) - ((centred @ axes.T) ** 2).sum(axis=1), 0))


def _log_likelihoods(centred: np.ndarray, axes: np.ndarray, signal: np.ndarray, noise: float) -> np.ndarray:
    kept, own = axes.shape
    points = centred @ axes.T
    distances = (points**2 / signal).sum(axis=1)
    log_determinant = float(np.log(signal).sum())
    if kept < own:
        log_determinant += (own - kept) * math.log(noise)
        distances = distances + _left_out(centred, axes) / noise
    return np.asarray(-0.5 * (own * math.log(2 * math.pi) + log_determinant + distances))
