"""The probe: logistic regression on embeddings, from what people labelled, with an honest estimate of how good it is.

Which labels there are is `imgmine.dataset.labels`'; several probes together, and their card, are in `probe_model`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgmine.errors import PersonNeeded
from imgmine.models.alike import group_alike
from imgmine.models.one_thread import one_thread

LEAST = 20
"""Distinct pictures to which a label applies, and as many to which it does not: with fewer there is no probe."""

FOLDS = 5
REPEATS = 3
INNER_FOLDS = 3
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
"""C of the L2 penalty: small is strong. Vectors are scaled to a norm of √d, so that it means the same for any d."""


class TooFewLabels(PersonNeeded):
    """There are not enough labels for a probe."""


@dataclass(frozen=True)
class Estimate:
    """How well a probe tells pictures apart that had no part in its fit, by nested cross-validation.

    `aurocs` are of the test folds of all repetitions. `probabilities` (n,) are of the pictures when they were tested,
    the mean of the repetitions; `log_loss` is theirs, `prior_log_loss` what the share of the label alone would have.
    """

    aurocs: np.ndarray
    probabilities: np.ndarray
    log_loss: float
    prior_log_loss: float

    @property
    def auroc(self) -> float:
        """The mean over the folds."""
        return float(self.aurocs.mean())

    @property
    def spread(self) -> float:
        """The standard deviation over the folds."""
        return float(self.aurocs.std(ddof=1))


@dataclass(frozen=True)
class Probe:
    """P(label | vector) = 1 / (1 + exp(−(weights · vector + bias))); `weights` (d,) are for vectors of norm 1."""

    weights: np.ndarray
    bias: float
    strength: float
    estimate: Estimate

    def probability(self, vectors: np.ndarray) -> np.ndarray:
        """Return the probability of the label for each of (n, d) vectors of norm 1: float64 (n,)."""
        return sigmoid(vectors.astype(np.float64) @ self.weights + self.bias)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(−x)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))


def fit_probe(vectors: np.ndarray, values: np.ndarray, *, seed: int = 0) -> Probe:
    """Fit a probe to (n, d) vectors of norm 1 and whether the label applies to each (n,) bool.

    C is chosen by the log loss of a cross-validation; the estimate is of a cross-validation around that choice, in
    folds that keep alike pictures together. The number of cores changes no bit of it. Raises `TooFewLabels` that says
    how many there are and are needed.
    """
    import sklearn.linear_model  # noqa: F401  (loads what is to be held to one thread)

    values = np.asarray(values, bool)
    with one_thread():
        groups = group_alike(vectors)
        require_enough(values, groups)
        points, turn = _turned(vectors)
        estimate = _estimate(points, values, groups, seed)
        strength = _choose_strength(points, values, groups, seed)
        model = _fit(points, values, strength)
        weights = turn @ model.coef_[0] * np.sqrt(vectors.shape[1])
    return Probe(weights, float(model.intercept_[0]), strength, estimate)


def require_enough(values: np.ndarray, groups: np.ndarray) -> None:
    """Raise `TooFewLabels` where fewer than `LEAST` distinct pictures have the label, or have it not."""
    there = {name: len(np.unique(groups[values == kind])) for name, kind in (("yes", True), ("no", False))}
    if min(there.values()) < LEAST:
        raise TooFewLabels(
            f"{there['yes']} distinct pictures are labelled yes and {there['no']} no; {LEAST} of each are needed."
        )


def _turned(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors in the space that they span, and the turn (d, k) back.

    The penalty is the same after a turn, so that the fit is the same, in n dimensions instead of d.
    """
    scaled = vectors.astype(np.float64) * np.sqrt(vectors.shape[1])
    left, sizes, right = np.linalg.svd(scaled, full_matrices=False)
    return left * sizes, right.T


def _fit(points: np.ndarray, values: np.ndarray, strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=1000).fit(points, values)


def _folds(values: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield training and test rows, each test fold with both kinds in it."""
    from sklearn.model_selection import StratifiedGroupKFold

    for train, test in StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(values, values, groups):
        if len(np.unique(values[test])) == len(np.unique(values[train])) == 2:
            yield train, test


def _choose_strength(points: np.ndarray, values: np.ndarray, groups: np.ndarray, seed: int) -> float:
    losses = np.zeros(len(STRENGTHS))
    for train, test in _folds(values, groups, INNER_FOLDS, seed):
        for number, strength in enumerate(STRENGTHS):
            found = _fit(points[train], values[train], strength).predict_proba(points[test])[:, 1]
            losses[number] += _log_loss(values[test], found) * len(test)
    return STRENGTHS[int(losses.argmin())]


def _estimate(points: np.ndarray, values: np.ndarray, groups: np.ndarray, seed: int) -> Estimate:
    from sklearn.metrics import roc_auc_score

    aurocs: list[float] = []
    total, times = np.zeros(len(values)), np.zeros(len(values))
    for repeat in range(REPEATS):
        for train, test in _folds(values, groups, FOLDS, seed + repeat):
            strength = _choose_strength(points[train], values[train], groups[train], seed)
            found = _fit(points[train], values[train], strength).predict_proba(points[test])[:, 1]
            aurocs.append(float(roc_auc_score(values[test], found)))
            total[test] += found
            times[test] += 1
    tested = times > 0
    probabilities = np.full(len(values), values.mean())
    probabilities[tested] = total[tested] / times[tested]
    prior = np.full(len(values), values.mean())
    return Estimate(np.array(aurocs), probabilities, _log_loss(values, probabilities), _log_loss(values, prior))


def _log_loss(values: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean of −ln of the probability that was given to what is true."""
    given = np.where(values, probabilities, 1 - probabilities).clip(1e-12)
    return float(-np.log(given).mean())
