"""The `dataset` stage: from all archives' `files` to `dataset/ownership.parquet` and `dataset/archives.parquet`.

What owns what is found by `ownership`; here it is decided whether anything changed, and put into the store.
"""

import hashlib
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.dataset.archives import ARCHIVES, Archive, read_archives
from imgmine.dataset.ownership import BadFilesTable, Holding, assign_ownership
from imgmine.store.base import NotInStore, Store
from imgmine.store.publish import content_digest, fingerprint
from imgmine.store.tables import Provenance, parquet_metadata, table_key, to_parquet

CODE_VERSION = "1"
DATASET = "dataset"
OWNERSHIP_KEY = table_key(DATASET, "ownership")
ARCHIVES_KEY = table_key(DATASET, "archives")

_FOOTER_END = 8


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """What the published dataset covers.

    `files` counts an archive's distinct files, summed over archives; `distinct` counts files once; `repeated` those
    that more than one archive has. `undated` are archives with files but without a publicdate, which come last in the
    order. `digest` is the same for the same dataset; `changed` is whether anything had to be written.
    """

    archives_mined: int
    archives_known: int
    files: int
    distinct: int
    repeated: int
    undated: tuple[str, ...]
    digest: str
    changed: bool

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
    on_progress: Callable[[int, int], None] | None = None,
) -> DatasetSummary:
    """Find the owner of every published file and publish both tables, unless they are there for these inputs.

    `known` names archives that count as known though nothing of them may be in the store (the partitions).
    `mirror_folder` keeps copies of the tables of a remote store from run to run; `scratch` is emptied by the caller.
    `on_progress(done, total)` counts archives. Raises `BadFilesTable` where a table cannot be read.
    """
    folder = store.mirror("files", ".parquet", mirror_folder)
    mined = {path.name.removesuffix(".parquet"): path for path in sorted(folder.glob("*.parquet"))}
    archives = read_archives(store, mirror_folder, {*mined, *known})
    holdings = [
        Holding(archive.identifier, mined[archive.identifier]) for archive in archives if archive.identifier in mined
    ]
    inputs = fingerprint(
        archives=[(archive.identifier, archive.publicdate, _facts(archive)) for archive in archives],
        files=[(holding.archive, _footer_digest(holding)) for holding in holdings],
        code_version=CODE_VERSION,
    )
    published = _published(store, inputs)
    if published is not None:
        return _summary(published, archives, mined, changed=False)
    provenance = Provenance("dataset", CODE_VERSION, inputs)
    out = scratch / "ownership.parquet"
    found = assign_ownership(holdings, out, scratch, provenance.as_metadata(), on_progress=on_progress)
    extra = {
        "distinct": str(found.distinct),
        "repeated": str(found.repeated),
        "ownership_digest": _file_digest(out),
    }
    identifiers = (holding.archive for holding in holdings)
    counts = dict(zip(identifiers, zip(found.held, found.owned, strict=True), strict=True))
    table = to_parquet(_archives_table(archives, counts), provenance, extra)
    store.put_file(OWNERSHIP_KEY, out)
    # The small table goes last: it is what says that both are there.
    store.put_bytes(ARCHIVES_KEY, table)
    out.unlink()
    return _summary(table, archives, mined, changed=True)


def _facts(archive: Archive) -> tuple[int | None, int | None, int | None]:
    return (archive.item_size, archive.warc_files, archive.warc_bytes)


def _archives_table(archives: Sequence[Archive], counts: Mapping[str, tuple[int, int]]) -> pa.Table:
    rows = [
        {
            "archive": archive.identifier,
            "publicdate": archive.publicdate,
            "item_size": archive.item_size,
            "warc_files": archive.warc_files,
            "warc_bytes": archive.warc_bytes,
            "files": counts.get(archive.identifier, (None, None))[0],
            "owned": counts.get(archive.identifier, (None, None))[1],
        }
        for archive in archives
    ]
    return pa.Table.from_pylist(rows, schema=ARCHIVES)


def _footer_digest(holding: Holding) -> str:
    """Return the digest of the Parquet file's footer.

    It names the stage's inputs and holds the size, the offsets and the extremes of every column, so it tells contents
    apart without reading them.
    """
    try:
        with holding.files.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _FOOTER_END))
            length = int.from_bytes(stream.read(4), "little")
            stream.seek(max(0, size - _FOOTER_END - length))
            return content_digest(stream.read())
    except OSError as error:
        raise BadFilesTable(f"{holding.files} cannot be read ({error}). Materialize unique_files again.") from error


def _published(store: Store, inputs: str) -> bytes | None:
    """Return the published `archives` table if it and the `ownership` beside it were made from these inputs."""
    ownership = store.stat(OWNERSHIP_KEY)
    if ownership is None:
        return None
    try:
        tail = store.get_range(OWNERSHIP_KEY, max(0, ownership.size - _FOOTER_END), _FOOTER_END)
        length = int.from_bytes(tail[:4], "little") + _FOOTER_END
        footer = store.get_range(OWNERSHIP_KEY, max(0, ownership.size - length), length)
        archives = store.get_bytes(ARCHIVES_KEY)
    except NotInStore:
        return None
    both = (parquet_metadata(data).get("inputs") for data in (footer, archives))
    return archives if all(made_from == inputs for made_from in both) else None


def _summary(
    published: bytes, archives: Sequence[Archive], mined: Mapping[str, Path], *, changed: bool
) -> DatasetSummary:
    held = pq.read_table(io.BytesIO(published), columns=["files"]).column("files")
    metadata = parquet_metadata(published)
    return DatasetSummary(
        archives_mined=len(mined),
        archives_known=len(archives),
        files=sum(count for count in held.to_pylist() if count is not None),
        distinct=int(metadata["distinct"]),
        repeated=int(metadata["repeated"]),
        undated=tuple(
            archive.identifier for archive in archives if archive.publicdate is None and archive.identifier in mined
        ),
        digest=content_digest(published),
        changed=changed,
    )


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
