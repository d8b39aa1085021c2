"""Fitting the anomaly model to reference embeddings: who gets which rows, the detector, its calibration, its report.

How the mixture is chosen is in `gmm_fit`; what a detector is, in `detectors`.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from imgmine.errors import PersonNeeded
from imgmine.models.anomaly_model import AnomalyModel
from imgmine.models.calibration import Calibration
from imgmine.models.detectors.base import Fitted
from imgmine.models.detectors.kinds import GMM, check_detector, fit_plain, meaning
from imgmine.models.gmm_fit import MixtureChoices, fit_mixture, least_rows

CODE_VERSION = "3"

# Of the reference rows: for choosing among candidates, and for calibration. The rest is fitted.
_VALIDATION_SHARE = 0.2
_CALIBRATION_SHARE = 0.2
# A picture of the fit scores higher than a held-out one this often: the detector knows its pictures by heart.
_OVERFIT_SHARE = 0.7
# The fewest rows that a detector without a choice is fitted to.
_LEAST_FITTED = 20
# The fewest that judge candidates: a standard error of fewer says little.
_LEAST_JUDGED = 5


class ReferenceTooSmall(PersonNeeded):
    """There are too few reference images for what is to be fitted."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """Which detector, what its mixture may be chosen from, and the seed of everything random.

    `percentile` is the one that decides, which the calibration must be able to tell.
    """

    seed: int = 0
    detector: str = GMM
    mixture: MixtureChoices = field(default_factory=MixtureChoices)
    percentile: float = 5.0


class Deal(NamedTuple):
    """Row numbers, each in ascending order."""

    training: np.ndarray
    validation: np.ndarray
    calibration: np.ndarray


@dataclass(frozen=True, slots=True)
class Overfit:
    """How far the scores of the fit's own rows are from those of held-out rows.

    `gap` is the difference of the mean scores; `share` how often a row of the fit scores higher than a held-out one,
    0.5 where the fit has learnt nothing by heart; `share_error` its standard error.
    """

    gap: float
    share: float
    share_error: float

    @property
    def is_clear(self) -> bool:
        """Whether the detector has overfitted beyond what chance explains."""
        return self.share - 2 * self.share_error > 0.5 and self.share > _OVERFIT_SHARE


class _Needed(NamedTuple):
    """The fewest rows of each part."""

    training: int
    validation: int
    calibration: int


def required_rows(settings: FitSettings) -> int:
    """Return how many reference images the settings ask for at least."""
    needed = _needed(settings)
    training_share = 1 - _VALIDATION_SHARE - _CALIBRATION_SHARE
    return max(math.ceil(needed.calibration / _CALIBRATION_SHARE), math.ceil(needed.training / training_share))


def _needed(settings: FitSettings) -> _Needed:
    # The lowest of m calibration rows is the percentile 100/(m+1): it must not lie above the one that decides.
    calibration = math.ceil(100 / settings.percentile) if settings.percentile > 0 else 1
    if settings.detector != GMM:
        return _Needed(_LEAST_FITTED, 0, calibration)
    return _Needed(least_rows(settings.mixture), _LEAST_JUDGED, calibration)


def fit_anomaly_model(
    vectors: np.ndarray,
    embedder: str,
    settings: FitSettings = FitSettings(),
    about: Mapping[str, Any] | None = None,
    groups: np.ndarray | None = None,
) -> AnomalyModel:
    """Fit a detector to reference embeddings (n, d) and calibrate it. The same rows and settings give the same model.

    The rows are dealt, by the seed, into training (60%), validation (20%) and calibration (20%). What there is to
    choose is fitted on training and judged on validation rows (`fit_mixture`); the choice is fitted again on both; the
    calibration rows calibrate it, and took part in nothing else. Rows of one of `groups` (n,) are dealt together: where
    several pictures are cut from one photograph, held-out ones would else be no strangers.

    `embedder` is the version of the model that made the vectors; `about` (where they came from) goes into the report.
    Raises `ReferenceTooSmall`, which says how many are needed, `DetectorError`, `AllTheSame`.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    check_detector(settings.detector)
    needed = required_rows(settings)
    if len(vectors) < needed:
        raise ReferenceTooSmall(
            f"{len(vectors)} reference images are too few: at least {needed} are needed, a fifth of them to tell the "
            f"oddest {settings.percentile:g}% and three fifths for the smallest {settings.detector} model. Mine more "
            "archives, or put more pictures into IMGMINE_REFERENCE."
        )
    # One thread: sums over several come out in another order each time, and the model in other bytes.
    with threadpool_limits(limits=1):
        return _fit(vectors.astype(np.float64), embedder, settings, about or {}, groups)


