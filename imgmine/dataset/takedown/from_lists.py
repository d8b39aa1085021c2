"""What the lists of hashes in force name of what was mined before they came goes onto the log of take-downs.

How a list is compared with the tables is `imgmine.dataset.blocklist`'s; taking files out is `applying`'s.
"""

from pathlib import Path

from imgmine.archives.blocked import Blocklist
from imgmine.dataset.blocklist import listed_files
from imgmine.dataset.takedown.names import published_under
from imgmine.dataset.takedown_log import Action, Draft, Kind, Rules, append, read_log
from imgmine.store.base import Store

_REASON = "on a list of hashes (IMGMINE_BLOCKLIST)"


def note_listed(store: Store, mirror_folder: Path, blocklist: Blocklist) -> int:
    """Add an entry for what the list names among what is published and is not blocked yet; return how many files.

    A still goes with its video and a video with its stills. The entry has the hashes of the list that name them, so
    that they stay out when the list is no longer there.
    """
    log = read_log(store)
    found = [file for file in listed_files(store, mirror_folder, blocklist) if file.blake2b not in log.blocked]
    if not found:
        return 0
    with_stills = published_under(store, mirror_folder, Rules(), {file.blake2b for file in found}).digests
    resolved = tuple(with_stills - log.blocked)
    values = tuple(sorted({file.name for file in found}))
    append(store, Draft(Action.ADD, Kind.LIST, values, resolved, _REASON))
    return len(resolved)
