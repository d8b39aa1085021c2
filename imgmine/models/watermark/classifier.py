"""Watermark classifiers: of an archive's pictures, the probability that each shows a mark.

Two kinds, by their cards: one judges the vectors of a picture's views, the other the picture itself. How the first was
made is in `train`; what is decided by a probability, in `scores`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from PIL import Image

from imgmine.errors import PersonNeeded
from imgmine.in_order import in_order
from imgmine.models.cards import ModelError
from imgmine.models.embedder import Embedder
from imgmine.models.kept_pictures import KeptPictures, Originals, Place, PreviewError, ReadRange, batches
from imgmine.models.preprocessing import preprocess
from imgmine.models.providers import Provider, open_session
from imgmine.models.vectors import vectors_of
from imgmine.models.watermark.cards import PictureCard, ViewsCard, find_classifier, load_classifier_card
from imgmine.models.watermark.views import VIEWS, quadrants

_BATCH = 4
_PICTURES_AT_ONCE = 2

Progress = Callable[[int, int], None]


class OtherEmbedder(PersonNeeded):
    """A classifier of vectors is asked to judge those of another model than the one that it was trained on."""


class Classifier(Protocol):
    """A watermark classifier that is loaded and ready."""

    @property
    def card(self) -> ViewsCard | PictureCard: ...

    @property
    def short_side(self) -> int:
        """The pixels of a picture's short side that the classifier makes use of."""
        ...

    def judge(self, pictures: Sequence[Image.Image], wholes: np.ndarray) -> np.ndarray:
        """Return the probability of a mark on each RGB picture: float32 (n).

        `wholes` are the vectors of the pictures as `embeddings` has them, (n, dimension).
        """
        ...


class ViewsHead:
    """A classifier of views' vectors by itself, without the embedder that makes them."""

    def __init__(self, card: ViewsCard) -> None:
        """Raises `ModelError` where the file cannot be loaded or is not what its card says."""
        self.card = card
        self._session, _ = open_session(card.model_path, [Provider.CPU])
        _try(card, lambda: self.probabilities(np.zeros((2, VIEWS, card.dimension), np.float32)))

    def probabilities(self, views: np.ndarray) -> np.ndarray:
        """Return the probability of a mark for the vectors of each picture's views (n, 5, dimension): float32 (n)."""
        (found,) = self._session.run([self.card.output], {self.card.input: views})
        return np.asarray(found, np.float32)


class ViewsClassifier:
    """Judges the vector of the whole picture and those of its four quadrants at double resolution."""

    def __init__(self, card: ViewsCard, embedder: Embedder) -> None:
        """`embedder` makes the quadrants' vectors. Raises `OtherEmbedder`, and `ModelError` as `ViewsHead` does."""
        if embedder.version != card.embedder:
            raise OtherEmbedder(
                f"The watermark classifier {card.name} judges vectors of {card.embedder}; the embedder in use is "
                f"{embedder.version}. Set IMGMINE_EMBEDDER to that model, IMGMINE_WATERMARK_MODEL to a classifier for "
                "this one (python -m imgmine.models.watermark.train --help) or to one of whole pictures, or to none."
            )
        self.card = card
        self._embedder = embedder
        self._head = ViewsHead(card)

    @property
    def short_side(self) -> int:
        """Twice the embedder's: each quadrant is as large as its input."""
        return 2 * self._embedder.card.size

    def judge(self, pictures: Sequence[Image.Image], wholes: np.ndarray) -> np.ndarray:
        return self._head.probabilities(views_of(pictures, wholes, self._embedder))


class PictureClassifier:
    """Judges pictures themselves, as a convolutional network of 512 × 512 pixels and one logit does."""

    def __init__(self, card: PictureCard, providers: Sequence[Provider] = ()) -> None:
        """Raises `ModelError` where the file cannot be loaded or is not what its card says."""
        self.card = card
        self._session, _ = open_session(card.model_path, providers)
        blank = Image.new("RGB", (card.size, card.size))
        _try(card, lambda: self.judge([blank, blank], np.empty((2, 0), np.float32)))

    @property
    def short_side(self) -> int:
        """The size of its input."""
        return self.card.size

    def judge(self, pictures: Sequence[Image.Image], wholes: np.ndarray) -> np.ndarray:
        found = []
        for part in batches(pictures, _PICTURES_AT_ONCE):
            pixels = np.stack([preprocess(picture, self.card) for picture in part])
            (logits,) = self._session.run([self.card.output], {self.card.input: pixels})
            if logits.shape != (len(part), 1):
                raise ModelError(
                    f"{self.card.model_path}: {self.card.output} has the shape {logits.shape} for {len(part)} "
                    "pictures; one logit for each is wanted."
                )
            found.append(1 / (1 + np.exp(-logits[:, 0].astype(np.float64))))
        return np.concatenate([np.empty(0, np.float32), *found]).astype(np.float32)


