"""The vectors of the pictures that people labelled, wherever they lie, and which label applies to which.

What was said is read in `labels`; what is learned from it is in `imgmine.models.probe_model`.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imgmine.dataset.archives import named_ownership
from imgmine.dataset.labels import LabelLog
from imgmine.dataset.publishing import ARCHIVES_KEY, DATASET
from imgmine.dataset.relations import UnreadableFile
from imgmine.errors import first_line
from imgmine.models.probe_model import Labelled
from imgmine.models.vectors import embedder_of, vectors_of
from imgmine.store.base import NotInStore, Store
from imgmine.store.object_file import open_parquet
from imgmine.store.publish import read_table
from imgmine.store.tables import DIGEST, from_parquet, key_values, parquet_metadata, table_key

_EMBEDDINGS = "embeddings"


@dataclass(frozen=True)
class LabelledVectors:
    """What was found of the pictures that are labelled, by label. `missing` are those that no archive has a vector of.

    `others` counts archives by what made their vectors, if it was not this embedder: all there are where something
    is missing.
    """

    labelled: Mapping[str, Labelled]
    missing: frozenset[bytes]
    others: Mapping[str, int]


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
) -> LabelledVectors:
    """Return for each label the vectors of this embedder's version, in order of BLAKE2b, and what has none.

    The archives that own labelled pictures, as `dataset` says, are read first, and the digests of others only while a
    picture is without a vector. One archive is in memory at a time. Raises `UnreadableFile`.
    """
    values = {label: found for label in log.values if (found := values_of(log, label, exclusive))}
    missing = {digest for found in values.values() for digest in found}
    vectors: dict[bytes, np.ndarray] = {}
    others: Counter[str] = Counter()
    for archive in _archives(store, scratch, frozenset(missing)):
        found_here = _found_in(store, archive, missing, embedder, others)
        vectors |= found_here
        missing -= found_here.keys()
        if not missing:
            break
    dimension = next((len(vector) for vector in vectors.values()), 0)
    labelled = {}
    for label, found in values.items():
        digests = sorted(found.keys() & vectors.keys())
        rows = np.array([vectors[digest] for digest in digests], np.float32).reshape(len(digests), dimension)
        without = Counter(applies for digest, applies in found.items() if digest in missing)
        labelled[label] = Labelled(
            rows, np.array([found[digest] for digest in digests], bool), without[True], without[False]
        )
    return LabelledVectors(labelled, frozenset(missing), others)


def _archives(store: Store, scratch: Path, wanted: Set[bytes]) -> Iterator[str]:
    """Yield the archives that own wanted pictures, then those that `dataset` does not know yet, then all others."""
    if not wanted:
        return
    owners, known = _owners(store, scratch, wanted)
    yield from sorted(owners)
    folder = f"{_EMBEDDINGS}/"
    names = (found.key.removeprefix(folder).removesuffix(".parquet") for found in store.list(folder))
    # An archive that was mined since has what nothing owns; the others have copies of what the owner has no vector of.
    yield from sorted((name for name in names if name not in owners), key=lambda name: name in known)


def _owners(store: Store, scratch: Path, wanted: Set[bytes]) -> tuple[set[str], set[str]]:
    """Return the archives that own wanted pictures, and all whose files `dataset` has counted; none where it is not."""
    try:
        archives = store.get_bytes(ARCHIVES_KEY)
        names = named_ownership(parquet_metadata(archives))
        tables = [store.local_copy(f"{DATASET}/{name}", scratch) for name in names]
    except NotInStore:
        return set(), set()
    here = pc.is_in(pc.field("blake2b"), value_set=pa.array(sorted(wanted), DIGEST))
    owners: dict[bytes, str] = {}
    for table in tables:  # what has changed comes last
        found = pq.read_table(table, columns=["blake2b", "archive"], filters=here)
        owners |= zip(found["blake2b"].to_pylist(), found["archive"].to_pylist(), strict=True)
    counted = from_parquet(archives, ["archive", "files"]).filter(pc.field("files").is_valid())
    return set(owners.values()), set(counted["archive"].to_pylist())


def _found_in(
    store: Store, archive: str, wanted: Set[bytes], embedder: str, others: Counter[str]
) -> dict[bytes, np.ndarray]:
    """Return this embedder's vectors of wanted pictures that an archive has; one with vectors of another is counted."""
    key = table_key(_EMBEDDINGS, archive)
    try:
        # Most archives have none, and vectors are nearly all of a table: its end is read first, then its digests.
        with open_parquet(store, key) as table:
            made_by = embedder_of(key_values(table.metadata))
            if made_by != embedder:
                others[made_by] += 1
                return {}
            digests = table.read(["blake2b"], use_threads=False)["blake2b"]
        return {} if wanted.isdisjoint(digests.to_pylist()) else _vectors(store, archive, wanted, embedder)
    except NotInStore:
        return {}
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(f"{key} in the store cannot be read ({first_line(error)})") from error


def _vectors(store: Store, archive: str, wanted: Set[bytes], embedder: str) -> dict[bytes, np.ndarray]:
    # Whole, in one reading: the archive may be embedded anew at this moment.
    published = read_table(store, _EMBEDDINGS, archive)
    if embedder_of(published.metadata) != embedder:
        return {}
    table = published.read()
    found = table.filter(pc.is_in(table["blake2b"], pa.array(sorted(wanted), DIGEST)))
    return dict(zip(found["blake2b"].to_pylist(), vectors_of(found), strict=True))
