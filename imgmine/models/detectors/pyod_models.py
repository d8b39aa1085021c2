"""PyOD's detectors (https://pyod.readthedocs.io), an optional extra: `pip install 'imgmine[pyod]'`.

PyOD stores its models with pickle, which runs whatever a file says; here the rows are kept, and fitted again.
"""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from imgmine.models.detectors.base import DetectorError, Fitted

# Those that need no PyTorch and are fitted in seconds: class → module of `pyod.models`.
MODELS = {
    "CBLOF": "cblof",
    "HBOS": "hbos",
    "IForest": "iforest",
    "INNE": "inne",
    "KDE": "kde",
    "LODA": "loda",
    "LOF": "lof",
    "OCSVM": "ocsvm",
    "PCA": "pca",
}
# Their score of a picture depends on the pictures that are scored with it: an archive's table would not be its own.
BATCH_DEPENDENT = frozenset({"COPOD", "ECOD"})

_PROBES = 16
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class PyodModel:
    """`rows` (n, d), float32, which PyOD's model of this name is fitted to, with `seed` where it draws lots.

    `probe_scores` are the scores of the first rows, by which a model that is fitted again is known to be the same.
    """

    name: str
    rows: np.ndarray
    seed: int
    probe_scores: np.ndarray

    @classmethod
    def fit(cls, name: str, rows: np.ndarray, seed: int) -> Fitted:
        """Fit to (n, d) rows. Raises `DetectorError` where PyOD is not installed or has no such model for this."""
        unprobed = cls(name, rows.astype(np.float32), seed, np.empty(0))
        scores = unprobed._model.decision_scores_
        detector = cls(name, unprobed.rows, seed, unprobed.score(unprobed.rows[:_PROBES]))
        return Fitted(detector, -np.asarray(scores, np.float64))

    @property
    def dimension(self) -> int:
        return int(self.rows.shape[1])

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """Return the negative anomaly score of (n, d) vectors, as PyOD's `decision_function`: float64 (n,)."""
        if not len(vectors):
            return np.empty(0)
        return -np.asarray(self._model.decision_function(vectors.astype(np.float64)), np.float64)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"rows": self.rows, "seed": np.array(self.seed, np.int64), "probe_scores": self.probe_scores}

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, np.ndarray]) -> "PyodModel":
        """Read what `arrays` returned. Raises `DetectorError` where the PyOD that is installed gives other scores."""
        detector = cls(name, arrays["rows"], int(arrays["seed"]), arrays["probe_scores"])
        scores = detector.score(detector.rows[:_PROBES])
        if not np.allclose(scores, detector.probe_scores, rtol=_TOLERANCE, atol=_TOLERANCE):
            raise DetectorError(
                f"PyOD's {name} gives other scores than when gmm_model was made: another PyOD or scikit-learn is "
                "installed. Materialize gmm_model again."
            )
        return detector

    @cached_property
    def _model(self) -> Any:
        constructor = _constructor(self.name)
        seeded = "random_state" in inspect.signature(constructor).parameters
        return constructor(**({"random_state": self.seed} if seeded else {})).fit(self.rows.astype(np.float64))


def check_name(name: str) -> None:
    """Raise `DetectorError` where a model of this name does not serve here."""
    if name in BATCH_DEPENDENT:
        raise DetectorError(
            f"pyod:{name} scores a picture by the pictures that are scored with it, so no score would be an image's "
            f"own. There are {', '.join(f'pyod:{model}' for model in MODELS)}."
        )
    if name not in MODELS:
        raise DetectorError(f"PyOD's models that serve here are {', '.join(f'pyod:{model}' for model in MODELS)}.")


def _constructor(name: str) -> Any:
    check_name(name)
    try:
        return getattr(importlib.import_module(f"pyod.models.{MODELS[name]}"), name)
    except ModuleNotFoundError as error:
        raise DetectorError(
            f"IMGMINE_DETECTOR=pyod:{name} needs PyOD ({error.name} is missing): pip install 'imgmine[pyod]'."
        ) from error
