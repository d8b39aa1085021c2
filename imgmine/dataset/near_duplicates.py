"""The `near_duplicates` stage: from all archives' `images` and `embeddings` to `dataset/near_duplicates.parquet`.

Here the steps follow each other and the result is put into the store; each has a module: `sketches`, `near_items`,
`near_pairs`, `candidates`, `near_groups`, `near_judge`, `verdicts`, and `imgmine.images.same_picture`.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.dataset.archives import read_archives
from imgmine.dataset.candidates import CandidateSpool, Pairs
from imgmine.dataset.near_groups import HOWS, NEAR_DUPLICATES, Member, members
from imgmine.dataset.near_items import Items, gather
from imgmine.dataset.near_pairs import Measure, find_pairs
from imgmine.dataset.relations import connect
from imgmine.dataset.sketches import (
    SKETCHES,
    file_metadata,
    make_sketch,
    put_centre,
    read_centre,
    read_sketch_inputs,
    sketch_inputs,
)
from imgmine.dataset.verdicts import Verdicts
from imgmine.store.base import NotInStore, Store
from imgmine.store.object_file import open_parquet
from imgmine.store.publish import file_digest, fingerprint
from imgmine.store.tables import Provenance, key_values, table_key

CODE_VERSION = "1"
NEAR_DUPLICATES_KEY = table_key("dataset", "near_duplicates")

# 31 of 256 bits is what PDQ's authors call the same picture; 60 are a cosine of 0.74 between centred vectors. Pixels
# have the last word, so both are wide; `bench/near_duplicates.py` has what they cost and find.
PDQ_MEASURE = Measure("pdq", kind=0, radius=31, tables=48, mirrored=True)
VECTOR_MEASURE = Measure("vectors", kind=2, radius=60, tables=96)
MOST_CANDIDATES = 8
"""The nearest earlier images of each kind that an image keeps as candidates."""

_MEMBERS_AT_ONCE = 1 << 16
_ROW_GROUP = 1 << 17

Progress = Callable[[str, int, int], None]
"""Told the step, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """What was found. `images` were compared, `groups` have more than one, `dropped` are in one and not kept.

    `by_how` counts those dropped. `judged` pairs were looked at now, `remembered` ones by an earlier run. `digest` is
    the same for the same table; `changed` is whether it had to be made.
    """

    images: int
    groups: int
    dropped: int
    by_how: Mapping[str, int]
    judged: int
    remembered: int
    digest: str
    changed: bool


def publish_near_duplicates(
    store: Store,
    mirror_folder: Path,
    scratch: Path,
    *,
    embedder: str,
    usual_vectors: Callable[[], npt.NDArray[np.float32]],
    blocked: Collection[bytes] = (),
    threads: int = 1,
    part_rows: int = 1 << 20,
    images_at_once: int = 2048,
    on_progress: Progress | None = None,
) -> NearDuplicates:
    """Find the groups of near-duplicates among all kept images, and publish them, unless they are there already.

    `embedder` is the version of the model whose vectors count; `usual_vectors` gives vectors (n, d) of pictures of all
    kinds by it, always the same, and is called where the store has no centre of them yet. `blocked` images take no
    part. `part_rows` and `images_at_once` bound the memory and change nothing else. Raises `NearDuplicateError`.
    """
    # Imported here: OpenCV takes a fifth of a second, which loading the graph should not.
    from imgmine.dataset.near_judge import JUDGE_VERSION, PixelJudge

    tell = on_progress or _tell_nobody
    sketched = _bring_sketches_up_to_date(store, mirror_folder, embedder, usual_vectors, tell)
    inputs = fingerprint(
        sketches=list(sketched.items()), blocked=sorted(blocked), judge=JUDGE_VERSION, code_version=CODE_VERSION
    )
    table = scratch / "near_duplicates.parquet"
    if _published_inputs(store) == inputs:
        return _summary(store.local_copy(NEAR_DUPLICATES_KEY, scratch), judged=0, remembered=0, changed=False)
    folder = store.mirror(SKETCHES, ".parquet", mirror_folder)
    items = gather(folder, {archive: place for place, archive in enumerate(sketched)}, blocked, scratch)
    candidates = _candidates(items, scratch, part_rows, tell)
    verdicts = Verdicts(store, JUDGE_VERSION)
    judge = PixelJudge(store, items, verdicts, PDQ_MEASURE.radius, threads)
    kept = _own_ranks(scratch / "kept", len(items))
    found = members(kept, _told(candidates.by_image(images_at_once), len(items), tell), judge)
    _write(found, items, table, scratch, Provenance("near_duplicates", CODE_VERSION, inputs))
    # The verdicts go first: without them, the next run would look at all pairs again.
    verdicts.publish()
    store.put_file(NEAR_DUPLICATES_KEY, table)
    return _summary(table, judged=verdicts.found, remembered=verdicts.reused, changed=True)


def _tell_nobody(_step: str, _done: int, _total: int) -> None:
    pass


