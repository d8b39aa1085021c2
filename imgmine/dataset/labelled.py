"""The vectors of the pictures that people labelled, wherever they lie, and which label applies to which.

What was said is read in `labels`; what is learned from it is in `imgmine.models.probe_model`.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imgmine.dataset.archives import named_ownership
from imgmine.dataset.labels import LabelLog
from imgmine.dataset.publishing import ARCHIVES_KEY, DATASET
from imgmine.models.probe_model import Labelled
from imgmine.models.vectors import embedder_of, vectors_of
from imgmine.store.base import NotInStore, Store
from imgmine.store.publish import read_table
from imgmine.store.tables import DIGEST, parquet_metadata, table_key


def values_of(log: LabelLog, label: str, exclusive: Collection[str]) -> dict[bytes, bool]:
    """Return for which pictures a label applies or not.

    Of the `exclusive` labels (categories) a picture has one: what is of one is not of the others, unless it was said.
    """
    values = dict(log.values.get(label, {}))
    if label in exclusive:
        for other in exclusive:
            for digest, applies in log.values.get(other, {}).items():
                if other != label and applies:
                    values.setdefault(digest, False)
    return values


def labelled_vectors(
    store: Store, scratch: Path, log: LabelLog, embedder: str, exclusive: Collection[str]
) -> dict[str, Labelled]:
    """Return for each label the vectors of this embedder's version, in order of BLAKE2b.

    Pictures that no archive has a vector of are left out. Where `dataset` has said which archive owns a picture, only
    that one is read.
    """
    values = {label: values_of(log, label, exclusive) for label in log.values}
    wanted = {digest for found in values.values() for digest in found}
    vectors: dict[bytes, np.ndarray] = {}
    for archive in _archives(store, scratch, wanted):
        vectors |= _vectors(store, archive, wanted - vectors.keys(), embedder)
        if len(vectors) == len(wanted):
            break
    labelled = {}
    for label, found in values.items():
        digests = sorted(digest for digest in found if digest in vectors)
        if digests:
            rows = np.stack([vectors[digest] for digest in digests])
            labelled[label] = Labelled(rows, np.array([found[digest] for digest in digests]))
    return labelled


def _archives(store: Store, scratch: Path, wanted: Collection[bytes]) -> Iterator[str]:
    if not wanted:
        return
    try:
        names = named_ownership(parquet_metadata(store.get_bytes(ARCHIVES_KEY)))
        tables = [store.local_copy(f"{DATASET}/{name}", scratch) for name in names]
    except NotInStore:
        for found in store.list("embeddings/"):
            yield found.key.removeprefix("embeddings/").removesuffix(".parquet")
        return
    here = pc.is_in(pc.field("blake2b"), value_set=pa.array(sorted(wanted), DIGEST))
    owners: dict[bytes, str] = {}
    for table in tables:  # what has changed comes last
        found = pq.read_table(table, columns=["blake2b", "archive"], filters=here)
        owners |= zip(found["blake2b"].to_pylist(), found["archive"].to_pylist(), strict=True)
    yield from sorted(set(owners.values()))


def _vectors(store: Store, archive: str, wanted: Collection[bytes], embedder: str) -> dict[bytes, np.ndarray]:
    if store.stat(table_key("embeddings", archive)) is None:
        return {}
    published = read_table(store, "embeddings", archive)
    if embedder_of(published.metadata) != embedder:
        return {}
    table = published.read()
    found = table.filter(pc.is_in(table["blake2b"], pa.array(sorted(wanted), DIGEST)))
    return dict(zip(found["blake2b"].to_pylist(), vectors_of(found), strict=True))
