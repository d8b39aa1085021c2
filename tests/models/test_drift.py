"""A partition that has drifted warns, and one that has not does not, however many images there are."""

import numpy as np
import pytest

from imgmine.models.drift import measure_drift


def scores(count: int, mean: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, count)


CALIBRATION = scores(2000, seed=99)


def test_a_partition_like_the_calibration_has_not_drifted() -> None:
    drift = measure_drift(scores(5000), CALIBRATION, own_sample=True)
    assert not drift.is_clear
    assert drift.distance < 0.05
    assert drift.more_usual == pytest.approx(0.5, abs=0.03)


def test_a_partition_that_lies_elsewhere_has_drifted_and_the_side_is_told() -> None:
    drift = measure_drift(scores(500, -1.5), CALIBRATION, own_sample=True)
    assert drift.is_clear
    assert drift.p_value < 1e-9
    assert drift.more_usual < 0.2


def test_a_small_difference_of_very_many_images_is_significant_and_no_drift() -> None:
    drift = measure_drift(scores(200_000, 0.15), CALIBRATION, own_sample=True)
    assert drift.p_value < 1e-6
    assert not drift.is_clear


def test_a_large_difference_of_very_few_images_is_chance() -> None:
    drift = measure_drift(scores(3, -1.0, seed=2), CALIBRATION, own_sample=True)
    assert drift.distance > drift.allowed
    assert not drift.is_clear


def test_an_archive_that_the_detector_was_fitted_to_has_not_drifted_and_an_odd_one_has() -> None:
    fitted = scores(2000, 1.0, seed=7)
    for archive, drifted in ((fitted[:300], False), (fitted + 3, True), (scores(300, -1.5), True)):
        assert measure_drift(archive, CALIBRATION, own_sample=True, fitted=fitted).is_clear is drifted
    assert measure_drift(fitted[:300], CALIBRATION, own_sample=True).is_clear


@pytest.mark.parametrize(("odd", "drifted"), [(0.35, False), (0.9, True)])
def test_beside_a_chosen_reference_a_share_of_odd_images_is_no_drift(odd: float, drifted: bool) -> None:
    count = 1000
    mixed = np.concatenate([scores(round(count * (1 - odd))), scores(round(count * odd), -50)])
    assert measure_drift(mixed, CALIBRATION, own_sample=False).is_clear is drifted
    assert measure_drift(mixed, CALIBRATION, own_sample=True).is_clear


def test_no_images_have_not_drifted() -> None:
    drift = measure_drift(np.empty(0), CALIBRATION, own_sample=True)
    assert (drift.images, drift.is_clear) == (0, False)
