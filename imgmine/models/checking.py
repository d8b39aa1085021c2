"""Trying a model: does it run, what does it give, how fast is it here.

The pictures are photographs that come with imgmine; what is measured is the way from a preview to its vector.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imgmine.models.cards import ModelError
from imgmine.models.embedder import Embedder
from imgmine.models.providers import Provider
from imgmine.models.text import TextEmbedder
from imgmine.models.vectors import invalid_rows

_PICTURES = 32


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found; images a second are of wall time, from previews to vectors, on `threads` threads."""

    version: str
    licence: str
    dimension: int
    provider: Provider
    threads: int
    batch: int
    images_per_second: float
    text: bool


def sample_previews(count: int = _PICTURES) -> list[bytes]:
    """Return previews of photographs that come with imgmine."""
    from PIL import Image

    from imgmine.demo.photographs import reference_photographs
    from imgmine.images.previews import preview_jpeg, reduced

    previews = []
    for path in reference_photographs()[:count]:
        with Image.open(path) as picture:
            previews.append(preview_jpeg(reduced(picture.convert("RGB"))))
    return previews


def check_model(embedder: Embedder, *, seconds: float = 3.0, providers: Sequence[Provider] = ()) -> Checked:
    """Run a model, and its text tower where it has one, for about `seconds`.

    Raises `ModelError` where its vectors are not finite, or are the same for different pictures.
    """
    previews = sample_previews()
    vectors = np.concatenate(list(embedder.embed(previews)))
    if len(invalid_rows(vectors)) or vectors.std(axis=0).max() < np.finfo(np.float32).eps:
        raise ModelError(f"{embedder.card.model_path} gives the same vector for every picture, or none.")
    text = embedder.card.text is not None
    if text:
        TextEmbedder(embedder.card, threads=embedder.threads, providers=providers)
    return Checked(
        embedder.version,
        embedder.card.licence,
        embedder.card.dimension,
        embedder.provider,
        embedder.threads,
        embedder.batch,
        images_per_second(embedder, previews, seconds),
        text,
    )


def images_per_second(embedder: Embedder, previews: Sequence[bytes], seconds: float) -> float:
    """Return how many previews become vectors in a second of wall time, measured for at least `seconds`."""
    done = 0
    started = time.monotonic()
    while (taken := time.monotonic() - started) < seconds:
        done += sum(len(part) for part in embedder.embed(previews))
    return done / taken
