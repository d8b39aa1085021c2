"""Vectors between NumPy and the `embeddings` table: how they are stored, and what makes one valid.

Which model made them is in the table's metadata and the card; what they mean is not known here.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgmine.errors import PersonNeeded
from imgmine.models.cards import VECTORS_CODE
from imgmine.store.tables import embeddings_schema

NORM_TOLERANCE = 2e-3
"""How far from 1 the norm of a stored vector may be: half-precision rounding leaves it well within."""


class VectorError(PersonNeeded):
    """A vector is not finite, not of norm 1, or not of the dimension that is wanted."""


def embedder_of(metadata: Mapping[str, str]) -> str:
    """Return the version of the model that made an archive's vectors, from the metadata of its `embeddings`.

    Where other code than now made them, it is no version of any model: theirs must not be compared.
    """
    model, code = metadata["model"], metadata["code_version"]
    return model if code == VECTORS_CODE else f"{model} of code version {code}"


def require_embedder(found: str, wanted: str, archive: str, again: str) -> None:
    """Raise `VectorError` where an archive's vectors are of another model than the one that is wanted.

    `again` is the asset that would make them fit, beside `embeddings`.
    """
    if found != wanted:
        raise VectorError(
            f"{archive}: the vectors are of {found}, wanted are vectors of {wanted}. Materialize embeddings of this "
            f"archive, or {again}, again with one embedder."
        )


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Return (n, d) vectors scaled to an L2 norm of 1, as float32. Raises `VectorError` where one has no direction."""
    norms: np.ndarray = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise VectorError("the model gave a vector that is zero or not finite; its ONNX file or card is at fault")
    return np.asarray(vectors / norms, np.float32)


def embeddings_table(keys: Sequence[bytes], vectors: np.ndarray) -> pa.Table:
    """Return an `embeddings` table, sorted by `blake2b`, of (n, d) vectors of norm 1; they are stored as float16."""
    schema = embeddings_schema(vectors.shape[1])
    flat = pa.array(vectors.astype(np.float16).ravel())
    table = pa.Table.from_arrays(
        [
            pa.array(keys, schema.field("blake2b").type),
            pa.FixedSizeListArray.from_arrays(flat, type=schema.field("embedding").type),
        ],
        schema=schema,
    )
    return table.take(pc.sort_indices(table, sort_keys=[("blake2b", "ascending")])).combine_chunks()


def vectors_of(table: pa.Table) -> np.ndarray:
    """Return the vectors of an `embeddings` table as float32 (n, d), in the table's order."""
    dimension = dimension_of(table)
    chunks = [
        chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)
        for chunk in table.column("embedding").chunks
    ]
    return np.concatenate([np.empty((0, dimension), np.float16), *chunks]).astype(np.float32)


def dimension_of(table: pa.Table) -> int:
    """Return the dimension of an `embeddings` table's vectors."""
    return int(table.schema.field("embedding").type.list_size)


def invalid_rows(vectors: np.ndarray) -> np.ndarray:
    """Return the indices of the (n, d) vectors that are not finite or whose norm is not 1 within `NORM_TOLERANCE`."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))
