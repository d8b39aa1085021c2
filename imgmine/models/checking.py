"""Trying a model: does it run, what does it give, how fast is it here.

The pictures are photographs that come with imgmine; what is measured is the way from a preview to its vector.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imgmine.models.cards import ModelError
from imgmine.models.embedder import BATCH, Embedder
from imgmine.models.providers import Provider
from imgmine.models.text import TextEmbedder
from imgmine.models.vectors import VectorError, invalid_rows

_PICTURES = 32
# One more than a batch of a processor, so that batches of two sizes are tried.
_FEW = BATCH + 1
_TEXTS = ("a photograph of a cat", "a map of the world", "three people on a beach")


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

    Raises `ModelError` as `try_embedder` and `try_text` do.
    """
    previews = sample_previews()
    try_embedder(embedder, previews)
    text = embedder.card.text is not None
    if text:
        try_text(TextEmbedder(embedder.card, threads=embedder.threads, providers=providers))
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


def try_embedder(embedder: Embedder, previews: Sequence[bytes] | None = None) -> None:
    """Embed photographs, a few that come with imgmine by default.

    Raises `ModelError` where the model fails, its vectors are not finite, or are the same for different pictures.
    """
    previews = sample_previews(_FEW) if previews is None else previews
    _require_vectors(embedder.card.model_path, "picture", lambda: np.concatenate(list(embedder.embed(previews))))


def try_text(embedder: TextEmbedder) -> None:
    """Embed a few texts. Raises `ModelError` as `try_embedder` does."""
    _require_vectors(embedder.card.folder / embedder.tower.model, "text", lambda: embedder.embed(_TEXTS))


def _require_vectors(path: Path, thing: str, embed: Callable[[], np.ndarray]) -> None:
    try:
        vectors = embed()
    except VectorError as error:
        raise ModelError(f"{path}: {error}.") from error
    except Exception as error:  # onnxruntime's own errors have no common base but this one
        raise ModelError(f"{path} cannot be run on a batch of {thing}s: {error}") from error
    if len(invalid_rows(vectors)) or vectors.std(axis=0).max() < np.finfo(np.float32).eps:
        raise ModelError(f"{path} gives the same vector for every {thing}, or none. Its ONNX file or card is at fault.")


def images_per_second(embedder: Embedder, previews: Sequence[bytes], seconds: float) -> float:
    """Return how many previews become vectors in a second of wall time, measured for at least `seconds`."""
    done = 0
    started = time.monotonic()
    while (taken := time.monotonic() - started) < seconds:
        done += sum(len(part) for part in embedder.embed(previews))
    return done / taken
