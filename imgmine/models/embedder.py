"""Running an embedding model over pictures, with onnxruntime: batches, threads, and the `embeddings` of an archive.

What goes into the model is decided in `preprocessing`; where previews lie is the caller's business.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock, local
from typing import cast

import numpy as np
import pyarrow as pa
from PIL import Image

from imgmine.cores import usable_cores
from imgmine.in_order import in_order
from imgmine.models.cards import VECTORS_CODE, ModelCard, find_model, load_card
from imgmine.models.ends import check_ends
from imgmine.models.kept_pictures import KeptPictures, Originals, Place, ReadRange, batches, wants_original
from imgmine.models.preprocessing import preprocess, read_picture
from imgmine.models.providers import Provider, open_session
from imgmine.models.vectors import embeddings_table, normalise

CODE_VERSION = VECTORS_CODE
BATCH = 4
"""Pictures in one inference on a processor: more are no faster, and take memory."""
ACCELERATOR_BATCH = 64


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
        not there, the model's inputs and outputs are not the card's, or it does not take batches of any size.
        """
        self.card = card
        self.threads = threads or usable_cores()
        self._session, self.provider = open_session(card.model_path, providers)
        on_processor = self.provider is Provider.CPU
        self.batch = BATCH if on_processor else ACCELERATOR_BATCH
        self._turn: AbstractContextManager[object] = nullcontext() if on_processor else Lock()
        self._buffers = local()
        check_ends(
            self._session,
            card.model_path,
            "pictures",
            inputs={card.input},
            output=card.output,
            dimension=card.dimension,
            run=lambda count: self._infer(np.zeros((count, 3, card.size, card.size), np.float32)),
        )

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
                found = self._infer(batch[:filled])
            vectors.append(normalise(found))
        return np.concatenate(vectors)

    def _buffer(self) -> np.ndarray:
        """The calling thread's own input, used again for each batch: fresh memory costs more than filling it."""
        if not hasattr(self._buffers, "batch"):
            self._buffers.batch = np.empty((self.batch, 3, self.card.size, self.card.size), np.float32)
        return cast("np.ndarray", self._buffers.batch)

    def wants_original(self, width: int, height: int) -> bool:
        """Return whether the preview of a picture of this size holds less than the model makes use of."""
        return wants_original(width, height, self.card.least_short_side)

    def embed(self, pictures: Iterable[bytes], batch: int | None = None) -> Iterator[np.ndarray]:
        """Yield the vectors of encoded pictures in their order, a batch at a time: float32 (≤ batch, dimension).

        Pictures are taken from the iterable as they are needed, a few batches ahead.
        """
        return in_order(self.embed_batch, batches(pictures, batch or self.batch), self.threads)

    def _infer(self, batch: np.ndarray) -> np.ndarray:
        (found,) = self._session.run([self.card.output], {self.card.input: batch})
        return np.asarray(found)


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
    pictures = KeptPictures(
        archive, images, read_preview, originals=originals, short_side=embedder.card.least_short_side
    )
    places = pictures.places

    def embed_places(places: Sequence[Place]) -> np.ndarray:
        return embedder.embed_pictures(map(pictures.decode, places))

    vectors = np.empty((len(places), embedder.card.dimension), np.float16)
    done = 0
    for part in in_order(embed_places, batches(places, batch or embedder.batch), embedder.threads):
        vectors[done : done + len(part)] = part
        done += len(part)
        if progress is not None:
            progress(done, len(places))
    return embeddings_table([place.blake2b for place in places], vectors)
