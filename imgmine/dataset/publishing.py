"""The `dataset` stage: from all archives' `files` to who owns what, and `dataset/archives.parquet`.

What owns what is found by `ownership`, or by `ownership_changes` where archives only came, or is there in parts, which
`ownership_parts` joins; here it is decided which, and put into the store. `archives.parquet` goes last, in one atomic
put, and names the files of ownership that belong to it (`relations` reads them), whose own names tell what they were
made of. So a reader has the former answer or the new one, whole. What is named no more stays until a warehouse is
published that does not need it.
"""

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.dataset.archives import ARCHIVES, Archive, named_ownership
from imgmine.dataset.ownership import Holding, assign_ownership
from imgmine.dataset.ownership_changes import add_holdings
from imgmine.dataset.ownership_index import IndexWriter, index_of
from imgmine.dataset.ownership_inputs import CODE_VERSION, OwnershipInputs, read_inputs
from imgmine.dataset.ownership_parts import Part, are_whole, join_parts, read_parts, remove_other_parts
from imgmine.store.base import NotInStore, Store
from imgmine.store.object_file import open_parquet
from imgmine.store.publish import fingerprint
from imgmine.store.tables import Provenance, from_parquet, parquet_metadata, table_key, to_parquet

DATASET = "dataset"
ARCHIVES_KEY = table_key(DATASET, "archives")
# Rows of changes beside the whole table: a part of it, and never more than are quickly written again.
_MOST_CHANGES = 2 << 20
_SHARE_OF_CHANGES = 8
_INDEXES = "ownership-index"


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """What the published dataset covers.

    `files` counts an archive's distinct files, summed over archives; `distinct` counts files once; `repeated` those
    that more than one archive has. `undated` are archives with files but without a publicdate, which come last in the
    order. `digest` is the same for the same dataset; `changed` is whether anything had to be written. `ownership` names
    the files that say who owns what; `joined` is whether they were just joined of parts that were there.
    """

    archives_mined: int
    archives_known: int
    files: int
    distinct: int
    repeated: int
    undated: tuple[str, ...]
    digest: str
    changed: bool
    ownership: tuple[str, ...]
    joined: bool = False

    @property
    def coverage(self) -> float:
        """The share of known archives that have files; 1 where none is known."""
        return self.archives_mined / self.archives_known if self.archives_known else 1.0


