"""What archives that come later change of who owns what: their own files, and nothing else is read or written.

A whole table stays as it is; beside it lies a table of the rows that have become others, or are new. What a reader
takes is the second one's row where it has one. When the whole is made anew is `publishing`'s decision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from imgmine.dataset.ownership import Holding, Owned, OwnershipWriter, digests_in, owners_of, read_digests
from imgmine.dataset.ownership_index import OwnershipIndex, find_rows
from imgmine.dataset.ownership_spool import WORDS, Rows, empty_digests


@dataclass(frozen=True, slots=True)
class Change:
    """What became of the counts: `held` of the archives that came, `owned` is more or less for each archive.

    `distinct` and `repeated` are how many more files there are, and how many more are in several archives.
    """

    held: Mapping[str, int]
    owned: Mapping[str, int]
    distinct: int
    repeated: int


def add_holdings(
    holdings: Sequence[Holding],
    order: Sequence[str],
    index: OwnershipIndex,
    former: Path | None,
    out: Path,
    metadata: Mapping[str, str],
) -> Change:
    """Write `out`, the changes to the table of `index` once these archives are there too, sorted by `blake2b`.

    `order` has every archive that has files, the first in precedence first; `former` are the changes so far.
    Raises `BadFilesTable`.
    """
    place = {archive: number for number, archive in enumerate(order)}
    added = [(holding.archive, read_digests(holding)) for holding in holdings]
    new = owners_of(
        Rows(
            np.concatenate([empty_digests(), *(digests for _, digests in added)], dtype=WORDS),
            np.repeat(np.array([place[name] for name, _ in added], np.uint32), [len(rows) for _, rows in added]),
        )
    )
    base = index.find(new.digests)
    there, copies = base.there, base.copies
    owners = np.zeros(len(there), np.uint32)
    owners[there] = np.array([place[archive] for archive in index.archives], np.uint32)[base.owners[there]]
    changes = _read(former, place)
    row = find_rows(changes.digests[:, 0].astype(np.uint64), changes.digests[:, 1].astype(np.uint64), new.digests)
    known = row >= 0
    owners[known], copies[known], there[known] = changes.owners[row[known]], changes.copies[row[known]], True
    now = Owned(new.digests, np.where(there, np.minimum(owners, new.owners), new.owners), copies + new.copies)
    stay = np.ones(len(changes.digests), np.bool_)
    stay[row[known]] = False
    with OwnershipWriter(out, order, metadata) as writer:
        writer.write(_merged(Owned(changes.digests[stay], changes.owners[stay], changes.copies[stay]), now))
    owned = np.bincount(now.owners, minlength=len(order)) - np.bincount(owners[there], minlength=len(order))
    return Change(
        held={archive: len(digests) for archive, digests in added},
        owned={archive: more for archive, more in zip(order, owned.tolist(), strict=True) if more},
        distinct=int((~there).sum()),
        repeated=int((now.copies > 1).sum() - (copies > 1).sum()),
    )


def _read(path: Path | None, place: Mapping[str, int]) -> Owned:
    if path is None:
        return Owned(empty_digests(), np.empty(0, np.uint32), np.empty(0, np.int32))
    table = pq.read_table(path).combine_chunks()
    archives = table["archive"].combine_chunks().dictionary_encode()
    places = np.array([place[name] for name in archives.dictionary.to_pylist()], np.uint32)
    return Owned(
        digests_in(table["blake2b"].combine_chunks()) if len(table) else empty_digests(),
        places[archives.indices.to_numpy(zero_copy_only=False)],
        table["copies"].to_numpy(),
    )


def _merged(one: Owned, other: Owned) -> Owned:
    """Return the rows of both, which share no digest, in order."""
    digests = np.concatenate([one.digests, other.digests], dtype=WORDS)
    prefix = digests[:, 0].astype(np.uint64)
    order = np.argsort(prefix)
    if (np.diff(prefix[order]) == 0).any():
        order = np.lexsort([digests[:, word].astype(np.uint64) for word in (3, 2, 1, 0)])
    owners = np.concatenate([one.owners, other.owners])
    return Owned(digests[order], owners[order], np.concatenate([one.copies, other.copies])[order])
