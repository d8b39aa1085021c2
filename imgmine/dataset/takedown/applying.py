"""Carrying out the log of take-downs: all that is blocked goes out of the store, and what was taken back is asked for.

How one archive is changed is `archive`'s; how a release is, `imgmine.dataset.releases.rewriting`'s.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from imgmine.archives import part_file
from imgmine.archives.blocked import Blocklist
from imgmine.dataset.near_duplicates import NEAR_DUPLICATES_KEY
from imgmine.dataset.near_groups import NOT_WHOLE
from imgmine.dataset.relations import ARCHIVE_TABLES, connect, view_archive_tables
from imgmine.dataset.releases.release import RELEASES, Release, list_versions, read_release
from imgmine.dataset.releases.rewriting import shards_with
from imgmine.dataset.releases.rewriting import take_out as take_out_of_release
from imgmine.dataset.sketches import SKETCHES
from imgmine.dataset.takedown import report as notes
from imgmine.dataset.takedown.archive import ArchiveChange, have_made_again, take_out
from imgmine.dataset.takedown.names import digests_table, published_under
from imgmine.dataset.takedown.report import ReleaseChange, Report
from imgmine.dataset.takedown.restoring import raw_files, taken_back, undone_files
from imgmine.dataset.takedown.scan import ScanMode, scan_store
from imgmine.dataset.takedown_log import Action, Draft, TakedownLog, append, named_digests, read_log, rules_of
from imgmine.images.gated import gated_file
from imgmine.places import Places
from imgmine.scratch import TABLE_STAGES, StageBusy, alone_with, at_work_since_before, scratch_folder
from imgmine.store.base import Store
from imgmine.store.tables import Provenance, from_parquet, parquet_metadata, to_parquet

_RECIPE = "recipe.yaml"
_NO_LISTS = Blocklist()


def apply_log(
    store: Store,
    mirror_folder: Path,
    places: Places,
    scratch: Path,
    *,
    lists: Blocklist = _NO_LISTS,
    scan: ScanMode = ScanMode.FULL,
    drop_raw: bool = False,
    follow: Callable[[], None] = lambda: None,
    progress: Callable[[int, int], None] | None = None,
    scan_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Take what the log blocks out of archives, releases and local copies, scan the store, and put the report.

    What an entry that was taken back had blocked, and neither another nor one of the `lists` of hashes in force blocks,
    is to be mined again: the tables of those archives count as out of date from then on. `follow` makes anew what is
    made over all archives, before the scan. `progress(done, total)` counts archives, `scan_progress` bytes. Whatever
    kills it, a second run finishes; one that has nothing to do changes nothing.
    """
    log = note_found(store, mirror_folder)
    since = notes.reported_before(store, log)
    # A killed run may have left former shards of an archive that no table says anything of any more.
    affected = sorted({*archives_with(store, mirror_folder, log.blocked), *notes.noted_archives(store, since)})
    busy: list[str] = []
    for done, archive in enumerate(affected):
        if progress is not None:
            progress(done, len(affected))
        with _alone_with(places, archive, busy) as is_alone:
            if is_alone:
                take_out(store, archive, log.blocked, scratch, lambda change: notes.note_archive(store, log, change))
                # What the gate has found already waits there, previews too.
                gated_file(places.scratch_root, archive).unlink(missing_ok=True)
    _take_out_of_releases(store, places, log, scratch, busy)
    back = taken_back(store, mirror_folder, log, lists)
    for archive in back.read_again:
        with _alone_with(places, archive, busy) as is_alone:
            if is_alone:
                have_made_again(store, archive)
    _take_out_of_near_duplicates(store, log)
    for table in (*ARCHIVE_TABLES, SKETCHES):
        store.mirror(table, ".parquet", mirror_folder)  # what is gone goes from the copies too
    follow()
    busy += _not_seen_to(places.scratch_root, log)
    all_notes = [change for archive in affected for change in notes.noted_of_archive(store, archive)]
    raw_kept, raw_dropped = _dropped(places.cache, raw_files(store, mirror_folder, log, lists), drop_raw)
    undone = back.files | undone_files(store, mirror_folder, log)
    scanned = scan_store(
        store, *_looked_for(log, all_notes), scratch, mode=scan, archives=affected, progress=scan_progress
    )
    report = Report(
        log=log,
        archives=notes.merged(
            change for archive in affected for change in notes.noted_of_archive(store, archive, since)
        ),
        releases=notes.noted_of_releases(store, since),
        raw_kept=raw_kept,
        raw_dropped=raw_dropped,
        busy=sorted(set(busy)),
        to_mine=back.archives,
        undone=len(undone),
        restored=len(undone & stored_of(store, mirror_folder, undone)),
        scan=scanned,
    )
    if log.entries:
        notes.put_report(store, report)
    return report


