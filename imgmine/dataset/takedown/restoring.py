"""What was blocked and is so no longer, and what still is, as the tables of the archives have it.

Marking the tables of an archive, so that it is mined again, is `archive`'s; when that is done, `applying`'s.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from imgmine.archives.blocked import Blocklist, HashKind, named
from imgmine.dataset.relations import connect, view_archive_tables
from imgmine.dataset.takedown.mining import blocklist_of
from imgmine.dataset.takedown.names import published_under
from imgmine.dataset.takedown_log import Entry, TakedownLog, named_digests, rules_of
from imgmine.store.base import Store

_IN_THE_LEDGER = "SELECT DISTINCT archive, blake2b, blocked_by, warc_file FROM records WHERE decision = 'blocked'"
_AT_THE_GATE = (
    "SELECT DISTINCT archive, regexp_extract(detail, 'pdq:[0-9a-f]{64}') FROM images WHERE decision = 'blocked'"
)
_HASHES = tuple(f"{kind}:" for kind in HashKind)


class BlockedRecord(NamedTuple):
    """What the ledgers say of blocked bytes: where they are, and by which hash they are blocked (`sha1:…`)."""

    archive: str
    blake2b: bytes
    blocked_by: str | None
    warc_file: str


class TakenBack(NamedTuple):
    """What an undo wants back: distinct files, the archives to be read again for them, those to be judged again."""

    files: frozenset[bytes]
    read_again: tuple[str, ...]
    judge_again: tuple[str, ...]

    @property
    def archives(self) -> list[str]:
        """All archives that are to be mined again."""
        return sorted({*self.read_again, *self.judge_again})


def blocked_records(store: Store, mirror_folder: Path) -> list[BlockedRecord]:
    """Return what is blocked in the ledgers of all archives."""
    with connect() as connection:
        view_archive_tables(connection, {"records": store.mirror("records", ".parquet", mirror_folder)})
        return [BlockedRecord(*row) for row in connection.execute(_IN_THE_LEDGER).fetchall()]


def taken_back(store: Store, mirror_folder: Path, log: TakedownLog, lists: Blocklist) -> TakenBack:
    """Find what entries that were taken back had blocked, wherever it was blocked, and that nothing blocks any more.

    `lists` are the lists of hashes in force. What a list alone had blocked is not among it.
    """
    undone = {name for entry in _undone(log) for name in _names(entry)}
    if not undone:
        return TakenBack(frozenset(), (), ())
    blocking = lists | blocklist_of(log)
    back = [
        record
        for record in blocked_records(store, mirror_folder)
        if undone & {record.blocked_by, named(HashKind.BLAKE2B, record.blake2b)} and not _is_blocked(record, blocking)
    ]
    with connect() as connection:
        view_archive_tables(connection, {"images": store.mirror("images", ".parquet", mirror_folder)})
        pictures = connection.execute(_AT_THE_GATE).fetchall()
    return TakenBack(
        frozenset(record.blake2b for record in back),
        tuple(sorted({record.archive for record in back})),
        tuple(sorted({archive for archive, name in pictures if name in undone and not blocking.still_blocks(name)})),
    )


def undone_files(store: Store, mirror_folder: Path, log: TakedownLog) -> frozenset[bytes]:
    """Return the files of which the log or the tables know that an entry which was taken back named them, and that no
    other entry blocks."""
    gone = _undone(log)
    hashes = [value for entry in gone for value in entry.values if value.startswith(("md5:", "sha1:", "sha256:"))]
    found = published_under(store, mirror_folder, rules_of(hashes), stills=False).digests if hashes else frozenset()
    known = (digest for entry in gone for digest in (*entry.resolved, *named_digests(entry.values)))
    return (frozenset(known) | found) - log.blocked


def raw_files(store: Store, mirror_folder: Path, log: TakedownLog, lists: Blocklist) -> list[str]:
    """Return the WARC files that have blocked bytes, as archive/name: whether the pass blocked them or a take-down."""
    blocking = lists | blocklist_of(log)
    records = blocked_records(store, mirror_folder)
    return sorted({f"{each.archive}/{each.warc_file}" for each in records if _is_blocked(each, blocking)})


def _is_blocked(record: BlockedRecord, blocking: Blocklist) -> bool:
    by_itself = blocking.has(HashKind.BLAKE2B, record.blake2b)
    return by_itself or (record.blocked_by is not None and blocking.still_blocks(record.blocked_by))


def _undone(log: TakedownLog) -> list[Entry]:
    return [entry for entry in log.entries if (entry.of or entry.number) in log.undone]


def _names(entry: Entry) -> Iterator[str]:
    """Yield the hashes that an entry names, and those of the files that it was found to name."""
    yield from (value for value in entry.values if value.startswith(_HASHES))
    yield from (named(HashKind.BLAKE2B, digest) for digest in entry.resolved)
