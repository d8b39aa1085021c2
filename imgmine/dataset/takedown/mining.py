"""What the log of take-downs has to say while an archive is mined: what is not to be kept, and what was found of it.

The pass itself is `imgmine.archives.extract`'s.
"""

from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from imgmine.archives.blocked import Blocklist, HashKind
from imgmine.dataset.takedown_log import Action, Draft, Rules, TakedownLog, append, named_digests
from imgmine.decisions import RecordDecision
from imgmine.store.base import Store


def blocklist_of(log: TakedownLog) -> Blocklist:
    """Return what the log blocks by hash as a list of hashes."""
    return _hashes(log.rules, log.blocked)


def named_hashes_of(log: TakedownLog) -> Blocklist:
    """Return the hashes that somebody named: a video goes for one of them that is its still's.

    What else the log blocks may be on it for the video alone whose still it was, and another video can have it too.
    """
    return _hashes(log.rules, named_digests(value for entry in log.active for value in entry.values))


def _hashes(rules: Rules, blake2b: Collection[bytes]) -> Blocklist:
    hashes = {
        HashKind.BLAKE2B: blake2b,
        HashKind.MD5: rules.md5,
        HashKind.SHA1: rules.sha1,
        HashKind.SHA256: rules.sha256,
        HashKind.PDQ: rules.pdq,
    }
    return Blocklist.of((kind, digest) for kind, digests in hashes.items() for digest in digests)


def is_as_named(rules: Rules, records: pa.Table) -> bool:
    """Tell whether the ledger says of every original that the rules name by its URL or its id that it is blocked."""
    if not rules.has_names:
        return True
    left = pc.and_(pc.is_valid(records["blake2b"]), pc.not_equal(records["decision"], RecordDecision.BLOCKED.value))
    rows = records.filter(left)
    return not any(map(rules.names, rows["url"].to_pylist(), rows["media_id"].to_pylist()))


def note_named(store: Store, log: TakedownLog, named: Mapping[bytes, tuple[str, str]]) -> None:
    """Add to the log the files that its rules name, each given with its URL and media id, and that it does not know.

    So their bytes are blocked wherever they turn up, and no longer than the entry that names them.
    """
    by_entry: dict[int, set[bytes]] = {}
    for digest, (url, media_id) in named.items():
        for entry in log.naming(url, media_id):
            if digest not in log.blocked:
                by_entry.setdefault(entry.number, set()).add(digest)
    for number, digests in sorted(by_entry.items()):
        reason = f"mined, and named by entry {number}"
        append(store, Draft(Action.FOUND, log.entry(number).kind, (), tuple(digests), reason, of=number))
