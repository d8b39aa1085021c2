"""Running an embedding model over pictures, with onnxruntime: batches, threads, and the `embeddings` of an archive.

What goes into the model is decided in `preprocessing`; where previews lie is the caller's business.
"""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, local
from typing import NamedTuple, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from imgmine.decisions import ImageDecision
from imgmine.errors import ImgmineError
from imgmine.images.previews import preview_size
from imgmine.models.cards import ModelCard, ModelError, find_model, load_card
from imgmine.models.preprocessing import UnreadablePicture, preprocess, read_picture
from imgmine.models.providers import Provider, open_session
from imgmine.models.vectors import embeddings_table, normalise

CODE_VERSION = "2"
BATCH = 4
"""Pictures in one inference on a processor: more are no faster, and take memory."""
ACCELERATOR_BATCH = 64

# Of originals with more pixels than these, one at a time is decoded: it may take a quarter of a GiB.
_MANY_PIXELS = 24_000_000

ReadRange = Callable[[str, int, int], bytes]
"""From a shard's key, an offset and a size to the bytes there. Called from several threads at once."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class PreviewError(ImgmineError):
    """A preview, or an original in its place, that the tables name cannot be read or decoded."""


@dataclass(frozen=True)
class Originals:
    """Where an archive's originals lie, for models that need more than a preview holds.

    `files` is the archive's `files` table; `read` reads from its shards.
    """

    files: pa.Table
    read: ReadRange


class Embedder:
    """An embedding model that is loaded and ready. May be used from several threads at once.

    Each worker thread takes a batch through decoding, preprocessing and inference. On a processor each infers on its
    own core, so that none is idle while pictures are decoded: this is faster than one inference at a time on all cores.
    On an accelerator one infers while the others prepare, so that it always finds a batch ready. A vector does not
    depend on its batch nor on the number of threads.
    """

    def __init__(self, card: ModelCard, *, threads: int | None = None, providers: Sequence[Provider] = ()) -> None:
        """Load the card's model; `threads` is the number of cores to use, all of them by default.

        `providers` is as for `open_session`. Raises `ModelError` where onnxruntime cannot load the file, a provider is
        not there, or the model's inputs and outputs are not the card's.
        """
        self.card = card
        self.threads = threads or _cores()
        self._session, self.provider = open_session(card.model_path, providers)
        on_processor = self.provider is Provider.CPU
        self.batch = BATCH if on_processor else ACCELERATOR_BATCH
        self._turn: AbstractContextManager[object] = nullcontext() if on_processor else Lock()
        self._buffers = local()
        self._check_ends()

    @property
    def version(self) -> str:
        """The card's version: vectors of two versions must not be compared."""
        return self.card.version

    def embed_batch(self, pictures: Sequence[bytes]) -> np.ndarray:
        """Return the vectors of encoded pictures: float32 (n, dimension), each of L2 norm 1.

        Runs on the calling thread. Raises `UnreadablePicture` for the first that Pillow cannot load.
        """
        return self.embed_pictures(read_picture(picture) for picture in pictures)

    def embed_pictures(self, pictures: Iterable[Image.Image]) -> np.ndarray:
        """Return the vectors of decoded pictures, as `embed_batch` does; each is taken when it is its turn."""
        batch = self._buffer()
        vectors = [np.empty((0, self.card.dimension), np.float32)]
        remaining = iter(pictures)
        while True:
            filled = 0
            for picture in itertools.islice(remaining, len(batch)):
                preprocess(picture, self.card, batch[filled])
                filled += 1
            if not filled:
                break
            with self._turn:
                (found,) = self._session.run([self.card.output], {self.card.input: batch[:filled]})
            vectors.append(normalise(found))
        return np.concatenate(vectors)

    def _buffer(self) -> np.ndarray:
        """The calling thread's own input, used again for each batch: fresh memory costs more than filling it."""
        if not hasattr(self._buffers, "batch"):
            self._buffers.batch = np.empty((self.batch, 3, self.card.size, self.card.size), np.float32)
        return cast("np.ndarray", self._buffers.batch)

    def wants_original(self, width: int, height: int) -> bool:
        """Return whether the preview of a picture of this size holds less than the model makes use of."""
        return min(preview_size(width, height)) < min(self.card.least_short_side, width, height)

    def embed(self, pictures: Iterable[bytes], batch: int | None = None) -> Iterator[np.ndarray]:
        """Yield the vectors of encoded pictures in their order, a batch at a time: float32 (≤ batch, dimension).

        Pictures are taken from the iterable as they are needed, a few batches ahead.
        """
        return _in_order(self.embed_batch, _batches(pictures, batch or self.batch), self.threads)

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


