"""Every detector: odd is low, percentiles mean the same, and what is stored is what was fitted."""

import sys

import numpy as np
import pytest

from imgmine.models.anomaly_card import TEXT, anomaly_card
from imgmine.models.anomaly_fit import FitSettings, ReferenceTooSmall, fit_anomaly_model
from imgmine.models.anomaly_model import AnomalyModel, AnomalyModelError
from imgmine.models.detectors.base import DetectorError
from imgmine.models.detectors.kinds import check_detector
from imgmine.models.detectors.neighbours import Neighbours
from imgmine.models.gmm_fit import MixtureChoices
from tests.models.mixtures import planted

CHOICES = MixtureChoices(components=(1, 3), covariance_types=("full",), regularisations=(0.01,), restarts=1)
NAMES = ("gmm", "mahalanobis", "knn", "pyod:IForest", "pyod:LOF")


def fitted(name: str) -> AnomalyModel:
    return fit_anomaly_model(planted(1500, 3, 6, within=24), "x", FitSettings(detector=name, mixture=CHOICES))


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest) -> AnomalyModel:
    if request.param.startswith("pyod:"):
        pytest.importorskip("pyod")
    return fitted(request.param)


def test_odd_vectors_score_low(model: AnomalyModel) -> None:
    usual, odd = planted(300, 3, 6, within=24, sample=1), planted(300, 3, 6, within=24, seed=99)
    assert np.median(model.score(odd)) < np.quantile(model.score(usual), 0.05)


def test_a_percentile_means_the_same_for_every_detector(model: AnomalyModel) -> None:
    percentiles = model.percentile(model.score(planted(3000, 3, 6, within=24, sample=1)))
    assert (percentiles < 5).mean() == pytest.approx(0.05, abs=0.03)
    assert (percentiles < 50).mean() == pytest.approx(0.5, abs=0.08)


def test_a_score_depends_on_no_other_vector(model: AnomalyModel) -> None:
    fresh = planted(40, 3, 6, within=24, sample=2)
    # BLAS may sum one row in another order than many.
    np.testing.assert_allclose(
        np.concatenate([model.score(row[None]) for row in fresh]), model.score(fresh), rtol=1e-5, atol=1e-3
    )


def test_a_stored_detector_scores_the_same_and_holds_no_pickle(model: AnomalyModel) -> None:
    files = model.files()
    loaded = AnomalyModel.from_files(files)
    fresh = planted(100, 3, 6, within=24, sample=3)
    np.testing.assert_array_equal(loaded.score(fresh), model.score(fresh))
    assert (loaded.kind, loaded.version, loaded.files()) == (model.kind, model.version, files)


def test_no_vectors_have_no_scores_and_other_dimensions_are_refused(model: AnomalyModel) -> None:
    assert model.score(np.empty((0, 24), np.float32)).shape == (0,)
    with pytest.raises(AnomalyModelError, match="scores vectors of 24 dimensions"):
        model.score(np.zeros((2, 25), np.float32))


def test_the_card_says_what_a_score_is(model: AnomalyModel) -> None:
    card = anomaly_card(model)
    assert model.report["score"] in card[TEXT].decode()
    assert ("choice.png" in card) == (model.kind == "gmm")


def test_a_row_of_the_reference_is_not_its_own_neighbour() -> None:
    assert fitted("knn").report["overfit"]["share"] == pytest.approx(0.5, abs=0.06)


def test_a_picture_of_the_reference_is_judged_as_if_it_were_not_in_it() -> None:
    rows = planted(400, 1, 6, within=24)
    detector, training_scores = Neighbours.fit(rows)
    np.testing.assert_array_equal(detector.score(rows), training_scores)
    without_it = [Neighbours(np.delete(rows, row, axis=0)).score(rows[row : row + 1])[0] for row in range(20)]
    np.testing.assert_allclose(detector.score(rows[:20]), without_it, rtol=1e-4)
    # Of two that are the same, one is a neighbour of the other.
    twice = Neighbours(np.concatenate([rows, rows[:1]]))
    assert twice.score(rows[:1])[0] > detector.score(rows[:1])[0]
    assert Neighbours.fit(rows[:2]).detector.score(rows[5:8]).shape == (3,)


@pytest.mark.parametrize("name", ["pyod:ECOD", "pyod:AutoEncoder", "pyod:", "nearest", ""])
def test_detectors_that_do_not_serve_are_named(name: str) -> None:
    with pytest.raises(DetectorError, match=r"own\. There are|models that serve here are|no such detector"):
        check_detector(name)


def test_each_detector_says_how_many_images_it_needs() -> None:
    with pytest.raises(ReferenceTooSmall, match="60 reference images are too few: at least 100"):
        fit_anomaly_model(planted(60, 1, 4), "x", FitSettings(detector="knn"))


def test_detectors_do_not_bring_pytorch() -> None:
    pytest.importorskip("pyod")
    fitted("pyod:IForest")
    assert "torch" not in sys.modules