def note_found(store: Store, mirror_folder: Path) -> TakedownLog:
    """Add to the log what its rules name among what has been mined since, and return the log as it is then."""
    log = read_log(store)
    named = published_under(store, mirror_folder, log.rules, named_digests(_values(log)))
    if named.digests <= log.blocked:
        return log
    for entry in log.active:
        if entry.action is Action.ADD:
            found = published_under(store, mirror_folder, rules_of(entry.values), named_digests(entry.values))
            new = found.digests - log.blocked
            if new:
                reason = f"named by entry {entry.number}"
                append(store, Draft(Action.FOUND, entry.kind, (), tuple(new), reason, of=entry.number))
    return read_log(store)


def archives_with(store: Store, mirror_folder: Path, digests: Collection[bytes]) -> set[str]:
    """Return the archives whose ledger or files name any of these files, or a still of one."""
    if not digests:
        return set()
    select = (
        "SELECT archive FROM records SEMI JOIN those USING (blake2b) UNION "
        "SELECT archive FROM files SEMI JOIN those USING (blake2b) UNION "
        "SELECT archive FROM files SEMI JOIN those ON video_blake2b = those.blake2b"
    )
    return _asked(store, mirror_folder, select, digests)


def stored_of(store: Store, mirror_folder: Path, digests: Collection[bytes]) -> frozenset[bytes]:
    """Return those of these files that any archive has."""
    if not digests:
        return frozenset()
    return frozenset(_asked(store, mirror_folder, "SELECT blake2b FROM files SEMI JOIN those USING (blake2b)", digests))


def _asked(store: Store, mirror_folder: Path, select: str, digests: Collection[bytes]) -> set[Any]:
    with connect() as connection:
        folders = {table: store.mirror(table, ".parquet", mirror_folder) for table in ("records", "files")}
        view_archive_tables(connection, folders)
        connection.register("those", digests_table(digests))
        return {value for (value,) in connection.execute(f"SELECT DISTINCT * FROM ({select})").fetchall()}


def _not_seen_to(scratch_root: Path, log: TakedownLog) -> set[str]:
    """Return the archives that are being made, and were begun before the last entry: its files may be among theirs.

    When it has published them, the stage looks at the log once more.
    """
    times = [entry.time for entry in log.entries if entry.action is not Action.UNDO]
    return at_work_since_before(scratch_root, TABLE_STAGES, max(times)) if times else set()


def _values(log: TakedownLog) -> list[str]:
    return [value for entry in log.active for value in entry.values]


@contextmanager
def _alone_with(places: Places, archive: str, busy: list[str]) -> Iterator[bool]:
    """Keep the stages of an archive from being made meanwhile; where one is being made, say so and add to `busy`."""
    with ExitStack() as held:
        try:
            held.enter_context(alone_with(places.scratch_root, TABLE_STAGES, archive))
        except StageBusy:
            busy.append(archive)
            yield False
            return
        yield True


