"""What is taken down while an archive is being mined: a second look at the log, once its tables are published.

What the log says before the archive is read is `mining`'s.
"""

from pathlib import Path

from imgmine.dataset.takedown.applying import note_found
from imgmine.dataset.takedown.archive import ArchiveChange, take_out
from imgmine.dataset.takedown.report import note_archive
from imgmine.dataset.takedown_log import TakedownLog, read_log
from imgmine.scratch import TABLE_STAGES, alone_with
from imgmine.store.base import Store


def see_to_later_entries(
    store: Store,
    mirror_folder: Path,
    scratch_root: Path,
    scratch: Path,
    *,
    stage: str,
    archive: str,
    since: TakedownLog,
) -> ArchiveChange | None:
    """Take out of an archive what the log blocks now, where it has more entries than it had when the stage began.

    What was named when nothing of the archive was published yet is noted in the log first. The caller holds the
    archive's lock of `stage`. Returns what was changed, None where it was nothing. Raises `StageBusy`
    where another stage of the archive is being made: then the next run of this one does it.
    """
    if read_log(store).head == since.head:
        return None
    log = note_found(store, mirror_folder)
    with alone_with(scratch_root, [other for other in TABLE_STAGES if other != stage], archive):
        change = take_out(store, archive, log.blocked, scratch, lambda change: note_archive(store, log, change))
    return None if change.is_nothing else change
