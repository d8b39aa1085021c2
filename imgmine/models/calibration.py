"""What a score means: its percentile among reference images that took no part in the fit.

Any detector's scores can be calibrated so; which detector gave them is not known here.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from imgmine.errors import PersonNeeded


class CalibrationError(PersonNeeded):
    """These scores cannot calibrate anything."""


@dataclass(frozen=True)
class Calibration:
    """The scores (m,) of held-out reference images, in ascending order; float64.

    The i-th of m is the percentile 100·i/(m+1): so the share of fresh images of the reference's kind that fall below
    percentile p is p% on average, for any m. Between two scores the percentile is interpolated; below the lowest it is
    0, above the highest 100.
    """

    scores: np.ndarray

    def __post_init__(self) -> None:
        if self.scores.ndim != 1 or not len(self.scores) or not np.isfinite(self.scores).all():
            raise CalibrationError("a calibration needs at least one score, all of them finite")
        if (np.diff(self.scores) < 0).any():
            raise CalibrationError("a calibration's scores must be in ascending order")

    @classmethod
    def of(cls, scores: np.ndarray) -> "Calibration":
        """Return the calibration by scores in any order."""
        return cls(np.sort(np.asarray(scores, np.float64)))

    def percentile(self, scores: np.ndarray) -> np.ndarray:
        """Return the percentile of each score (n,), float64 from 0 to 100: low is odd, high is usual."""
        knots, percentiles = self._knots
        return np.asarray(np.interp(scores, knots, percentiles, left=0.0, right=100.0))

    def require(self, percentile: float) -> None:
        """Raise `CalibrationError` where this percentile lies below the lowest score: what is there is 0 to all.

        0 itself is always told: nothing is below it.
        """
        least = float(self._knots[1][0])
        if 0 < percentile < least:
            raise CalibrationError(
                f"{len(self.scores)} held-out reference images tell no percentile below {least:.2g}, and "
                f"IMGMINE_ANOMALY_PERCENTILE is {percentile:g}. Set it to {least:.2g} or more, or fit the model (job "
                "fit_gmm) to more reference images."
            )

    def score_at(self, percentile: float) -> float:
        """Return the score at a percentile: its inverse, held within the lowest and the highest score."""
        knots, percentiles = self._knots
        return float(np.interp(percentile, percentiles, knots))

    @cached_property
    def _knots(self) -> tuple[np.ndarray, np.ndarray]:
        # Equal scores share the mean of their ranks.
        knots, first, count = np.unique(self.scores, return_index=True, return_counts=True)
        return knots, 100.0 * (first + (count + 1) / 2) / (len(self.scores) + 1)
