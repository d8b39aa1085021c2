"""Which category of the list each image is of, told from its vector alone: by texts, by ImageNet's classes, by probes.

The list itself is read in `category_list`; no embedding is computed here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import pyarrow as pa

from imgmine.decisions import CategoryDecision
from imgmine.errors import ImgmineError
from imgmine.models.cards import ModelCard
from imgmine.models.category_list import Category, CategoryList
from imgmine.models.class_head import ClassHead, has_classes
from imgmine.models.one_thread import one_thread
from imgmine.models.probe_model import ProbeModel
from imgmine.models.text import TextEmbedder
from imgmine.models.vectors import normalise, vectors_of
from imgmine.store.publish import fingerprint
from imgmine.store.tables import CATEGORIES

CODE_VERSION = "1"


class Source(StrEnum):
    """What told a probability."""

    ZERO_SHOT = "zero_shot"
    IMAGENET = "imagenet"
    PROBE = "probe"


class NoCategories(ImgmineError):
    """Nothing here can tell a category from another."""


class Texts(Protocol):
    """What turns texts into vectors of norm 1 (n, d): `text.TextEmbedder`."""

    def embed(self, texts: Sequence[str]) -> np.ndarray: ...


class Classes(Protocol):
    """What gives the probability of ImageNet's classes for vectors of norm 1: `class_head.ClassHead`."""

    def probabilities(self, vectors: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Categorizer:
    """All that tells categories: the list, and of texts, classes and probes what there is.

    `digest` changes with anything that a category depends on but for the vectors.
    """

    categories: CategoryList
    texts: Texts | None
    classes: Classes | None
    probes: ProbeModel | None
    digest: str

    def sources(self) -> dict[str, Source]:
        """Return what tells each category; those that nothing can tell are not there."""
        told = {category.name: self._source(category) for category in self.categories.categories}
        return {name: source for name, source in told.items() if source is not None}

    def _source(self, category: Category) -> Source | None:
        if self.probes is not None and category.name in self.probes.labels:
            return Source.PROBE
        if self.texts is not None:
            return Source.ZERO_SHOT if category.prompts else None
        return Source.IMAGENET if self.classes is not None and category.imagenet else None

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Return the probability of each category for (n, d) vectors of norm 1: float64 (n, categories).

        Each comes from one source, so that they need not add up to 1; a category that nothing can tell has 0.
        """
        found = np.zeros((len(vectors), len(self.categories.categories)))
        if self.texts is not None:
            found = zero_shot(vectors, self.categories, self.texts)
        elif self.classes is not None:
            found = by_classes(vectors, self.categories, self.classes)
        if self.probes is not None:
            told = self.probes.probabilities(vectors)
            for column, name in enumerate(self.categories.names):
                if name in self.probes.labels:
                    found[:, column] = told[:, self.probes.labels.index(name)]
        return found


def categorizer(categories: CategoryList, card: ModelCard, probes: ProbeModel | None) -> Categorizer:
    """Return what tells categories with this embedding model.

    Texts where the model has a text tower, else classes where it has them; `probes` must be of this model. Raises
    `NoCategories` where there is none of the three, and `ModelError`.
    """
    texts = TextEmbedder(card) if card.text is not None else None
    classes = ClassHead(card) if texts is None and has_classes(card.folder) else None
    digest = fingerprint(
        categories=categories.digest,
        card=card.version,
        texts=None if card.text is None else card.text,
        classes=None if classes is None else classes.sha256,
        probes=None if probes is None else probes.version,
        code_version=CODE_VERSION,
    )
    found = Categorizer(categories, texts, classes, probes, digest)
    if not found.sources():
        raise NoCategories(
            f"{_untold(texts, classes)}, and there is no probe of a category's name. Add a model with a text tower "
            "(imgmine models add … --text-model), or label pictures with the names of categories (imgmine label add) "
            "and materialize probe_model."
        )
    return found


def _untold(texts: Texts | None, classes: ClassHead | None) -> str:
    """Why neither texts nor classes tell a category."""
    if texts is not None:
        return "The model has a text tower, but no category in the list has prompts"
    if classes is not None:
        return "The model has classes of ImageNet, but no category in the list names any, and it has no text tower"
    return "The model has no text tower and no classes of ImageNet"


def zero_shot(vectors: np.ndarray, categories: CategoryList, texts: Texts) -> np.ndarray:
    """Return the softmax over the categories of the scaled cosine to the mean of each one's prompts: (n, categories).

    A category without prompts has 0. The mean over several prompts is Radford et al.'s (2021, section 3.1.4).
    """
    described = [column for column, category in enumerate(categories.categories) if category.prompts]
    found = np.zeros((len(vectors), len(categories.categories)))
    if not described:
        return found
    prompts = [categories.categories[column].prompts for column in described]
    embedded = texts.embed([prompt for each in prompts for prompt in each])
    parts = np.split(embedded, np.cumsum([len(each) for each in prompts])[:-1])
    means = normalise(np.stack([part.mean(axis=0) for part in parts]))
    with one_thread():
        logits = categories.text_scale * (vectors.astype(np.float64) @ means.T.astype(np.float64))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    found[:, described] = powers / powers.sum(axis=1, keepdims=True)
    return found


def by_classes(vectors: np.ndarray, categories: CategoryList, classes: Classes) -> np.ndarray:
    """Return for each category the sum of the probabilities of its classes: float64 (n, categories)."""
    found = classes.probabilities(vectors)
    return np.stack(
        [found[:, list(category.imagenet)].sum(axis=1, dtype=np.float64) for category in categories.categories], axis=1
    )


def categorize_archive(embeddings: pa.Table, by: Categorizer) -> pa.Table:
    """Return the `categories` of an `embeddings` table, in its order: the likeliest category of each vector."""
    probabilities = by.probabilities(vectors_of(embeddings)).astype(np.float32)
    names, sources = by.categories.names, by.sources()
    told = np.array([name in sources for name in names])
    likeliest = np.where(told, probabilities, -1).argmax(axis=1)
    best = probabilities[np.arange(len(likeliest)), likeliest]
    # Decided on the stored precision, so that the decision can be told from the column.
    named = best >= np.float32(by.categories.least_probability)
    chosen = [names[column] for column in likeliest]
    return pa.Table.from_arrays(
        [
            embeddings["blake2b"].combine_chunks(),
            pa.array(chosen, pa.string()),
            pa.array(best),
            pa.array([sources[name].value for name in chosen], pa.string()),
            pa.array(
                np.where(named, CategoryDecision.NAMED.value, CategoryDecision.UNKNOWN.value).tolist(), pa.string()
            ),
        ],
        schema=CATEGORIES,
    )
