"""Points drawn from mixtures that are known."""

import numpy as np

from imgmine.models.anomaly_model import AnomalyModel
from imgmine.models.calibration import Calibration
from imgmine.models.detectors.density import Density


def planted(
    rows: int, components: int, dimensions: int, *, seed: int = 0, sample: int = 0, within: int | None = None
) -> np.ndarray:
    """Return (rows, within or dimensions) float32 points of a mixture of correlated Gaussians.

    `seed` draws the mixture, `sample` the points of it. With `within`, the mixture lies in a subspace of a space of so
    many dimensions, with a little noise around it.
    """
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(components, dimensions)) * 4
    shapes = np.eye(dimensions) + 0.4 * rng.normal(size=(components, dimensions, dimensions))
    axes = np.linalg.qr(rng.normal(size=(within, dimensions)))[0].T if within else np.eye(dimensions)
    draw = np.random.default_rng([seed, sample])
    chosen = draw.integers(components, size=rows)
    points = means[chosen] + np.einsum("nij,nj->ni", shapes[chosen], draw.normal(size=(rows, dimensions)))
    noise = 0.05 * draw.normal(size=(rows, within)) if within else 0.0
    return (points @ axes + noise).astype(np.float32)


def small_model(dimension: int = 4) -> AnomalyModel:
    """A model of one standard Gaussian, calibrated on draws of it."""
    density = Density(None, np.ones(1), np.zeros((1, dimension)), np.eye(dimension)[None])
    draws = np.random.default_rng(0).normal(size=(99, dimension))
    scores = np.sort(density.score(draws))
    return AnomalyModel("gmm", "a-model-0123", density, scores, Calibration(scores), {"warnings": []})
