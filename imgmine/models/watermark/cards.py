"""Cards of watermark classifiers: a model folder's `card.yaml` of kind `watermark-views` or `watermark-picture`.

Reading and checking only; what is done with a classifier is in `classifier`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from imgmine.models import card_fields as fields
from imgmine.models.cards import (
    CARD_FILE,
    MODEL_FILE,
    Crop,
    Interpolation,
    ModelError,
    OnnxCard,
    added_or_at,
    check_model_file,
    read_yaml,
)

VIEWS = "watermark-views"
PICTURE = "watermark-picture"
SHIPPED_NAME = "watermark-efficientnet-lite0"

_SHIPPED = Path(__file__).parent / "efficientnet-lite0"


@dataclass(frozen=True, kw_only=True)
class ClassifierCard(OnnxCard):
    """What every watermark classifier's card says. `threshold` is the probability from which on a picture is marked."""

    threshold: float

    @cached_property
    def version(self) -> str:
        """The name and a short SHA-256 of all that a probability depends on; the threshold is not among it."""
        about = ("folder", "source", "licence", "threshold", "report")
        depends_on = {key: value for key, value in vars(self).items() if key not in about}
        return self.version_of(depends_on)


@dataclass(frozen=True, kw_only=True)
class ViewsCard(ClassifierCard):
    """A classifier of the vectors of a picture's views (`views`): (n, 5, dimension) → (n) probabilities.

    `embedder` is the version of the embedding model whose vectors it was trained on; `report` how well it did then.
    """

    embedder: str
    dimension: int
    report: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PictureCard(ClassifierCard):
    """A classifier of whole pictures: (n, 3, size, size) → (n, 1) logits. Pixels go in as for an embedding model."""

    size: int
    crop: Crop
    interpolation: Interpolation
    value_range: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def resize(self) -> int:
        """The short side before the crop, as embedding models' cards have it."""
        return self.size


_BOTH: Mapping[str, fields.Parser] = {
    "kind": fields.one_of((VIEWS, PICTURE)),
    "name": fields.name,
    "source": fields.text,
    "licence": fields.text,
    "input": fields.text,
    "output": fields.text,
    "threshold": fields.share,
}
_OF_VIEWS: Mapping[str, fields.Parser] = {"embedder": fields.name, "dimension": fields.positive_integer}
_OF_PICTURE: Mapping[str, fields.Parser] = {
    "layout": fields.one_of(("NCHW",)),
    "size": fields.positive_integer,
    "crop": fields.one_of(Crop),
    "interpolation": fields.one_of(Interpolation),
    "value_range": fields.positive,
    "mean": fields.three(fields.number),
    "std": fields.three(fields.positive),
}


def is_classifier(content: Mapping[Any, Any]) -> bool:
    """Return whether a card's content is that of a watermark classifier."""
    return content.get("kind") in (VIEWS, PICTURE)


def read_classifier_card(path: Path) -> ViewsCard | PictureCard:
    """Read a card file, whose weights need not be there. Raises `ModelError` that names the file and the key."""
    content = read_yaml(path)
    optional = {"sha256": fields.sha256}
    if content.get("kind") == PICTURE:
        values = fields.parse(path, content, {**_BOTH, **_OF_PICTURE}, optional)
        values.pop("layout")
    else:
        values = fields.parse(path, content, {**_BOTH, **_OF_VIEWS}, {**optional, "report": fields.figures})
    kind = values.pop("kind")
    return PictureCard(folder=path.parent, **values) if kind == PICTURE else ViewsCard(folder=path.parent, **values)


def load_classifier_card(folder: Path) -> ViewsCard | PictureCard:
    """Read a folder's card and check it against its ONNX file. Raises `ModelError`."""
    card = read_classifier_card(folder / CARD_FILE)
    check_model_file(card)
    return card


def find_classifier(name_or_path: str, models: Path | None = None) -> Path:
    """Return the folder of a classifier: the shipped one or one in the folder `models`, by name; any other, by path.

    Raises `ModelError` that says what to do where there is none.
    """
    if name_or_path == SHIPPED_NAME:
        return _SHIPPED
    if (found := added_or_at(name_or_path, models)) is not None:
        return found
    raise ModelError(
        f"No watermark classifier {name_or_path!r} (IMGMINE_WATERMARK_MODEL): it is not {SHIPPED_NAME}, not among the "
        f"models that were added, and not a folder with {CARD_FILE} and {MODEL_FILE}. `imgmine models add` adds one."
    )