def _bring_sketches_up_to_date(
    store: Store,
    mirror_folder: Path,
    embedder: str,
    usual_vectors: Callable[[], npt.NDArray[np.float32]],
    tell: Progress,
) -> dict[str, str]:
    """Make the sketches that are not there for what is published now, and return each one's inputs by archive.

    Archives come in order of precedence.
    """
    images = {path.stem: path for path in store.mirror("images", ".parquet", mirror_folder).glob("*.parquet")}
    vectors = {path.stem: path for path in store.mirror("embeddings", ".parquet", mirror_folder).glob("*.parquet")}
    there = {path.stem: path for path in store.mirror(SKETCHES, ".parquet", mirror_folder).glob("*.parquet")}
    archives = [archive.identifier for archive in read_archives(store, mirror_folder, images)]
    wanted = {
        archive: sketch_inputs(images[archive], vectors.get(archive), embedder)
        for archive in archives
        if archive in images
    }
    for archive in there.keys() - wanted.keys():
        store.delete(table_key(SKETCHES, archive))
    missing = [
        archive
        for archive, inputs in wanted.items()
        if archive not in there or read_sketch_inputs(there[archive]) != inputs
    ]
    if missing:
        centre = read_centre(store, embedder)
        if centre is None:
            centre = put_centre(store, embedder, usual_vectors())
        for done, archive in enumerate(missing, 1):
            make_sketch(store, archive, images[archive], vectors.get(archive), embedder, centre)
            tell("sketch", done, len(missing))
    return wanted


def _candidates(items: Items, scratch: Path, part_rows: int, tell: Progress) -> CandidateSpool:
    spool = CandidateSpool(scratch / "candidates", MOST_CANDIDATES)
    if not len(items):
        return spool
    for codes, measure in ((items.pdq_codes, PDQ_MEASURE), (items.vector_codes, VECTOR_MEASURE)):

        def on_table(done: int, total: int, step: str = f"compare {measure.name}") -> None:
            tell(step, done, total)

        for pairs in find_pairs(codes, measure, scratch, most=MOST_CANDIDATES, part_rows=part_rows, on_table=on_table):
            spool.add(pairs)
    return spool


def _own_ranks(path: Path, count: int) -> npt.NDArray[np.uint32]:
    """Return the numbers from 0 on, in a file: at a billion images they are 4 GB."""
    if not count:
        return np.empty(0, np.uint32)
    ranks = np.memmap(path, np.uint32, "w+", shape=(count,))
    for start in range(0, count, 1 << 20):
        ranks[start : start + (1 << 20)] = np.arange(start, min(start + (1 << 20), count), dtype=np.uint32)
    return ranks


def _told(candidates: Iterable[Pairs], count: int, tell: Progress) -> Iterator[Pairs]:
    for pairs in candidates:
        yield pairs
        if len(pairs):
            tell("look", int(pairs["later"][-1]) + 1, count)


def _write(found: Iterable[Member], items: Items, path: Path, scratch: Path, provenance: Provenance) -> None:
    """Write the members and the kept ones, in order of BLAKE2b. DuckDB sorts them, in a GB of memory."""
    database = scratch / "members.duckdb"
    columns = ", ".join(NEAR_DUPLICATES.names)
    by_how: Counter[str] = Counter()
    with connect(database) as connection:
        connection.register("batch", NEAR_DUPLICATES.empty_table())
        connection.execute("CREATE TABLE members AS SELECT * FROM batch")
        for batch in _batches(found):
            rows = _rows(batch, items)
            by_how.update(rows["how"].to_pylist())
            connection.register("batch", rows)
            connection.execute("INSERT INTO members SELECT * FROM batch")
        connection.execute(
            "INSERT INTO members SELECT DISTINCT kept_blake2b, kept_blake2b, 'kept', NULL, NULL, NULL FROM members"
        )
        groups = _one(connection, "SELECT count(*) FROM members WHERE how = 'kept'")
        counts = {"images": len(items), "groups": groups, **{f"how_{how}": by_how[how] for how in sorted(by_how)}}
        metadata = {**provenance.as_metadata(), **{name: str(count) for name, count in counts.items()}}
        schema = NEAR_DUPLICATES.with_metadata(metadata)
        reader = connection.execute(f"SELECT {columns} FROM members ORDER BY blake2b").to_arrow_reader(_ROW_GROUP)
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_table(pa.Table.from_batches([batch]).cast(schema), row_group_size=_ROW_GROUP)
    database.unlink()


def _one(connection: duckdb.DuckDBPyConnection, select: str) -> int:
    row = connection.execute(select).fetchone()
    assert row is not None
    return int(row[0])


def _batches(found: Iterable[Member]) -> Iterator[list[Member]]:
    batch = []
    for member in found:
        batch.append(member)
        if len(batch) == _MEMBERS_AT_ONCE:
            yield batch
            batch = []
    yield batch


def _rows(batch: list[Member], items: Items) -> pa.Table:
    rows = []
    for rank, kept, verdict in batch:
        pdq = items.pdq_distance(kept, rank, mirrored=verdict.mirrored)
        by_pdq = "pdq" if pdq is not None and pdq <= PDQ_MEASURE.radius else "embedding"
        rows.append(
            {
                "blake2b": items.digest(rank),
                "kept_blake2b": items.digest(kept),
                "how": "mirrored" if verdict.mirrored else by_pdq,
                "pdq_distance": pdq,
                "vector_distance": items.vector_distance(kept, rank),
                "agreement": verdict.agreement,
            }
        )
    return pa.Table.from_pylist(rows, NEAR_DUPLICATES)


def _published_inputs(store: Store) -> str | None:
    try:
        with open_parquet(store, NEAR_DUPLICATES_KEY) as table:
            return key_values(table.metadata).get("inputs")
    except (NotInStore, pa.ArrowException, OSError):  # damaged, it is made again
        return None


def _summary(table: Path, *, judged: int, remembered: int, changed: bool) -> NearDuplicates:
    metadata = file_metadata(table)
    by_how = {how: int(metadata.get(f"how_{how}", 0)) for how in HOWS if how != "kept"}
    return NearDuplicates(
        images=int(metadata["images"]),
        groups=int(metadata["groups"]),
        dropped=sum(by_how.values()),
        by_how=by_how,
        judged=judged,
        remembered=remembered,
        digest=file_digest(table),
        changed=changed,
    )