def measure_overfit(training_scores: np.ndarray, held_out_scores: np.ndarray) -> Overfit:
    """Compare the scores of the fit's rows with those of held-out rows."""
    n, m = len(training_scores), len(held_out_scores)
    ordered = np.sort(training_scores)
    lower = (np.searchsorted(ordered, held_out_scores, "left") + np.searchsorted(ordered, held_out_scores, "right")) / 2
    share = 1 - float(lower.sum()) / (n * m)
    # The standard error of Mann and Whitney's statistic where both samples are of one distribution.
    error = math.sqrt((n + m + 1) / (12 * n * m))
    return Overfit(float(training_scores.mean() - held_out_scores.mean()), share, error)


def deal_rows(rows: int, seed: int, groups: np.ndarray | None = None) -> Deal:
    """Deal rows into training, validation and calibration, whole groups at a time."""
    groups = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    order = np.random.default_rng(seed).permutation(int(groups.max()) + 1)
    # How many rows have been dealt before each group, in the order of the deal.
    before = np.concatenate([[0], np.cumsum(np.bincount(groups)[order])[:-1]])
    calibration = round(rows * _CALIBRATION_SHARE)
    validation = calibration + round(rows * _VALIDATION_SHARE)
    part_of_group = np.empty(len(order), np.intp)
    part_of_group[order] = np.searchsorted([calibration, validation], before, "right")
    parts = part_of_group[groups]
    return Deal(np.flatnonzero(parts == 2), np.flatnonzero(parts == 1), np.flatnonzero(parts == 0))


def _fit(
    vectors: np.ndarray, embedder: str, settings: FitSettings, about: Mapping[str, Any], groups: np.ndarray | None
) -> AnomalyModel:
    dealt = deal_rows(len(vectors), settings.seed, groups)
    needed = _needed(settings)
    if any(len(part) < least for part, least in zip(dealt, needed, strict=True)):
        raise ReferenceTooSmall(
            f"Of {len(vectors)} reference images too many are nearly the same: with such ones on one side, "
            f"{len(dealt.training)} are left for training, {len(dealt.validation)} for the choice and "
            f"{len(dealt.calibration)} for calibration, where {needed.training}, {needed.validation} and "
            f"{needed.calibration} are needed. Put other pictures into the reference."
        )
    fitted, choice, warnings = _fitted(vectors[dealt.training], vectors[dealt.validation], settings)
    training_scores = np.sort(fitted.training_scores)
    calibration = Calibration.of(fitted.detector.score(vectors[dealt.calibration]))
    overfit = measure_overfit(training_scores, calibration.scores)
    report = {
        "reference": {"rows": len(vectors), **about},
        "settings": asdict(settings),
        "rows": {part: len(numbers) for part, numbers in dealt._asdict().items()},
        **choice,
        "overfit": {**asdict(overfit), "clear": overfit.is_clear},
        "warnings": [*warnings, *_overfit_warning(overfit)],
    }
    return AnomalyModel(
        settings.detector,
        embedder,
        fitted.detector,
        training_scores,
        calibration,
        json.loads(json.dumps(report)),
    )


def _fitted(
    training: np.ndarray, validation: np.ndarray, settings: FitSettings
) -> tuple[Fitted, dict[str, Any], list[str]]:
    """Fit the detector to both parts; return it, what was chosen and why for the report, and warnings."""
    if settings.detector == GMM:
        return fit_mixture(training, validation, settings.mixture, settings.seed)
    fitted = fit_plain(settings.detector, np.concatenate([training, validation]), settings.seed)
    reason = f"{settings.detector}, as IMGMINE_DETECTOR asks: nothing about it was chosen from the images."
    return fitted, {"reason": reason, "score": meaning(settings.detector)}, []


def _overfit_warning(overfit: Overfit) -> Iterator[str]:
    if overfit.is_clear:
        yield (
            f"The model has overfitted: an image of the fit scores higher than a held-out one {overfit.share:.0%} of "
            f"the time (50% would be none), by {overfit.gap:.3g} on average. More reference images would help."
        )
