"""The detectors by name, as `IMGMINE_DETECTOR` gives it: `gmm`, `mahalanobis`, `knn`, or `pyod:` and a model of PyOD.

How the mixture is chosen is in `gmm_fit`; the others have nothing to choose.
"""

from collections.abc import Mapping

import numpy as np

from imgmine.models.detectors.base import Detector, DetectorError, Fitted
from imgmine.models.detectors.density import Density
from imgmine.models.detectors.mahalanobis import Mahalanobis
from imgmine.models.detectors.neighbours import NEIGHBOURS, Neighbours
from imgmine.models.detectors.pyod_models import MODELS, PyodModel, check_name

GMM, MAHALANOBIS, KNN = "gmm", "mahalanobis", "knn"
_PYOD = "pyod:"
NAMES = (GMM, MAHALANOBIS, KNN, *(_PYOD + model for model in MODELS))
"""All that can be chosen."""


def check_detector(name: str) -> None:
    """Raise `DetectorError` where there is no detector of this name."""
    if name.startswith(_PYOD):
        check_name(name.removeprefix(_PYOD))
    elif name not in NAMES:
        raise DetectorError(
            f"There is no such detector; there are {', '.join(NAMES)}, the last {len(MODELS)} with PyOD."
        )


def fit_plain(name: str, rows: np.ndarray, seed: int) -> Fitted:
    """Fit any detector but the mixture to (n, d) rows. Raises `DetectorError`."""
    check_detector(name)
    if name == MAHALANOBIS:
        return Mahalanobis.fit(rows)
    if name == KNN:
        return Neighbours.fit(rows)
    return PyodModel.fit(name.removeprefix(_PYOD), rows, seed)


def read_detector(name: str, arrays: Mapping[str, np.ndarray]) -> Detector:
    """Return the detector that these arrays are of. Raises `DetectorError`, and `KeyError` for a missing array."""
    check_detector(name)
    if name == GMM:
        return Density.from_arrays(arrays)
    if name == MAHALANOBIS:
        return Mahalanobis.from_arrays(arrays)
    if name == KNN:
        return Neighbours.from_arrays(arrays)
    return PyodModel.from_arrays(name.removeprefix(_PYOD), arrays)


def meaning(name: str) -> str:
    """Return what a score of this detector is, for cards and column descriptions."""
    if name == GMM:
        return "the log-likelihood, in nats"
    if name == MAHALANOBIS:
        return "the negative Mahalanobis distance from the reference's mean, in standard deviations"
    if name == KNN:
        return f"the negative mean distance to the {NEIGHBOURS} nearest reference images"
    return f"the negative anomaly score of PyOD's {name.removeprefix(_PYOD)}"
