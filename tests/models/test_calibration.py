"""A percentile means the same whatever the scores are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from imgmine.models.calibration import Calibration, CalibrationError

SCORES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


def test_percentiles_of_fresh_scores_are_uniform() -> None:
    rng = np.random.default_rng(1)
    calibration = Calibration.of(rng.gamma(2, size=5000))
    fresh = calibration.percentile(rng.gamma(2, size=2000))
    assert stats.kstest(fresh / 100, "uniform").pvalue > 0.01


def test_a_small_calibration_keeps_the_promise_on_average() -> None:
    rng = np.random.default_rng(2)
    below = [Calibration.of(rng.normal(size=19)).percentile(rng.normal(size=50)) < 5.001 for _ in range(2000)]
    assert np.mean(below) == pytest.approx(0.05, abs=0.005)


def test_a_percentile_that_so_few_images_cannot_tell_is_refused() -> None:
    calibration = Calibration.of(np.arange(99.0))
    for told in (0, 1, 5, 100):
        calibration.require(told)
    with pytest.raises(CalibrationError, match=r"99 held-out reference images tell no percentile below 1, and .* 0\.9"):
        calibration.require(0.9)


def test_the_ends_are_0_and_100() -> None:
    calibration = Calibration.of(np.array([3.0, 1.0, 2.0]))
    np.testing.assert_allclose(calibration.percentile(np.array([0.9, 1, 1.5, 2, 3, 3.1])), [0, 25, 37.5, 50, 75, 100])


def test_equal_scores_share_a_percentile() -> None:
    calibration = Calibration.of(np.array([1.0, 1.0, 1.0, 2.0]))
    np.testing.assert_allclose(calibration.percentile(np.array([1.0, 2.0])), [40, 80])


@given(SCORES, SCORES)
def test_a_higher_score_never_has_a_lower_percentile(reference: list[float], scores: list[float]) -> None:
    percentiles = Calibration.of(np.array(reference)).percentile(np.sort(scores))
    assert (np.diff(percentiles) >= 0).all()
    assert percentiles.min() >= 0
    assert percentiles.max() <= 100


@given(SCORES, st.floats(0, 100))
def test_the_score_at_a_percentile_has_that_percentile(reference: list[float], percentile: float) -> None:
    calibration = Calibration.of(np.array(reference))
    score = calibration.score_at(percentile)
    assert calibration.scores[0] <= score <= calibration.scores[-1]
    held = np.clip(percentile, *calibration.percentile(calibration.scores[[0, -1]]))
    if np.diff(np.unique(calibration.scores)).min(initial=np.inf) > 1e-6:
        assert calibration.percentile(np.array([score]))[0] == pytest.approx(held, abs=1e-3)


@pytest.mark.parametrize("scores", [[], [1.0, np.nan], [np.inf]])
def test_nothing_can_be_calibrated_on_no_or_infinite_scores(scores: list[float]) -> None:
    with pytest.raises(CalibrationError):
        Calibration.of(np.array(scores))


def test_scores_out_of_order_are_refused() -> None:
    with pytest.raises(CalibrationError, match="ascending"):
        Calibration(np.array([2.0, 1.0]))
