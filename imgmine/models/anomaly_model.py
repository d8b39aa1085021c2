"""The anomaly model: a detector of any kind, what its scores mean, and its storage without pickle.

How one is fitted is in `anomaly_fit`; what is drawn of it in `anomaly_card`.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from imgmine.errors import PersonNeeded
from imgmine.models.calibration import Calibration, CalibrationError
from imgmine.models.detectors.base import Detector, DetectorError
from imgmine.models.detectors.kinds import read_detector

PARAMETERS_FILE = "parameters.npz"
REPORT_FILE = "card.json"

_FORMAT = 2
_HEADER = ("format", "kind", "version", "embedder")
_CALIBRATION = ("training_scores", "calibration_scores")
# A zip file cannot hold an earlier time; a fixed one keeps the bytes the same.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class AnomalyModelError(PersonNeeded):
    """A stored anomaly model cannot be read, or it is asked to score what it was not made for."""


@dataclass(frozen=True)
class AnomalyModel:
    """A detector of embeddings, and what its scores mean.

    `kind` is the detector's name (`detectors.kinds`), `embedder` the version of the model whose vectors it scores.
    `training_scores` (t,) are the scores of the rows of the fit, in ascending order. `report` says how the detector was
    chosen, in JSON's types.
    """

    kind: str
    embedder: str
    detector: Detector
    training_scores: np.ndarray
    calibration: Calibration
    report: Mapping[str, Any]

    @property
    def dimension(self) -> int:
        """The dimension d of the embeddings that it scores."""
        return self.detector.dimension

    @cached_property
    def version(self) -> str:
        """Twelve hexadecimal digits of a BLAKE2b of the parameters, the calibration, the kind and the embedder."""
        digest = hashlib.blake2b(f"{self.kind}\n{self.embedder}".encode(), digest_size=6)
        for name, array in self._arrays().items():
            stored = _as_stored(array)
            digest.update(f"\n{name} {stored.dtype.str} {stored.shape}\n".encode())
            digest.update(stored.tobytes())
        return digest.hexdigest()

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """Return the usualness of each of (n, d) embeddings, float64 (n,): high is usual.

        A log-likelihood in nats for a mixture, a negative distance for other detectors (`detectors.kinds.meaning`).
        Raises `AnomalyModelError` for another d.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise AnomalyModelError(
                f"The anomaly model {self.version} scores vectors of {self.dimension} dimensions (of {self.embedder}); "
                f"these are of shape {vectors.shape}. Materialize gmm_model again with the embedder in use."
            )
        return self.detector.score(vectors)

    def percentile(self, scores: np.ndarray) -> np.ndarray:
        """Return the percentile of scores among held-out reference images, from 0 to 100."""
        return self.calibration.percentile(scores)

    def files(self) -> dict[str, bytes]:
        """Return the model as files: `parameters.npz` and `card.json`. Equal models give equal bytes."""
        header = {"format": _FORMAT, "kind": self.kind, "version": self.version, "embedder": self.embedder}
        card = json.dumps({**header, **self.report}, indent=1, sort_keys=True, allow_nan=False)
        return {PARAMETERS_FILE: _write_npz(self._arrays()), REPORT_FILE: card.encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "AnomalyModel":
        """Read what `files` returned. Raises `AnomalyModelError` where it is incomplete, damaged, or another's."""
        try:
            card = json.loads(files[REPORT_FILE])
            if not isinstance(card, dict) or card.get("format") != _FORMAT:
                raise AnomalyModelError(
                    f"{REPORT_FILE} is not the card of an anomaly model of format {_FORMAT}. "
                    "Materialize gmm_model again."
                )
            arrays = _read_npz(files[PARAMETERS_FILE])
            model = cls(
                kind=card["kind"],
                embedder=card["embedder"],
                detector=read_detector(card["kind"], arrays),
                training_scores=arrays["training_scores"],
                calibration=Calibration(arrays["calibration_scores"]),
                report={key: value for key, value in card.items() if key not in _HEADER},
            )
            said = card["version"]
        except KeyError as error:
            raise AnomalyModelError(f"A stored anomaly model lacks {error}. Materialize gmm_model again.") from error
        except (ValueError, zipfile.BadZipFile, OSError, EOFError, CalibrationError, DetectorError) as error:
            raise AnomalyModelError(
                f"A stored anomaly model cannot be read: {error} Materialize gmm_model again."
            ) from error
        if model.version != said:
            raise AnomalyModelError(
                f"The parameters are those of {model.version}; {REPORT_FILE} is that of {said}. Materialize gmm_model "
                "again."
            )
        return model

    def _arrays(self) -> dict[str, np.ndarray]:
        scores = (self.training_scores, self.calibration.scores)
        return {**self.detector.arrays(), **dict(zip(_CALIBRATION, scores, strict=True))}


def _as_stored(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _write_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return a NumPy `.npz` file of the arrays; unlike `numpy.savez`, without the time of writing."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, _as_stored(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _ZIP_TIME), member.getvalue())
    return out.getvalue()


def _read_npz(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
