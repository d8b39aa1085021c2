"""Model folders of every kind, by what their card says: embedding models, and classifiers of watermarks.

What a card holds is in `cards` and `watermark.cards`; adding a folder is in `adding`.
"""

from pathlib import Path

from imgmine.models.cards import CARD_FILE, ModelCard, find_model, load_card, read_card, read_yaml
from imgmine.models.checking import try_embedder, try_text
from imgmine.models.embedder import Embedder
from imgmine.models.text import TextEmbedder
from imgmine.models.watermark.cards import (
    SHIPPED_NAME,
    PictureCard,
    ViewsCard,
    find_classifier,
    is_classifier,
    load_classifier_card,
    read_classifier_card,
)
from imgmine.models.watermark.classifier import PictureClassifier, ViewsHead

AnyCard = ModelCard | ViewsCard | PictureCard


def read_any_card(path: Path) -> AnyCard:
    """Read a card file of any kind, whose weights need not be there. Raises `ModelError`."""
    return read_classifier_card(path) if is_classifier(read_yaml(path)) else read_card(path)


def load_any_card(folder: Path) -> AnyCard:
    """Read a model folder's card of any kind and check it against its ONNX file. Raises `ModelError`."""
    return load_classifier_card(folder) if is_classifier(read_yaml(folder / CARD_FILE)) else load_card(folder)


def find_any_model(name_or_path: str, models: Path | None = None) -> Path:
    """Return the folder of a model of any kind, by name or by path. Raises `ModelError`."""
    if name_or_path == SHIPPED_NAME:
        return find_classifier(name_or_path)
    return find_model(name_or_path, models)


def try_model(card: AnyCard) -> None:
    """Run a model, and its text tower where it has one.

    Raises `ModelError` where it is not what its card says, or has not a vector of its own for each picture or text.
    """
    if isinstance(card, PictureCard):
        PictureClassifier(card)
    elif isinstance(card, ViewsCard):
        ViewsHead(card)
    else:
        try_embedder(Embedder(card, threads=1))
        if card.text is not None:
            try_text(TextEmbedder(card))
