"""Fitting a watermark classifier of views, and measuring it: logistic regressions on the logarithm of the vectors.

One regression looks at a quadrant, with the same weights for all four, so that it learns from each of them; it knows
where the mark is. The one of the highest score speaks for the picture. Another looks at the whole picture's vector. A
third, on pictures that neither has seen, weighs the two and makes a probability of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from imgmine.models.one_thread import one_thread

LEAST = 1e-3
"""What is added to a vector before its logarithm is taken: vectors of norm 1 have components of about 0.02."""

_STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
# A quadrant that has less of a mark is neither an example of one with a mark nor of one without.
_ENOUGH = 0.1


@dataclass(frozen=True)
class Examples:
    """`views` (n, 5, dimension), whether each has a mark (n), and how much of it is in each quadrant (n, 4)."""

    views: np.ndarray
    marked: np.ndarray
    quadrants: np.ndarray

    def take(self, rows: np.ndarray) -> "Examples":
        """Return these rows."""
        return Examples(self.views[rows], self.marked[rows], self.quadrants[rows])


@dataclass(frozen=True)
class Linear:
    """`logarithms @ weights + bias`, weights (dimension)."""

    weights: np.ndarray
    bias: float
    strength: float

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """Return the score of each of the vectors (…, dimension)."""
        return np.asarray(logarithms(vectors) @ self.weights + self.bias)


@dataclass(frozen=True)
class Head:
    """What judges views: `sigmoid(of_quadrant * highest quadrant's score + of_whole * whole's score + bias)`."""

    quadrant: Linear
    whole: Linear
    of_quadrant: float
    of_whole: float
    bias: float

    def scores(self, views: np.ndarray) -> np.ndarray:
        """Return the logit of a mark for (n, 5, dimension) views."""
        highest = self.quadrant.scores(views[:, 1:]).max(axis=1)
        return np.asarray(self.of_quadrant * highest + self.of_whole * self.whole.scores(views[:, 0]) + self.bias)

    def probabilities(self, views: np.ndarray) -> np.ndarray:
        """Return the probability of a mark for (n, 5, dimension) views: float64 (n)."""
        return np.asarray(1 / (1 + np.exp(-self.scores(views))))


def logarithms(vectors: np.ndarray) -> np.ndarray:
    """Return the logarithms of vectors' components, of which those below 0 count as 0: float32."""
    return np.asarray(np.log(np.maximum(vectors, 0).astype(np.float32) + np.float32(LEAST)))


def fit_head(training: Examples, validation: Examples) -> Head:
    """Fit both regressions to the training examples; the validation's choose how strongly, and weigh them.

    The number of cores changes no bit of it.
    """
    with one_thread():
        return _fit_head(training, validation)


def _fit_head(training: Examples, validation: Examples) -> Head:
    quadrant = max(
        (_fit_quadrant(training, strength) for strength in _STRENGTHS),
        key=lambda fitted: roc_auc_score(validation.marked, fitted.scores(validation.views[:, 1:]).max(axis=1)),
    )
    whole = fit_whole(training, validation)
    both = _both(quadrant, whole, validation.views)
    weighed = LogisticRegression(C=1.0).fit(both, validation.marked)
    of_quadrant, of_whole = (float(weight) for weight in weighed.coef_[0])
    return Head(quadrant, whole, of_quadrant, max(0.0, of_whole), float(weighed.intercept_[0]))


def fit_whole(training: Examples, validation: Examples) -> Linear:
    """Fit a regression to the vector of the whole picture alone."""
    return max(
        (_fit(training.views[:, 0], training.marked, strength) for strength in _STRENGTHS),
        key=lambda fitted: roc_auc_score(validation.marked, fitted.scores(validation.views[:, 0])),
    )


def fit_concatenated(training: Examples, validation: Examples) -> Linear:
    """Fit a regression to all five vectors side by side: weights (5 · dimension)."""
    side_by_side = [examples.views.reshape(len(examples.views), -1) for examples in (training, validation)]
    return max(
        (_fit(side_by_side[0], training.marked, strength) for strength in _STRENGTHS),
        key=lambda fitted: roc_auc_score(validation.marked, fitted.scores(side_by_side[1])),
    )


def threshold_at(probabilities: np.ndarray, share: float) -> float:
    """Return the probability that this share of clean pictures reaches, to two decimals."""
    return min(0.99, max(0.01, round(float(np.quantile(probabilities, 1 - share)), 2)))


def auc(clean: np.ndarray, marked: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a marked picture scores above a clean one."""
    labels = np.repeat([0, 1], [len(clean), len(marked)])
    return float(roc_auc_score(labels, np.concatenate([clean, marked])))


def _fit_quadrant(training: Examples, strength: float) -> Linear:
    with_mark = training.quadrants > _ENOUGH
    used = with_mark | (training.quadrants == 0)
    return _fit(training.views[:, 1:][used], with_mark[used], strength)


def _fit(vectors: np.ndarray, marked: np.ndarray, strength: float) -> Linear:
    """Fit one regression to vectors (n, dimension), which it sees standardised; `strength` is scikit-learn's C."""
    rows = logarithms(vectors)
    middle, spread = rows.mean(axis=0), rows.std(axis=0) + np.float32(1e-6)
    rows -= middle
    rows /= spread
    fitted = LogisticRegression(C=strength, max_iter=200, class_weight="balanced").fit(rows, marked)
    weights = fitted.coef_[0] / spread
    return Linear(weights.astype(np.float32), float(fitted.intercept_[0] - weights @ middle), strength)


def _both(quadrant: Linear, whole: Linear, views: np.ndarray) -> np.ndarray:
    scores: Sequence[np.ndarray] = (quadrant.scores(views[:, 1:]).max(axis=1), whole.scores(views[:, 0]))
    return np.stack(scores, axis=1)