def views_of(pictures: Sequence[Image.Image], wholes: np.ndarray, embedder: Embedder) -> np.ndarray:
    """Return the vectors of RGB pictures' views: float32 (n, 5, dimension): `wholes`, then the four quadrants."""
    parts = embedder.embed_pictures(part for picture in pictures for part in quadrants(picture, embedder.card))
    return np.concatenate([wholes[:, None], parts.reshape(len(pictures), VIEWS - 1, -1)], axis=1)


def load_classifier(
    name_or_path: str,
    models: Path | None,
    load_embedder: Callable[[], Embedder],
    providers: Sequence[Provider] = (),
) -> Classifier:
    """Return the shipped classifier, one in the folder `models`, or that of a model folder.

    Only a classifier of views loads the embedder. Raises `ModelError` and `OtherEmbedder`.
    """
    card = load_classifier_card(find_classifier(name_or_path, models))
    if isinstance(card, PictureCard):
        return PictureClassifier(card, providers)
    return ViewsClassifier(card, load_embedder())


def require_vectors(classifier: Classifier, embedder: str, archive: str) -> None:
    """Raise `OtherEmbedder` where an archive's vectors, of this model, are not what the classifier judges."""
    card = classifier.card
    if isinstance(card, ViewsCard) and card.embedder != embedder:
        raise OtherEmbedder(
            f"{archive}: its vectors are of {embedder}, the watermark classifier {card.name} judges those of "
            f"{card.embedder}. Materialize its embeddings again."
        )


def judge_archive(
    archive: str,
    images: pa.Table,
    embeddings: pa.Table,
    read_preview: ReadRange,
    classifier: Classifier,
    *,
    originals: Originals | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return the probability of a mark on each image of `embeddings`, in its order: float32 (n).

    Pictures are read as for embeddings: the original where the preview holds less than the classifier makes use of.
    Raises `PreviewError` that names the archive and the image, also where `images` has not kept one of them.
    """
    pictures = KeptPictures(archive, images, read_preview, originals=originals, short_side=classifier.short_side)
    row_of = {key: row for row, key in enumerate(embeddings["blake2b"].to_pylist())}
    wholes = vectors_of(embeddings)
    places = [place for place in pictures.places if place.blake2b in row_of]
    if missing := row_of.keys() - {place.blake2b for place in places}:
        raise PreviewError(
            f"{archive}: {len(missing)} of {len(row_of)} vectors are of pictures that images has not kept, such as "
            f"{min(missing).hex()}. Materialize this archive's embeddings again."
        )

    def judge(part: Sequence[Place]) -> np.ndarray:
        decoded = [pictures.decode(place, least=classifier.short_side) for place in part]
        return classifier.judge(decoded, wholes[[row_of[place.blake2b] for place in part]])

    found = np.zeros(len(row_of), np.float32)
    done = 0
    for probabilities in in_order(judge, batches(places, _BATCH), threads):
        rows = [row_of[place.blake2b] for place in places[done : done + len(probabilities)]]
        found[rows] = probabilities
        done += len(probabilities)
        if progress is not None:
            progress(done, len(places))
    return found


def _try(card: ViewsCard | PictureCard, run: Callable[[], np.ndarray]) -> None:
    """Run a classifier on two blanks: what it takes and gives must be what its card says."""
    try:
        found = run()
    except ModelError:
        raise
    except Exception as error:  # onnxruntime's own errors have no common base but this one
        raise ModelError(f"{card.model_path} is not what its card says: {error}") from error
    if found.shape != (2,) or not np.isfinite(found).all():
        raise ModelError(
            f"{card.model_path}: {card.output} has the shape {found.shape} for two pictures; one probability for each "
            "is wanted."
        )
