"""Whether an archive's images are of another kind than those that the anomaly model was calibrated on.

Two samples of scores are compared; what is done about a drift is the caller's business.
"""

from dataclasses import dataclass

import numpy as np

# Of so many images that nearly every difference is significant, and of so few that chance makes large ones.
_SIGNIFICANT = 1e-3
OWN_SAMPLE_DISTANCE = 0.2
CHOSEN_REFERENCE_DISTANCE = 0.6


@dataclass(frozen=True, slots=True)
class Drift:
    """How the scores of an archive differ from held-out reference images'.

    `distance` is Kolmogorov and Smirnov's: the largest difference of the two distribution functions, from 0 to 1. At
    least this share of the images would have to be others for the distributions to be one. `p_value` is the two-sided
    probability of such a distance by chance. `more_usual` is Mann and Whitney's effect size: how often an image of the
    archive is more usual than a reference image, 0.5 where neither is. `allowed` is the distance from which it counts.
    """

    images: int
    distance: float
    p_value: float
    more_usual: float
    allowed: float

    @property
    def is_clear(self) -> bool:
        """Whether the difference is large, and no chance: with many images, chance alone is soon ruled out."""
        return self.distance > self.allowed and self.p_value < _SIGNIFICANT


def measure_drift(
    scores: np.ndarray, calibration: np.ndarray, *, own_sample: bool, fitted: np.ndarray | None = None
) -> Drift:
    """Compare the scores (n,) of an archive's images with those (m,) of held-out reference images.

    Where the reference is a sample of the dataset's own images, an archive should be much like it: a distance above 0.2
    counts. An archive may be made of what the detector was fitted to, which is more usual than what was held out: where
    it is more usual, the distance of the scores `fitted` (t,) of the fit's own rows is allowed besides. Where a person
    chose the reference, archives hold what it does not (that is what it is for), and more than six in ten images must
    be of another kind. An archive without images has not drifted.
    """
    from scipy import stats

    allowed = OWN_SAMPLE_DISTANCE if own_sample else CHOSEN_REFERENCE_DISTANCE
    if not len(scores):
        return Drift(0, 0.0, 1.0, 0.5, allowed)
    # Asymptotic: the exact p-value takes minutes for some thousand images, and differs in digits that do not decide.
    test = stats.ks_2samp(scores, calibration, method="asymp")
    ordered = np.sort(calibration)
    below = (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")) / 2
    more_usual = float(below.mean() / len(ordered))
    if own_sample and more_usual > 0.5 and fitted is not None:
        allowed += float(stats.ks_2samp(fitted, calibration, method="asymp").statistic)
    return Drift(len(scores), float(test.statistic), float(test.pvalue), more_usual, allowed)
