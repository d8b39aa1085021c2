"""Ownership in 16 parts, by the first hexadecimal digit of the digest: each may be made on a machine of its own.

Here they are published, `ownership_parts/<digit>.parquet`, and joined to the whole table. When that is done, and what
becomes of it, is `publishing`'s decision.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.dataset.ownership import Owned, Ownership, OwnershipWriter, assign_ownership, read_owned
from imgmine.dataset.ownership_inputs import CODE_VERSION, read_inputs
from imgmine.errors import ImgmineError
from imgmine.store.base import NotInStore, Store, StoredObject
from imgmine.store.object_file import open_parquet
from imgmine.store.tables import Provenance, table_key

OWNERSHIP_PARTS = "ownership_parts"
PREFIXES = tuple("0123456789abcdef")

_HELD, _OWNED = "held", "owned"


class BadPart(ImgmineError):
    """A part of ownership cannot be joined to the others."""


@dataclass(frozen=True, slots=True)
class Part:
    """A published part: the object, what it was made from (an `OwnershipInputs.answer`), and what was found."""

    stored: StoredObject
    answer: str
    found: Ownership


@dataclass(frozen=True, slots=True)
class PartSummary:
    """What a published part covers; `digest` is the same for the same part, `changed` whether it had to be written."""

    archives: int
    found: Ownership
    digest: str
    changed: bool


def publish_part(
    store: Store,
    mirror_folder: Path,
    scratch: Path,
    prefix: str,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> PartSummary:
    """Find the owner of every published file whose BLAKE2b begins with the prefix, and publish them, unless it is done.

    `mirror_folder` keeps copies of the tables of a remote store; `scratch` is emptied by the caller.
    `on_progress(done, total)` counts archives. Raises `BadFilesTable`, also where an archive is mined again meanwhile.
    """
    if prefix not in PREFIXES:
        raise ValueError(f"no prefix of a part: {prefix!r}")
    inputs = read_inputs(store, mirror_folder)
    key = part_key(prefix)
    former = _read_part(store, key)
    if former is not None and former.answer == inputs.answer:
        return PartSummary(len(inputs.holdings), former.found, inputs.answer, changed=False)
    out = scratch / "part.parquet"
    found = assign_ownership(
        inputs.holdings,
        out,
        scratch,
        Provenance(OWNERSHIP_PARTS, CODE_VERSION, inputs.answer).as_metadata(),
        prefix=prefix,
        counted=_as_metadata,
        on_progress=on_progress,
    )
    inputs.check()
    store.put_file(key, out)
    out.unlink()
    return PartSummary(len(inputs.holdings), found, inputs.answer, changed=True)


def part_key(prefix: str) -> str:
    """Return the store key of the part with this prefix."""
    return table_key(OWNERSHIP_PARTS, prefix)


def read_parts(store: Store) -> tuple[Part, ...]:
    """Return the parts that are there and can be read, in order of prefix, whatever they were made from."""
    keys = {stored.key for stored in store.list(f"{OWNERSHIP_PARTS}/")}
    return tuple(
        part for key in map(part_key, PREFIXES) if key in keys and (part := _read_part(store, key)) is not None
    )


def _read_part(store: Store, key: str) -> Part | None:
    stored = store.stat(key)
    if stored is None:
        return None
    try:
        with open_parquet(store, key) as table:
            return _part(stored, table.metadata.metadata or {})
    except (NotInStore, pa.ArrowException, KeyError, ValueError):
        return None


def _part(stored: StoredObject, metadata: Mapping[bytes, bytes]) -> Part:
    held, owned = (tuple(map(int, json.loads(metadata[name.encode()]))) for name in (_HELD, _OWNED))
    found = Ownership(int(metadata[b"distinct"]), int(metadata[b"repeated"]), held, owned)
    return Part(stored, metadata[b"inputs"].decode(), found)


def _as_metadata(found: Ownership) -> dict[str, str]:
    return {
        "distinct": str(found.distinct),
        "repeated": str(found.repeated),
        _HELD: json.dumps(found.held),
        _OWNED: json.dumps(found.owned),
    }


def remove_other_parts(store: Store, parts: Sequence[Part], answer: str) -> None:
    """Remove those of these parts that were made from something else, and are still the same ones."""
    for part in parts:
        if part.answer != answer and store.stat(part.stored.key) == part.stored:
            store.delete(part.stored.key)


def are_whole(parts: Sequence[Part], answer: str) -> bool:
    """Tell whether all parts are there, each made from this."""
    return len(parts) == len(PREFIXES) and all(part.answer == answer for part in parts)


def join_parts(
    store: Store,
    parts: Sequence[Part],
    archives: Sequence[str],
    out: Path,
    scratch: Path,
    metadata: Mapping[str, str],
    *,
    on_rows: Callable[[Owned], None],
) -> Ownership:
    """Write the table that `assign_ownership` would write, byte for byte, from all parts of the same inputs.

    `archives` are the holdings in their order. The rows are read one after the other, with a few in memory, and of a
    remote store one part at a time is in `scratch`; `on_rows` is shown them. Raises `BadPart`.
    """
    places = {archive: number for number, archive in enumerate(archives)}
    with OwnershipWriter(out, archives, metadata) as writer:
        for part in parts:
            for owned in _rows_of(store, part, places, scratch):
                writer.write(owned)
                on_rows(owned)
    every = [part.found for part in parts]
    return Ownership(
        distinct=sum(found.distinct for found in every),
        repeated=sum(found.repeated for found in every),
        held=_summed([found.held for found in every]),
        owned=_summed([found.owned for found in every]),
    )


def _rows_of(store: Store, part: Part, places: dict[str, int], scratch: Path) -> Iterator[Owned]:
    folder = scratch / "part"
    path = store.local_copy(part.stored.key, folder)
    try:
        with pq.ParquetFile(path, pre_buffer=False) as parquet:
            _check_same(part, parquet.metadata.metadata or {})
            yield from read_owned(parquet, places)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise BadPart(
            f"{store.uri(part.stored.key)} cannot be joined to the other parts ({error}). Run this again; if that "
            "does not help, remove that object, and all is made without the parts."
        ) from error
    if folder.is_dir():
        shutil.rmtree(folder)


def _check_same(part: Part, metadata: Mapping[bytes, bytes]) -> None:
    if _part(part.stored, metadata) != part:
        raise ValueError("it was made again meanwhile")


def _summed(counts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*counts, strict=True)))
