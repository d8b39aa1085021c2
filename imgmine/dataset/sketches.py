"""Sketches: what of an archive's images is enough to find near-duplicates by, two codes of 256 bits each.

`sketches/<archive>.parquet` follows from that archive's `images` and `embeddings` alone and is made once: vectors are
forty times as large, and nobody reads them again for the next archive. What is near what is `near_pairs`' business.
"""

import hashlib
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imgmine.decisions import ImageDecision
from imgmine.models.vectors import vectors_of
from imgmine.store.base import NotInStore, Store
from imgmine.store.publish import file_digest, fingerprint
from imgmine.store.tables import DIGEST, Provenance, key_values, table_key, to_parquet

CODE_VERSION = "1"
SKETCHES = "sketches"
BITS = 256

SKETCH = pa.schema(
    [
        pa.field("blake2b", DIGEST, nullable=False),
        pa.field("pixels", pa.int64(), nullable=False),
        pa.field("pdq", pa.binary(BITS // 8)),
        pa.field("vector_code", pa.binary(BITS // 8)),
        pa.field("preview_shard", pa.string(), nullable=False),
        pa.field("preview_offset", pa.int64(), nullable=False),
        pa.field("preview_size", pa.int64(), nullable=False),
    ]
)

LEAST_QUALITY = 20
"""PDQ's own measure, 0 to 100, of how much is in a picture: blank ones have 0 to 5, photographs 50 and more."""

# Vectors are taken as whole numbers of this fineness, so that a sum of them is exact in whatever order it is made.
_STEPS = 1 << 15
_NORMALS = b"imgmine: normals of the planes that vector codes are the sides of"
_PDQ = ("pdq", "pdq_quality")


def vector_codes(vectors: npt.NDArray[np.float32], centre: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return on which side of 256 planes through `centre` each of (n, d) vectors lies, as (n, 32) bytes.

    Of two vectors with an angle of a between them, a / π of the bits differ (Charikar 2002). The planes' normals have
    components of 1 and -1, by SHAKE-256. The sums are of whole numbers below 2 ** 24, which float32 holds: the same
    vectors give the same code on every machine.
    """
    dimension = vectors.shape[1]
    drawn = hashlib.shake_256(_NORMALS).digest(dimension * BITS // 8)
    normals = np.unpackbits(np.frombuffer(drawn, np.uint8)).reshape(dimension, BITS).astype(np.float32) * 2 - 1
    whole = np.rint(vectors * _STEPS) - np.rint(centre * _STEPS)
    return np.packbits(whole @ normals > 0, axis=1)


def centre_key(embedder: str) -> str:
    """Return the store key of the centre of an embedder's vectors."""
    return f"{SKETCHES}/centre-{hashlib.blake2b(embedder.encode(), digest_size=8).hexdigest()}.npy"


def read_centre(store: Store, embedder: str) -> npt.NDArray[np.float32] | None:
    """Return the centre that sketches of this embedder's vectors are made with, or None where there is none yet."""
    try:
        return np.asarray(np.load(io.BytesIO(store.get_bytes(centre_key(embedder)))), np.float32)
    except NotInStore:
        return None


def put_centre(store: Store, embedder: str, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Publish the mean of these (n, d) vectors, of pictures that are always the same, as the centre, and return it."""
    centre = np.asarray(vectors.mean(axis=0, dtype=np.float64), np.float32)
    out = io.BytesIO()
    np.save(out, centre)
    store.put_bytes(centre_key(embedder), out.getvalue())
    return centre


def read_sketch_inputs(path: Path) -> str | None:
    """Return what the sketch in a local file was made of, as `sketch_inputs` says it."""
    return file_metadata(path).get("inputs")


def sketch_inputs(images: Path, embeddings: Path | None, embedder: str) -> str:
    """Return the fingerprint of what a sketch is made of; vectors of another embedder count as none.

    Of `images` by its bytes: a take-down leaves its inputs as they are, and previews in other places.
    """
    return fingerprint(
        images=file_digest(images),
        embeddings=_inputs_of_vectors(embeddings, embedder),
        embedder=embedder,
        code_version=CODE_VERSION,
    )


def file_metadata(table: Path) -> dict[str, str]:
    """Return the key-value metadata of a local Parquet file."""
    return key_values(pq.read_metadata(table))


def _inputs_of_vectors(embeddings: Path | None, embedder: str) -> str | None:
    """Return what the vectors were made of; None where there are none of this embedder."""
    metadata = file_metadata(embeddings) if embeddings is not None else {}
    return metadata.get("inputs") if metadata.get("model") == embedder else None


def make_sketch(
    store: Store,
    archive: str,
    images: Path,
    embeddings: Path | None,
    embedder: str,
    centre: npt.NDArray[np.float32],
) -> None:
    """Publish the sketch of an archive: a row for each kept image that is not blank, sorted by `blake2b`."""
    provenance = Provenance(SKETCHES, CODE_VERSION, sketch_inputs(images, embeddings, embedder))
    usable = embeddings is not None and _inputs_of_vectors(embeddings, embedder) is not None
    vectors = pq.read_table(embeddings) if usable else None
    table = sketch(pq.read_table(images), vectors, centre)
    store.put_bytes(table_key(SKETCHES, archive), to_parquet(table, provenance, {"embedder": embedder}))


def sketch(images: pa.Table, embeddings: pa.Table | None, centre: npt.NDArray[np.float32]) -> pa.Table:
    """Return the sketch of an archive's `images` and `embeddings`; an image without a vector has no `vector_code`."""
    kept = images.filter(pc.equal(images["decision"], ImageDecision.KEPT.value))
    hash_column, quality_column = _PDQ
    if quality_column in kept.column_names:
        kept = kept.filter(pc.fill_null(pc.greater_equal(kept[quality_column], LEAST_QUALITY), True))
    hashes = kept[hash_column] if hash_column in kept.column_names else pa.nulls(len(kept), pa.binary(BITS // 8))
    columns = {
        "blake2b": kept["blake2b"],
        "pixels": pc.multiply(kept["width"].cast(pa.int64()), kept["height"].cast(pa.int64())),
        "pdq": hashes,
        "vector_code": _codes(kept["blake2b"], embeddings, centre),
        "preview_shard": kept["preview_shard"],
        "preview_offset": kept["preview_offset"],
        "preview_size": kept["preview_size"],
    }
    return pa.table({name: columns[name] for name in SKETCH.names}, SKETCH).sort_by("blake2b")


def _codes(wanted: pa.ChunkedArray, embeddings: pa.Table | None, centre: npt.NDArray[np.float32]) -> pa.Array:
    if embeddings is None or not len(embeddings):
        return pa.nulls(len(wanted), pa.binary(BITS // 8))
    codes = vector_codes(vectors_of(embeddings), centre)
    made = pa.FixedSizeBinaryArray.from_buffers(pa.binary(BITS // 8), len(codes), [None, pa.py_buffer(codes)])
    return made.take(pc.index_in(wanted, embeddings["blake2b"].combine_chunks()).combine_chunks())
