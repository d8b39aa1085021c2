"""The probe: what it learns, what it admits, and when it does not run."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from imgmine.models.alike import group_alike
from imgmine.models.probe import LEAST, STRENGTHS, TooFewLabels, fit_probe, require_enough, sigmoid


def pictures(count: int, apart: float, dimension: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of norm 1 of two kinds, `apart` standard deviations from each other, and which kind each is."""
    rng = np.random.default_rng(seed)
    values = np.arange(count) % 2 == 0
    vectors = rng.normal(size=(count, dimension))
    vectors[:, 0] += apart * values
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), values


def test_it_tells_fresh_pictures_apart_as_well_as_it_says() -> None:
    vectors, values = pictures(600, 2.0)
    probe = fit_probe(vectors[:200], values[:200])
    found = probe.probability(vectors[200:])
    order = np.argsort(np.argsort(found)) + 1
    yes = values[200:].sum()
    auroc = (order[values[200:]].sum() - yes * (yes + 1) / 2) / (yes * (400 - yes))
    assert abs(auroc - probe.estimate.auroc) < 0.06
    assert 0.8 < probe.estimate.auroc < 0.95
    assert probe.estimate.log_loss < probe.estimate.prior_log_loss


def test_labels_given_by_lot_are_no_better_than_chance() -> None:
    vectors, _ = pictures(120, 0.0)
    values = np.random.default_rng(1).random(120) < 0.5
    estimate = fit_probe(vectors, values).estimate
    assert abs(estimate.auroc - 0.5) < 0.15
    assert estimate.spread > 0


def test_it_equals_the_fit_in_all_dimensions() -> None:
    vectors, values = pictures(60, 3.0, dimension=200)
    probe = fit_probe(vectors, values)
    scaled = vectors.astype(np.float64) * np.sqrt(200)
    direct = LogisticRegression(C=probe.strength, max_iter=5000, tol=1e-8).fit(scaled, values)
    assert np.allclose(probe.probability(vectors), direct.predict_proba(scaled)[:, 1], atol=2e-3)
    assert probe.strength in STRENGTHS


def test_the_same_labels_give_the_same_probe() -> None:
    vectors, values = pictures(60, 3.0)
    one, two = (fit_probe(vectors, values, seed=3) for _ in range(2))
    assert np.array_equal(one.weights, two.weights)
    assert np.array_equal(one.estimate.aurocs, two.estimate.aurocs)


def test_the_number_of_threads_changes_nothing() -> None:
    vectors, values = pictures(44, 2.0, dimension=512)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(fit_probe(vectors, values))
    assert np.array_equal(found[0].weights, found[1].weights)


def test_copies_of_one_picture_are_never_on_both_sides() -> None:
    """Forty copies of each of three pictures: no number of copies makes a probe."""
    vectors, _ = pictures(3, 0.0)
    copies = np.repeat(vectors, 40, axis=0)
    assert len(np.unique(group_alike(copies))) == 3
    with pytest.raises(TooFewLabels, match=f"2 distinct pictures are labelled yes and 1 no; {LEAST} of each"):
        fit_probe(copies, np.repeat([True, False, True], 40))


@pytest.mark.parametrize(("yes", "no"), [(0, 0), (LEAST, 0), (LEAST - 1, 100), (100, LEAST - 1)])
def test_too_few_labels_are_refused_with_how_many_there_are(yes: int, no: int) -> None:
    values = np.repeat([True, False], [yes, no])
    with pytest.raises(TooFewLabels, match=f"^{yes} distinct pictures are labelled yes and {no} no"):
        require_enough(values, np.arange(yes + no))


def test_the_sigmoid_does_not_overflow() -> None:
    with np.errstate(all="raise"):
        assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
