"""The density is scikit-learn's, by another road."""

from typing import get_args

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from imgmine.models.anomaly_fit import FitSettings, fit_anomaly_model
from imgmine.models.detectors.density import Density, Subspace
from imgmine.models.gmm_fit import CovarianceType, MixtureChoices
from tests.models.mixtures import planted


@pytest.mark.parametrize("covariance_type", get_args(CovarianceType))
@pytest.mark.parametrize("spread", [1, 30])  # far out too, where the sum of the components' exponentials is 0
def test_scores_equal_scikit_learns_score_samples(covariance_type: CovarianceType, spread: int) -> None:
    theirs = GaussianMixture(4, covariance_type=covariance_type, random_state=0)
    theirs.fit(planted(1000, 4, 20).astype(np.float64))
    fresh = planted(9000, 4, 20, sample=1).astype(np.float64) * spread
    np.testing.assert_allclose(Density.of(theirs).score(fresh), theirs.score_samples(fresh), rtol=1e-5, atol=1e-3)


def test_one_gaussian_in_a_subspace_is_scikit_learns_probabilistic_pca() -> None:
    rows = planted(500, 3, 6, within=40).astype(np.float64)
    pca = PCA(6, svd_solver="full").fit(rows)
    subspace = Subspace(pca.mean_, pca.components_, float(pca.noise_variance_))
    factor = np.diag(1 / np.sqrt(pca.explained_variance_))
    density = Density(subspace, np.ones(1), np.zeros((1, 6)), factor[None])
    fresh = planted(300, 3, 6, within=40, sample=1)
    np.testing.assert_allclose(density.score(fresh), pca.score_samples(fresh.astype(np.float64)), rtol=1e-5)


def test_what_lies_outside_the_subspace_is_odd() -> None:
    rows = planted(600, 2, 4, within=32)
    choices = MixtureChoices(components=(2,), dimensions=(4,), restarts=1)
    density = fit_anomaly_model(rows, "x", FitSettings(mixture=choices)).detector
    assert isinstance(density, Density)
    assert density.subspace is not None
    axes = np.vstack([density.subspace.axes, np.eye(32)[:1]])
    outward = np.linalg.qr(axes.T)[0][:, -1]
    usual = planted(100, 2, 4, within=32, sample=1)
    assert density.score(usual + outward.astype(np.float32)).max() < density.score(usual).min()


def test_no_vectors_have_no_scores() -> None:
    density = Density(None, np.ones(1), np.zeros((1, 3)), np.eye(3)[None])
    assert density.score(np.empty((0, 3), np.float32)).shape == (0,)
