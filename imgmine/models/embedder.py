"""Running an embedding model over pictures, with onnxruntime: batches, threads, and the `embeddings` of an archive.

What goes into the model is decided in `preprocessing`; where previews lie is the caller's business.
"""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from imgmine.decisions import ImageDecision
from imgmine.errors import ImgmineError
from imgmine.models.cards import ModelCard, ModelError, find_model, load_card
from imgmine.models.preprocessing import UnreadablePicture, preprocess, read_picture
from imgmine.models.vectors import embeddings_table, normalise

CODE_VERSION = "1"
BATCH = 4

ReadPreview = Callable[[str, int, int], bytes]
"""From a shard's key, an offset and a size to a preview's bytes. Called from several threads at once."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class PreviewError(ImgmineError):
    """A preview that the `images` table names cannot be read or decoded."""


class Embedder:
    """An embedding model that is loaded and ready. May be used from several threads at once.

    Each worker thread takes a batch through decoding, preprocessing and inference on one core. Workers need not wait
    for one another, so that no core is idle while pictures are decoded: on processors this is faster than one
    inference at a time on all cores. A vector does not depend on its batch nor on the number of threads.
    """

    def __init__(self, card: ModelCard, *, threads: int | None = None) -> None:
        """Load the card's model; `threads` is the number of cores to use, all of them by default.

        Raises `ModelError` where onnxruntime cannot load the file, or its inputs and outputs are not the card's.
        """
        # Imported here: a graph or a command that only names an embedder need not wait for it.
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        self.card = card
        self.threads = threads or _cores()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(card.model_path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own errors have no common base but this one
            raise ModelError(f"{card.model_path} cannot be loaded by onnxruntime: {error}") from error
        self._check_ends()

    @property
    def version(self) -> str:
        """The card's version: vectors of two versions must not be compared."""
        return self.card.version

    def embed_batch(self, pictures: Sequence[bytes]) -> np.ndarray:
        """Return the vectors of encoded pictures: float32 (n, dimension), each of L2 norm 1.

        Runs on the calling thread. Raises `UnreadablePicture` for the first that Pillow cannot load.
        """
        return self.embed_pictures([read_picture(picture) for picture in pictures])

    def embed_pictures(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Return the vectors of decoded pictures, as `embed_batch` does."""
        if not pictures:
            return np.empty((0, self.card.dimension), np.float32)
        batch = np.empty((len(pictures), 3, self.card.size, self.card.size), np.float32)
        for picture, out in zip(pictures, batch, strict=True):
            preprocess(picture, self.card, out)
        (vectors,) = self._session.run([self.card.output], {self.card.input: batch})
        return normalise(vectors)

    def embed(self, pictures: Iterable[bytes], batch: int = BATCH) -> Iterator[np.ndarray]:
        """Yield the vectors of encoded pictures in their order, a batch at a time: float32 (≤ batch, dimension).

        Pictures are taken from the iterable as they are needed, a few batches ahead.
        """
        return _in_order(self.embed_batch, _batches(pictures, batch), self.threads)

    def _check_ends(self) -> None:
        inputs = [end.name for end in self._session.get_inputs()]
        outputs = [end.name for end in self._session.get_outputs()]
        where = self.card.model_path
        if inputs != [self.card.input]:
            raise ModelError(f"{where} has the inputs {', '.join(inputs)}; its card says {self.card.input}.")
        if self.card.output not in outputs:
            raise ModelError(f"{where} has the outputs {', '.join(outputs)}; its card says {self.card.output}.")
        blank = np.zeros((1, 3, self.card.size, self.card.size), np.float32)
        try:
            (found,) = self._session.run([self.card.output], {self.card.input: blank})
        except Exception as error:  # as above
            raise ModelError(f"{where} does not take the input that its card describes: {error}") from error
        if found.shape != (1, self.card.dimension):
            raise ModelError(
                f"{where}: {self.card.output} has the shape {found.shape} for one picture; "
                f"the card's dimension is {self.card.dimension}."
            )


def load_embedder(name_or_path: str | Path, *, threads: int | None = None) -> Embedder:
    """Return the embedder of a built-in model's name or a model folder. Raises `ModelError`."""
    return Embedder(load_card(find_model(name_or_path)), threads=threads)


def embed_archive(
    archive: str,
    images: pa.Table,
    read_preview: ReadPreview,
    embedder: Embedder,
    *,
    batch: int = BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """Return the `embeddings` of one archive: a row for each of its images that the gate kept, sorted by `blake2b`.

    `images` is the archive's `images` table. Previews are read in the order in which they lie in their shards. The same
    previews and model give the same table. `progress(done, total)` is called after each batch.
    Raises `PreviewError` that names the archive and the image; an archive without images gives an empty table.
    """
    kept = (
        images.filter(pc.equal(images["decision"], ImageDecision.KEPT.value))
        .select(["blake2b", "preview_shard", "preview_offset", "preview_size"])
        .sort_by([("preview_shard", "ascending"), ("preview_offset", "ascending")])
    )
    rows = list(zip(*(column.to_pylist() for column in kept.columns), strict=True))

    def embed_rows(rows: Sequence[tuple[bytes, str, int, int]]) -> np.ndarray:
        return embedder.embed_pictures([_preview(archive, read_preview, *row) for row in rows])

    vectors = np.empty((len(rows), embedder.card.dimension), np.float16)
    done = 0
    for part in _in_order(embed_rows, _batches(rows, batch), embedder.threads):
        vectors[done : done + len(part)] = part
        done += len(part)
        if progress is not None:
            progress(done, len(rows))
    return embeddings_table([row[0] for row in rows], vectors)


def _preview(archive: str, read: ReadPreview, key: bytes, shard: str, offset: int, size: int) -> Image.Image:
    try:
        return read_picture(read(shard, offset, size))
    except UnreadablePicture as error:
        raise PreviewError(
            f"{archive}: the preview of {key.hex()} ({shard}, {size} bytes from {offset}) is damaged: {error}. "
            "Materialize this archive's images again."
        ) from error


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _batches(items: Iterable[_Item], size: int) -> Iterator[Sequence[_Item]]:
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def _in_order(function: Callable[[_Item], _Result], items: Iterable[_Item], threads: int) -> Iterator[_Result]:
    """Yield `function(item)` in the items' order, worked on by threads, with few items and results in memory."""
    waiting: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="embed") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
