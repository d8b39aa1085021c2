"""The part of a classifier behind its embedding: from a stored vector to the probability of each class.

A model folder may have one, `classes.yaml` beside the card. What the classes mean is in the list of categories.
"""

from pathlib import Path

import numpy as np

from imgmine.models import card_fields as field
from imgmine.models.card_fields import ModelError
from imgmine.models.cards import ModelCard, check_file, read_yaml
from imgmine.models.providers import Provider, open_session

FILE = "classes.yaml"
_FIELDS = {
    "model": field.file_name,
    "sha256": field.sha256,
    "embedder_sha256": field.sha256,
    "input": field.text,
    "output": field.text,
    "classes": field.positive_integer,
}
_ROWS_AT_ONCE = 4096


class ClassHead:
    """A head that is loaded and ready.

    Stored vectors have a norm of 1: how long the model's own was is not known any more. The head gives each the length
    that is typical of photographs (`bench/class_head.py` measures what that changes).
    """

    def __init__(self, card: ModelCard) -> None:
        """Load the head of a model. Raises `ModelError` where the model has none, or its file is another's."""
        path = card.folder / FILE
        if not path.is_file():
            raise ModelError(f"{card.name} has no classes: there is no {FILE} beside its card.")
        about = field.parse(path, read_yaml(path), _FIELDS, {})
        if card.sha256 != about["embedder_sha256"]:
            raise ModelError(f"{path} is of the model with SHA-256 {about['embedder_sha256']}, which is not this one.")
        check_file(card.folder / about["model"], about["sha256"], card)
        self.sha256: str = about["sha256"]
        self.classes: int = about["classes"]
        self._input, self._output = about["input"], about["output"]
        self._session, _ = open_session(card.folder / about["model"], [Provider.CPU])

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Return the probability of each class for (n, d) vectors of norm 1: float32 (n, classes)."""
        found = [np.empty((0, self.classes), np.float32)]
        for start in range(0, len(vectors), _ROWS_AT_ONCE):
            rows = np.ascontiguousarray(vectors[start : start + _ROWS_AT_ONCE], np.float32)
            found += self._session.run([self._output], {self._input: rows})
        return np.concatenate(found)


def has_classes(folder: Path) -> bool:
    """Whether the model in this folder has a head."""
    return (folder / FILE).is_file()
