"""The Gaussian mixture that tells usual images from odd ones: its scores, percentiles, and storage without pickle.

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
from imgmine.models.density import Density, Subspace

PARAMETERS_FILE = "parameters.npz"
REPORT_FILE = "card.json"

_FORMAT = 1
_HEADER = ("format", "kind", "version", "embedder")
# A zip file cannot hold an earlier time; a fixed one keeps the bytes the same.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class GmmError(ImgmineError):
    """A stored mixture cannot be read, or it is asked to score what it was not made for."""


@dataclass(frozen=True)
class GmmModel:
    """A density of embeddings, and what its values mean.

    `embedder` is the version of the model whose vectors it scores. `training_scores` (t,) are the scores of the rows of
    the fit, in ascending order. `report` says how the density was chosen, in JSON's types.
    """

    embedder: str
    density: Density
    training_scores: np.ndarray
    calibration: Calibration
    report: Mapping[str, Any]

    @property
    def dimension(self) -> int:
        """The dimension d of the embeddings that it scores."""
        return self.density.dimension

    @cached_property
    def version(self) -> str:
        """Twelve hexadecimal digits of a BLAKE2b of the parameters, the calibration and the embedder's version."""
        digest = hashlib.blake2b(self.embedder.encode(), digest_size=6)
        for name, array in self._arrays().items():
            digest.update(f"\n{name} {array.shape}\n".encode())
            digest.update(np.asarray(array, "<f8").tobytes())
        return digest.hexdigest()

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each of (n, d) embeddings, float64 (n,), in nats: high is usual.

        Raises `GmmError` for another d.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise GmmError(
                f"The mixture {self.version} scores vectors of {self.dimension} dimensions (of {self.embedder}); "
                f"these are of shape {vectors.shape}. Materialize gmm_model again with the embedder in use."
            )
        return self.density.score(vectors)

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
                density=Density(
                    subspace=_subspace(arrays),
                    weights=arrays["weights"],
                    means=arrays["means"],
                    precisions_cholesky=arrays["precisions_cholesky"],
                ),
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

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {
            "weights": self.density.weights,
            "means": self.density.means,
            "precisions_cholesky": self.density.precisions_cholesky,
            "training_scores": self.training_scores,
            "calibration_scores": self.calibration.scores,
        }
        if (subspace := self.density.subspace) is not None:
            arrays |= {"mean": subspace.mean, "axes": subspace.axes, "noise": np.array(subspace.noise)}
        return arrays


def _subspace(arrays: Mapping[str, np.ndarray]) -> Subspace | None:
    if "mean" not in arrays:
        return None
    return Subspace(arrays["mean"], arrays["axes"], float(arrays["noise"]))


def _write_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return a NumPy `.npz` file of float64 arrays; unlike `numpy.savez`, without the time of writing."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array, "<f8", order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _ZIP_TIME), member.getvalue())
    return out.getvalue()


def _read_npz(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