def publish_dataset(
    store: Store,
    mirror_folder: Path,
    scratch: Path,
    *,
    known: Collection[str] = (),
    most_changes: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> DatasetSummary:
    """Find the owner of every published file and publish it with the table of archives, unless it is there already.

    Where all that has changed is that archives came, only their files are read, and at most `most_changes` rows are
    written beside the table that is there (by default an eighth of its rows, and two millions). Where the whole is to
    be made and all its parts are in the store, they are joined; parts that were made from something else go, since what
    was taken down may be in them. `known` names archives that count as known though nothing of them may be in the store
    (the partitions). `mirror_folder` keeps copies of the tables of a remote store, and an index, from run to run;
    `scratch` is emptied by the caller.
    `on_progress(done, total)` counts archives. Raises `BadFilesTable`, and `BadPart`.
    """
    # Before the inputs: a part that is made meanwhile may be of newer ones, and is not known to be old.
    parts = read_parts(store)
    inputs = read_inputs(store, mirror_folder, known)
    remove_other_parts(store, parts, inputs.answer)
    digest = fingerprint(
        archives=[(archive.identifier, archive.publicdate, _facts(archive)) for archive in inputs.archives],
        answer=inputs.answer,
    )
    former = _former(store)
    if former is not None and former.inputs == digest:
        return _summary(former.data, inputs, changed=False)
    provenance = Provenance(DATASET, CODE_VERSION, inputs.answer)
    indexes = mirror_folder / _INDEXES
    joined = False
    if former is not None and former.answer == inputs.answer:
        found = former.found
    elif former is not None and (added := _added(former, inputs, most_changes)) is not None:
        found = _add(store, former, added, inputs.holdings, provenance, scratch, indexes)
    else:
        joined = are_whole(parts, inputs.answer)
        found = _assign(store, inputs.holdings, parts if joined else None, provenance, scratch, indexes, on_progress)
    extra = {
        "answer": inputs.answer,
        "ownership": "\n".join(found.names),
        "distinct": str(found.distinct),
        "repeated": str(found.repeated),
    }
    rows = _archives_table(inputs.archives, found, inputs.footers)
    table = to_parquet(rows, Provenance(DATASET, CODE_VERSION, digest), extra)
    store.put_bytes(ARCHIVES_KEY, table)
    return _summary(table, inputs, changed=True, joined=joined)


def remove_former_ownership(store: Store) -> None:
    """Remove what an earlier answer was in, or a run that was killed has left. No warehouse may need it any more."""
    try:
        named = set(named_ownership(parquet_metadata(store.get_bytes(ARCHIVES_KEY))))
    except NotInStore:
        return
    for stored in list(store.list(f"{DATASET}/ownership")):
        if stored.key.removeprefix(f"{DATASET}/") not in named:
            store.delete(stored.key)


@dataclass(frozen=True, slots=True)
class _Found:
    """Who owns what: the files that say so, by name, and the counts of each archive."""

    names: tuple[str, ...]
    distinct: int
    repeated: int
    held: Mapping[str, int]
    owned: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Former:
    """The published table of archives, and what it says of the ownership beside it, which is there."""

    data: bytes
    inputs: str
    answer: str
    found: _Found
    footers: Mapping[str, str]
    publicdates: Mapping[str, datetime | None]
    rows: tuple[int, ...]


def _former(store: Store) -> _Former | None:
    """Return what is published by this version of the code, unless a file of it is missing."""
    try:
        data = store.get_bytes(ARCHIVES_KEY)
        metadata = parquet_metadata(data)
        if metadata.get("code_version") != CODE_VERSION:
            return None
        names = named_ownership(metadata)
        rows = tuple(_rows_of(store, name) for name in names)
    except NotInStore:
        return None
    counted = [row for row in from_parquet(data).to_pylist() if row["files_digest"] is not None]
    return _Former(
        data=data,
        inputs=metadata["inputs"],
        answer=metadata["answer"],
        found=_Found(
            names=names,
            distinct=int(metadata["distinct"]),
            repeated=int(metadata["repeated"]),
            held={row["archive"]: row["files"] for row in counted},
            owned={row["archive"]: row["owned"] for row in counted},
        ),
        footers={row["archive"]: row["files_digest"] for row in counted},
        publicdates={row["archive"]: row["publicdate"] for row in counted},
        rows=rows,
    )


def _rows_of(store: Store, name: str) -> int:
    """Return the number of rows of a table, by its footer."""
    with open_parquet(store, f"{DATASET}/{name}") as table:
        return int(table.metadata.num_rows)


def _added(former: _Former, inputs: OwnershipInputs, most_changes: int | None) -> list[Holding] | None:
    """Return the archives that came, if that is all that has changed and they are few; None where it is not."""
    publicdates = {archive.identifier: archive.publicdate for archive in inputs.archives}
    same = all(
        inputs.footers.get(archive) == footer and publicdates[archive] == former.publicdates[archive]
        for archive, footer in former.footers.items()
    )
    if not same:
        return None
    added = [holding for holding in inputs.holdings if holding.archive not in former.footers]
    whole, *changes = former.rows
    rows = sum(changes) + sum(int(pq.read_metadata(holding.files).num_rows) for holding in added)
    most = min(_MOST_CHANGES, whole // _SHARE_OF_CHANGES) if most_changes is None else most_changes
    return added if rows <= most else None


def _add(
    store: Store,
    former: _Former,
    added: Sequence[Holding],
    holdings: Sequence[Holding],
    provenance: Provenance,
    scratch: Path,
    indexes: Path,
) -> _Found:
    whole, *changes = (f"{DATASET}/{name}" for name in former.found.names)
    index = index_of(lambda: store.local_copy(whole, scratch), indexes / former.found.names[0])
    copies = [store.local_copy(key, scratch) for key in changes]
    out = scratch / "changes.parquet"
    change = add_holdings(
        added,
        [holding.archive for holding in holdings],
        index,
        copies[0] if copies else None,
        out,
        provenance.as_metadata(),
    )
    name = f"ownership_changes-{provenance.inputs}.parquet"
    store.put_file(f"{DATASET}/{name}", out)
    out.unlink()
    return _Found(
        names=(former.found.names[0], name),
        distinct=former.found.distinct + change.distinct,
        repeated=former.found.repeated + change.repeated,
        held={**former.found.held, **change.held},
        owned={
            archive: former.found.owned.get(archive, 0) + change.owned.get(archive, 0)
            for archive in (holding.archive for holding in holdings)
        },
    )


def _assign(
    store: Store,
    holdings: Sequence[Holding],
    parts: Sequence[Part] | None,
    provenance: Provenance,
    scratch: Path,
    indexes: Path,
    on_progress: Callable[[int, int], None] | None,
) -> _Found:
    name = f"ownership-{provenance.inputs}.parquet"
    out = scratch / name
    identifiers = [holding.archive for holding in holdings]
    shutil.rmtree(indexes, ignore_errors=True)  # of tables that are no longer there, or soon will not be
    with IndexWriter(indexes / name) as index:
        metadata = provenance.as_metadata()
        if parts is not None:
            found = join_parts(store, parts, identifiers, out, scratch, metadata, on_rows=index.add)
        else:
            found = assign_ownership(holdings, out, scratch, metadata, on_bucket=index.add, on_progress=on_progress)
        index.name_archives(identifiers)
    store.put_file(f"{DATASET}/{name}", out)
    out.unlink()
    return _Found(
        names=(name,),
        distinct=found.distinct,
        repeated=found.repeated,
        held=dict(zip(identifiers, found.held, strict=True)),
        owned=dict(zip(identifiers, found.owned, strict=True)),
    )


def _facts(archive: Archive) -> tuple[int | None, int | None, int | None]:
    return (archive.item_size, archive.warc_files, archive.warc_bytes)


def _archives_table(archives: Sequence[Archive], found: _Found, footers: Mapping[str, str]) -> pa.Table:
    rows = [
        {
            "archive": archive.identifier,
            "publicdate": archive.publicdate,
            "item_size": archive.item_size,
            "warc_files": archive.warc_files,
            "warc_bytes": archive.warc_bytes,
            "files": found.held.get(archive.identifier),
            "owned": found.owned.get(archive.identifier),
            "files_digest": footers.get(archive.identifier),
        }
        for archive in archives
    ]
    return pa.Table.from_pylist(rows, schema=ARCHIVES)


def _summary(published: bytes, inputs: OwnershipInputs, *, changed: bool, joined: bool = False) -> DatasetSummary:
    held = from_parquet(published, ["files"]).column("files")
    metadata = parquet_metadata(published)
    return DatasetSummary(
        archives_mined=len(inputs.holdings),
        archives_known=len(inputs.archives),
        files=sum(count for count in held.to_pylist() if count is not None),
        distinct=int(metadata["distinct"]),
        repeated=int(metadata["repeated"]),
        undated=tuple(
            archive.identifier
            for archive in inputs.archives
            if archive.publicdate is None and archive.identifier in inputs.footers
        ),
        digest=metadata["inputs"],
        changed=changed,
        ownership=tuple(f"{DATASET}/{name}" for name in named_ownership(metadata)),
        joined=joined,
    )
