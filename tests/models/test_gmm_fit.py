"""What is chosen, why, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from imgmine.models.anomaly_fit import (
    FitSettings,
    ReferenceTooSmall,
    deal_rows,
    fit_anomaly_model,
    measure_overfit,
    required_rows,
)
from imgmine.models.detectors.density import Density
from imgmine.models.gmm_fit import Candidate, MixtureChoices, choose
from imgmine.models.subspaces import AllTheSame, subspace_candidates
from tests.models.mixtures import planted

CHOICES = MixtureChoices(components=(1, 2, 3, 4, 5, 6, 8), covariance_types=("full",), regularisations=(0.01,))
QUICK = FitSettings(mixture=CHOICES)


@pytest.mark.parametrize("components", [1, 3, 5])
def test_a_planted_number_of_components_is_found(components: int) -> None:
    model = fit_anomaly_model(planted(1500, components, 5, seed=components), "x", QUICK)
    assert model.report["chosen"]["components"] == components
    assert len(model.detector.weights) == components


def test_a_planted_subspace_is_found() -> None:
    model = fit_anomaly_model(planted(700, 3, 8, within=96), "x", QUICK)
    assert model.report["dimensions"]["chosen"] == 8
    assert model.report["chosen"]["components"] == 3
    assert model.dimension == 96


def test_percentiles_are_uniform_on_fresh_images_of_the_same_kind() -> None:
    model = fit_anomaly_model(planted(4000, 3, 6, within=24), "x", QUICK)
    fresh = model.percentile(model.score(planted(1500, 3, 6, within=24, sample=1)))
    assert stats.kstest(fresh / 100, "uniform").pvalue > 0.01


def test_images_of_another_kind_are_below_the_threshold() -> None:
    model = fit_anomaly_model(planted(1000, 3, 6, within=24), "x", QUICK)
    other = model.percentile(model.score(planted(500, 3, 6, within=24, seed=99)))
    assert (other < 5).mean() > 0.99


def test_the_same_rows_and_seed_give_the_same_bytes_and_another_seed_others() -> None:
    rows = planted(400, 3, 6, within=24)
    first, again = fit_anomaly_model(rows, "x", QUICK), fit_anomaly_model(rows, "x", QUICK)
    assert first.files() == again.files()
    assert fit_anomaly_model(rows, "x", replace(QUICK, seed=1)).version != first.version


def test_the_whole_curve_is_in_the_report() -> None:
    choices = replace(CHOICES, regularisations=(0.01, 0.1), covariance_types=("full", "diag"))
    settings = FitSettings(mixture=choices)
    report = fit_anomaly_model(planted(1000, 3, 6), "x", settings, {"source": "a test"}).report
    tried = [(c["components"], c["covariance_type"]) for c in report["candidates"]]
    assert tried[:4] == [(1, "full"), (2, "full"), (3, "full"), (4, "full")]
    assert {(1, "diag"), (2, "diag"), (3, "diag")} < set(tried)
    assert len({c["regularisation"] for c in report["candidates"]}) == 2
    assert report["reference"] == {"rows": 1000, "source": "a test"}
    assert report["rows"] == {"training": 600, "validation": 200, "calibration": 200}
    assert "components, full covariance" in report["reason"]


def candidate(components: int, bic: float, behind: float = 0.0, error: float = 0.0) -> Candidate:
    return Candidate(components, "full", 0.01, bic, 0.0, 0.0, converged=True, behind=behind, behind_error=error)


def test_of_those_as_good_as_the_best_the_lowest_bic_is_chosen() -> None:
    best = candidate(8, bic=90)
    as_good = candidate(4, bic=50, behind=0.1, error=0.2)
    simple_but_worse = candidate(1, bic=10, behind=0.5, error=0.2)
    assert choose([best, as_good, simple_but_worse]) == as_good
    assert choose([best, simple_but_worse]) == best


def test_a_reference_that_is_too_small_is_refused_with_the_number_that_is_needed() -> None:
    assert required_rows(FitSettings()) == 100
    assert required_rows(FitSettings(percentile=1)) == 500
    assert required_rows(FitSettings(mixture=MixtureChoices(components=(16,), dimensions=(512,)))) == 27360
    full = MixtureChoices(components=(1,), dimensions=(32,), covariance_types=("full",))
    assert required_rows(FitSettings(mixture=full)) == 534  # ten for each of 32 dimensions, of three fifths
    full = replace(full, components=(4,))
    assert required_rows(FitSettings(mixture=full)) == 1169  # ten numbers for each of 2,243 parameters
    fit_anomaly_model(planted(100, 1, 2, within=64), "x", FitSettings())
    with pytest.raises(ReferenceTooSmall, match="99 reference images are too few: at least 100"):
        fit_anomaly_model(planted(99, 1, 2, within=64), "x", FitSettings())
    with pytest.raises(ReferenceTooSmall, match="at least 27360"):
        fit_anomaly_model(
            planted(300, 1, 2, within=512),
            "x",
            FitSettings(mixture=MixtureChoices(components=(16,), dimensions=(512,))),
        )


def test_a_reference_of_too_few_groups_is_refused() -> None:
    rows = planted(200, 1, 2, within=64)
    with pytest.raises(ReferenceTooSmall, match=r"too many are nearly the same: .* 0 are left for training"):
        fit_anomaly_model(rows, "x", QUICK, groups=np.zeros(200, int))


def test_no_more_components_are_tried_than_the_rows_can_carry() -> None:
    report = fit_anomaly_model(planted(150, 2, 8, within=64), "x", FitSettings()).report
    assert max(c["components"] for c in report["candidates"]) < 8


def test_the_curve_ends_where_two_in_a_row_are_worse_by_both_measures() -> None:
    report = fit_anomaly_model(
        planted(1500, 2, 5), "x", FitSettings(mixture=replace(CHOICES, components=tuple(range(1, 20))))
    ).report
    assert max(c["components"] for c in report["candidates"]) < 10


def test_a_subspace_is_judged_by_rows_that_its_noise_was_not_estimated_on() -> None:
    rng = np.random.default_rng(0)
    training, calm, loud = rng.normal(size=(200, 30)), rng.normal(size=(50, 30)), 10 * rng.normal(size=(50, 30))
    [mixed] = subspace_candidates(training, np.concatenate([calm, loud]), (2,))[:1]
    [alike] = subspace_candidates(training, np.concatenate([calm[:25], loud[:25], calm[25:], loud[25:]]), (2,))[:1]
    assert mixed.noise == pytest.approx(alike.noise)
    assert mixed.bic == alike.bic
    # Where one half is as the other, its noise fits; the noise of the calm half makes the loud one very unlikely.
    assert mixed.held_out_log_likelihood < 5 * alike.held_out_log_likelihood < 0


def test_images_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(AllTheSame, match="all the same"):
        fit_anomaly_model(np.ones((200, 16), np.float32), "x", FitSettings())


def test_copies_of_few_images_do_not_break_the_fit() -> None:
    model = fit_anomaly_model(np.repeat(planted(10, 1, 16), 30, axis=0), "x", FitSettings())
    assert np.isfinite(model.calibration.scores).all()


def test_a_mixture_that_knows_its_rows_by_heart_warns() -> None:
    settings = FitSettings(mixture=MixtureChoices((3,), (40,), ("full",), (1e-6,)))
    report = fit_anomaly_model(planted(1200, 1, 40), "x", settings).report
    assert report["overfit"]["gap"] > 1
    assert any("overfitted" in warning for warning in report["warnings"])
    calm = fit_anomaly_model(planted(1200, 1, 4), "x", FitSettings(mixture=replace(CHOICES, components=(1,)))).report
    assert not any("overfitted" in warning for warning in calm["warnings"])


def test_overfit_is_measured_by_how_often_a_row_of_the_fit_scores_higher() -> None:
    assert measure_overfit(np.array([1.0, 2.0]), np.array([1.0, 2.0])).share == 0.5
    assert measure_overfit(np.array([3.0, 4.0]), np.array([1.0, 2.0])).share == 1.0
    assert measure_overfit(np.array([1.0, 3.0]), np.array([2.0])).share == 0.5


def test_groups_are_dealt_whole() -> None:
    groups = np.repeat(np.arange(60), 9)
    dealt = deal_rows(len(groups), 3, groups)
    assert sorted(np.concatenate(dealt)) == list(range(len(groups)))
    assert [len(part) for part in dealt] == [324, 108, 108]
    found = [set(groups[part]) for part in dealt]
    assert not found[0] & found[1]
    assert not (found[0] | found[1]) & found[2]


def test_crops_of_one_photograph_do_not_calibrate_by_their_siblings() -> None:
    photographs = planted(100, 1, 30, seed=5)
    crops = np.repeat(photographs, 8, axis=0) + np.random.default_rng(0).normal(0, 0.1, (800, 30)).astype(np.float32)
    strangers = planted(400, 1, 30, seed=5, sample=1)
    kept = []
    for groups in (None, np.repeat(np.arange(100), 8)):
        model = fit_anomaly_model(crops, "x", FitSettings(detector="knn"), groups=groups)
        kept.append((model.percentile(model.score(strangers)) >= 5).mean())
    assert kept[0] < 0.1
    assert kept[1] > 0.8


def test_noise_outside_the_subspace_is_that_of_held_out_images() -> None:
    rows = planted(300, 2, 4, within=200)
    model = fit_anomaly_model(rows, "x", FitSettings(mixture=MixtureChoices((2,), (4,), ("full",), (0.01,))))
    assert isinstance(model.detector, Density)
    assert model.detector.subspace is not None
    assert model.detector.subspace.noise == pytest.approx(0.05**2, rel=0.05)