def _take_out_of_releases(store: Store, places: Places, log: TakedownLog, scratch: Path, busy: list[str]) -> None:
    if not log.blocked:
        return
    finished = list_versions(store)
    begun = {stored.key.split("/")[1] for stored in store.list(f"{RELEASES}/") if stored.key.count("/") > 1}
    for version in sorted({*finished, *begun}):
        try:
            with scratch_folder(places.scratch_root, "release", version):
                if version in finished:
                    _correct_release(store, read_release(store, version), log, scratch)
                else:
                    _remove_unfinished(store, version, log, scratch)
        except StageBusy:
            busy.append(f"release {version}")


def _correct_release(store: Store, release: Release, log: TakedownLog, scratch: Path) -> None:
    affected = shards_with(store, release, log.blocked, scratch)
    before = _files_of(release, affected)
    taken = tuple(sorted({digest for held in affected.values() for digest in held}))
    if affected:
        notes.note_release(store, log, ReleaseChange(release.version, True, before, {}, taken))
    corrected, rewritten = take_out_of_release(store, release, log.blocked, scratch)
    if rewritten:
        after = _files_of(corrected, affected)
        notes.note_release(store, log, ReleaseChange(release.version, True, before, after, taken))


def _files_of(release: Release, numbers: Collection[int]) -> dict[str, dict[str, str]]:
    return {
        str(shard.number): {layout: file.key for layout, file in sorted(shard.files.items())}
        for shard in release.shards
        if shard.number in numbers
    }


def _remove_unfinished(store: Store, version: str, log: TakedownLog, scratch: Path) -> None:
    """Remove the shards of a release that is not finished, where one has such a file: all are made again then."""
    folder = f"{RELEASES}/{version}/"
    if scan_store(store, log.blocked, {}, scratch, prefix=folder).is_clean:
        return
    made = [stored.key for stored in store.list(folder) if stored.key != folder + _RECIPE]
    notes.note_release(store, log, ReleaseChange(version, False, {key: {} for key in made}, {}, ()))
    for key in made:
        store.delete(key)


def _take_out_of_near_duplicates(store: Store, log: TakedownLog) -> None:
    """Take the rows of blocked images out of the groups; the next run of `near_duplicates` makes the groups anew.

    It would not where the table says what it was made of: after an undo that is what is there. A table that cannot be
    read goes: nobody can tell whether a blocked image is in it, and it can be made anew.
    """
    if not log.blocked or store.stat(NEAR_DUPLICATES_KEY) is None:
        return
    data = store.get_bytes(NEAR_DUPLICATES_KEY)
    try:
        rows = from_parquet(data)
    except (pa.ArrowException, OSError):
        store.delete(NEAR_DUPLICATES_KEY)
        return
    wanted = digests_table(log.blocked)["blake2b"]
    hits = [pc.is_in(rows[name], wanted) for name in ("blake2b", "kept_blake2b")]
    left = rows.filter(pc.invert(pc.or_(*hits)))
    if left.num_rows < rows.num_rows:
        metadata = {**parquet_metadata(data), "inputs": NOT_WHOLE}
        store.put_bytes(NEAR_DUPLICATES_KEY, to_parquet(left, Provenance("", "", ""), metadata))


def _looked_for(log: TakedownLog, changes: Sequence[ArchiveChange]) -> tuple[set[bytes], dict[bytes, int]]:
    """Return the digests to look for, those of previews too, and the sizes that are known of them."""
    digests = set(log.blocked)
    sizes: dict[bytes, int] = {}
    for change in changes:
        for member in (member for shard in change.shards for member in shard.gone):
            if bytes.fromhex(member.blake2b) in log.blocked:
                digests.add(bytes.fromhex(member.member))
                sizes[bytes.fromhex(member.member)] = member.size
    return digests, sizes


def _dropped(cache: Path, names: Sequence[str], drop: bool) -> tuple[list[str], list[str]]:
    """Return which of the WARC files are in the cache, and which were removed from it; names as archive/name."""
    there = [name for name in names if (cache / name).is_file()]
    if not drop:
        return there, []
    for name in there:
        part_file.remove(cache / name)
    return [], there
