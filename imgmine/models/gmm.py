"""A fitted Gaussian mixture over embeddings: scoring, percentiles, and its storage without pickle.

How one is fitted is in `gmm_fit`; what is drawn of it in `gmm_card`.
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

from imgmine.errors import ImgmineError
from imgmine.models.calibration import Calibration, CalibrationError

PARAMETERS_FILE = "parameters.npz"
REPORT_FILE = "card.json"

_FORMAT = 1
_CHUNK = 4096
# A zip file cannot hold an earlier time; a fixed one keeps the bytes the same.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class GmmError(ImgmineError):
    """A stored mixture cannot be read, or it is asked to score what it was not made for."""


@dataclass(frozen=True)
class GmmModel:
    """A mixture of k Gaussians in e dimensions over embeddings of d dimensions.

    `mean` (d,) and `projection` (e, d) are a PCA, or None where the mixture is over the embeddings themselves (e = d).
    `weights` (k,), `means` (k, e) and `precisions_cholesky` (k, e, e) are scikit-learn's, for full covariances; other
    types are stored as the full ones that they equal. `training_scores` (t,) are the scores of the rows of the fit, in
    ascending order. All float64. `embedder` is the version of the model whose vectors it scores; `report` says how it
    was chosen, in JSON's types.
    """

    embedder: str
    mean: np.ndarray | None
    projection: np.ndarray | None
    weights: np.ndarray
    means: np.ndarray
    precisions_cholesky: np.ndarray
    training_scores: np.ndarray
    calibration: Calibration
    report: Mapping[str, Any]

    @property
    def dimension(self) -> int:
        """The dimension d of the embeddings that it scores."""
        return int(self.means.shape[1] if self.projection is None else self.projection.shape[1])

    @cached_property
    def version(self) -> str:
        """Twelve hexadecimal digits of a BLAKE2b of the parameters, the calibration and the embedder's version."""
        digest = hashlib.blake2b(self.embedder.encode(), digest_size=6)
        for name, array in self._arrays().items():
            digest.update(f"\n{name} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array, "<f8").tobytes())
        return digest.hexdigest()

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each of (n, d) embeddings, float64 (n,), in nats.

        It is that of scikit-learn's `score_samples`, after its PCA's `transform`. Raises `GmmError` for another d.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise GmmError(
                f"The mixture {self.version} scores vectors of {self.dimension} dimensions (of {self.embedder}); "
                f"these are of shape {vectors.shape}. Fit the mixture again with the embedder in use."
            )
        scores = np.empty(len(vectors))
        for start in range(0, len(vectors), _CHUNK):
            scores[start : start + _CHUNK] = self._score_chunk(vectors[start : start + _CHUNK].astype(np.float64))
        return scores

    def percentile(self, scores: np.ndarray) -> np.ndarray:
        """Return the percentile of log-likelihoods among held-out reference images, from 0 to 100."""
        return self.calibration.percentile(scores)

    def files(self) -> dict[str, bytes]:
        """Return the mixture as files: `parameters.npz` and `card.json`. Equal mixtures give equal bytes."""
        header = {"format": _FORMAT, "kind": "gmm", "version": self.version, "embedder": self.embedder}
        card = json.dumps({**header, **self.report}, indent=1, sort_keys=True, allow_nan=False)
        return {PARAMETERS_FILE: _write_npz(self._arrays()), REPORT_FILE: card.encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "GmmModel":
        """Read what `files` returned. Raises `GmmError` where it is incomplete, damaged, or not what its card says."""
        try:
            card = json.loads(files[REPORT_FILE])
            if not isinstance(card, dict) or (card.get("format"), card.get("kind")) != (_FORMAT, "gmm"):
                raise GmmError(f"{REPORT_FILE} is not the card of a mixture of format {_FORMAT}.")
            arrays = _read_npz(files[PARAMETERS_FILE])
            model = cls(
                embedder=card["embedder"],
                mean=arrays.get("mean"),
                projection=arrays.get("projection"),
                weights=arrays["weights"],
                means=arrays["means"],
                precisions_cholesky=arrays["precisions_cholesky"],
                training_scores=arrays["training_scores"],
                calibration=Calibration(arrays["calibration_scores"]),
                report={key: value for key, value in card.items() if key not in _HEADER},
            )
        except KeyError as error:
            raise GmmError(f"A stored mixture lacks {error}. Materialize gmm_model again.") from error
        except (ValueError, zipfile.BadZipFile, OSError, EOFError, CalibrationError) as error:
            raise GmmError(f"A stored mixture cannot be read: {error}. Materialize gmm_model again.") from error
        if model.version != card["version"]:
            raise GmmError(f"The parameters are those of {model.version}; {REPORT_FILE} is that of {card['version']}.")
        return model

    def _score_chunk(self, vectors: np.ndarray) -> np.ndarray:
        points = vectors
        if self.mean is not None and self.projection is not None:
            points = (vectors - self.mean) @ self.projection.T
        logs = np.empty((len(points), len(self.weights)))
        for component, (centre, cholesky) in enumerate(zip(self.means, self.precisions_cholesky, strict=True)):
            whitened = points @ cholesky
            whitened -= centre @ cholesky
            logs[:, component] = -0.5 * np.einsum("ij,ij->i", whitened, whitened)
        logs += self._log_constants
        highest = logs.max(axis=1)
        return np.asarray(highest + np.log(np.exp(logs - highest[:, None]).sum(axis=1)))

    @cached_property
    def _log_constants(self) -> np.ndarray:
        """The log of each component's weight and of its density's constant: (k,)."""
        diagonals = np.diagonal(self.precisions_cholesky, axis1=1, axis2=2)
        log_determinants = np.log(diagonals).sum(axis=1)
        return np.asarray(np.log(self.weights) + log_determinants - 0.5 * self.means.shape[1] * np.log(2 * np.pi))

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {
            "weights": self.weights,
            "means": self.means,
            "precisions_cholesky": self.precisions_cholesky,
            "training_scores": self.training_scores,
            "calibration_scores": self.calibration.scores,
        }
        if self.mean is not None and self.projection is not None:
            arrays |= {"mean": self.mean, "projection": self.projection}
        return arrays


_HEADER = ("format", "kind", "version", "embedder")


def _write_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return a NumPy `.npz` file of float64 arrays; unlike `numpy.savez`, without the time of writing."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array, "<f8"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _ZIP_TIME), member.getvalue())
    return out.getvalue()


def _read_npz(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
