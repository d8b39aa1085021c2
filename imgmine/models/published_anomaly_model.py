"""The fitted anomaly model in the store: every version under its own name, and which one is in use.

What it is, and how it becomes bytes, is in `anomaly_model`.
"""

import json
from collections.abc import Mapping

from imgmine.errors import ImgmineError, PersonNeeded
from imgmine.models.anomaly_model import PARAMETERS_FILE, REPORT_FILE, AnomalyModel, AnomalyModelError
from imgmine.store.base import NotInStore, Store

_FOLDER = "models/anomaly"
CURRENT_KEY = f"{_FOLDER}/current.json"


class NoAnomalyModel(ImgmineError):
    """No anomaly model has been fitted yet."""


class OtherEmbedder(PersonNeeded):
    """The vectors were made by another model than the one that the anomaly model was fitted to."""


def version_folder(version: str) -> str:
    """Return the folder of one version in the store."""
    return f"{_FOLDER}/{version}"


def publish_anomaly_model(store: Store, model: AnomalyModel, card: Mapping[str, bytes]) -> None:
    """Publish a model with the files of its card (name → bytes), then say that it is the one in use."""
    for name, data in {**card, **model.files()}.items():
        store.put_bytes(f"{version_folder(model.version)}/{name}", data)
    store.put_bytes(CURRENT_KEY, json.dumps({"version": model.version}).encode())


def current_anomaly_model(store: Store) -> AnomalyModel:
    """Return the model in use. Raises `NoAnomalyModel`, or `AnomalyModelError` where it is damaged."""
    try:
        version = json.loads(store.get_bytes(CURRENT_KEY))["version"]
        names = (PARAMETERS_FILE, REPORT_FILE)
        files = {name: store.get_bytes(f"{version_folder(version)}/{name}") for name in names}
    except NotInStore:
        raise NoAnomalyModel(
            "No anomaly model has been fitted yet. Materialize gmm_model, then anomaly_scores."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise AnomalyModelError(f"{CURRENT_KEY} in the store is damaged. Materialize gmm_model again.") from error
    return AnomalyModel.from_files(files)


def require_same_embedder(model: AnomalyModel, embedder: str, archive: str) -> None:
    """Raise `OtherEmbedder` where an archive's vectors are of another model than the anomaly model's."""
    if embedder != model.embedder:
        raise OtherEmbedder(
            f"{archive}: the vectors are of {embedder}, the anomaly model {model.version} was fitted to vectors of "
            f"{model.embedder}. Materialize embeddings of this archive, or gmm_model, again with one embedder."
        )