def load_embedder(
    name_or_path: str | Path,
    *,
    models: Path | None = None,
    threads: int | None = None,
    providers: Sequence[Provider] = (),
) -> Embedder:
    """Return the embedder of a built-in model, of one in the folder `models`, or of a model folder.

    Raises `ModelError`.
    """
    return Embedder(load_card(find_model(name_or_path, models)), threads=threads, providers=providers)


class _Place(NamedTuple):
    """Where one picture's preview or original lies."""

    blake2b: bytes
    shard: str
    offset: int
    size: int
    original: bool
    pixels: int


def embed_archive(
    archive: str,
    images: pa.Table,
    read_preview: ReadRange,
    embedder: Embedder,
    *,
    originals: Originals | None = None,
    batch: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """Return the `embeddings` of one archive: a row for each of its images that the gate kept, sorted by `blake2b`.

    `images` is the archive's `images` table. Previews are read in the order in which they lie in their shards; of a
    picture of which the model makes use of more than its preview holds, the original. Without `originals`, previews
    serve for all. The same pictures and model give the same table. `progress(done, total)` is called after each batch.
    Raises `PreviewError` that names the archive and the image; an archive without images gives an empty table.
    """
    places = _places(images, embedder, originals)
    large = Lock()

    def picture(place: _Place) -> Image.Image:
        if not place.original or originals is None:
            return _decoded(archive, place, read_preview)
        with large if place.pixels > _MANY_PIXELS else nullcontext():
            return _decoded(archive, place, originals.read)

    def embed_places(places: Sequence[_Place]) -> np.ndarray:
        return embedder.embed_pictures(map(picture, places))

    vectors = np.empty((len(places), embedder.card.dimension), np.float16)
    done = 0
    for part in _in_order(embed_places, _batches(places, batch or embedder.batch), embedder.threads):
        vectors[done : done + len(part)] = part
        done += len(part)
        if progress is not None:
            progress(done, len(places))
    return embeddings_table([place.blake2b for place in places], vectors)


def _places(images: pa.Table, embedder: Embedder, originals: Originals | None) -> list[_Place]:
    """Where to read each kept image, in the order in which the previews lie in their shards."""
    columns = ["blake2b", "preview_shard", "preview_offset", "preview_size", "width", "height"]
    kept = (
        images.filter(pc.equal(images["decision"], ImageDecision.KEPT.value))
        .select(columns)
        .sort_by([("preview_shard", "ascending"), ("preview_offset", "ascending")])
    )
    rows = list(zip(*(column.to_pylist() for column in kept.columns), strict=True))
    wanted = {row[0] for row in rows if originals is not None and embedder.wants_original(row[4], row[5])}
    where = {} if originals is None or not wanted else _in_shards(originals.files, wanted)
    places = []
    for key, shard, offset, size, width, height in rows:
        at = where.get(key, (shard, offset, size))
        places.append(_Place(key, at[0], at[1], at[2], key in where, (width or 0) * (height or 0)))
    return places


def _in_shards(files: pa.Table, wanted: set[bytes]) -> dict[bytes, tuple[str, int, int]]:
    places = zip(*(files[name].to_pylist() for name in ("blake2b", "shard", "shard_offset", "size")), strict=True)
    return {key: (shard, offset, size) for key, shard, offset, size in places if key in wanted}


def _decoded(archive: str, place: _Place, read: ReadRange) -> Image.Image:
    try:
        return read_picture(read(place.shard, place.offset, place.size))
    except UnreadablePicture as error:
        what, again = ("original", "unique_files and images") if place.original else ("preview", "images")
        raise PreviewError(
            f"{archive}: the {what} of {place.blake2b.hex()} ({place.shard}, {place.size} bytes from {place.offset}) "
            f"is damaged: {error}. Materialize this archive's {again} again."
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
