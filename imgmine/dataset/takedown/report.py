"""What a take-down did: noted for each archive and release before it is done, and told in a report afterwards.

Everything is in the store under `takedown/`: `archives/` and `releases/` hold the notes, `reports/` a report for each
state of the log, as JSON and as Markdown.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from imgmine.dataset.takedown.archive import ArchiveChange, GoneMember, ShardChange, TableChange
from imgmine.dataset.takedown.scan import Scan
from imgmine.dataset.takedown_log import Action, Entry, TakedownLog
from imgmine.store.base import NotInStore, Store

_NOTES = "takedown/archives"
_RELEASE_NOTES = "takedown/releases"
REPORTS = "takedown/reports/"
_ROWS_TOLD = 200


@dataclass(frozen=True, slots=True)
class ReleaseChange:
    """A release that was corrected: by number of the shard, its files (layout and key) before and after.

    `taken` are the BLAKE2b of the images that are out of it. Where it was not finished, all that was made is gone.
    """

    version: str
    finished: bool
    before: Mapping[str, Mapping[str, str]]
    after: Mapping[str, Mapping[str, str]]
    taken: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What was done for the log's entries up to `log`, what could not be, and what a scan found afterwards.

    Attributes:
        archives, releases: what was changed since the report before.
        raw_kept, raw_dropped: WARC files in the archive cache, as archive/name, that have the bytes or had them.
        busy: archives and releases that somebody was at work on; a second run takes them.
        to_mine: archives that an undo wants mined again.
        undone: files that were taken back; `restored` of them are stored again.
    """

    log: TakedownLog
    archives: Sequence[ArchiveChange] = ()
    releases: Sequence[ReleaseChange] = ()
    raw_kept: Sequence[str] = ()
    raw_dropped: Sequence[str] = ()
    busy: Sequence[str] = ()
    to_mine: Sequence[str] = ()
    undone: int = 0
    restored: int = 0
    scan: Scan | None = field(default=None)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to be done, and nothing was found."""
        return not self.busy and self.scan is not None and self.scan.is_clean

    @property
    def shards(self) -> int:
        return sum(len(change.shards) for change in self.archives) + sum(len(change.before) for change in self.releases)

    @property
    def rows(self) -> int:
        """Rows that went out of tables, and those of `records` that say `blocked` since."""
        return sum(table.rows for change in self.archives for table in change.tables)

    @property
    def files(self) -> int:
        """Distinct files."""
        return len({digest for change in self.archives for digest in change.files})

    def as_json(self) -> bytes:
        """Return all of it; the same for the same store."""
        said = {
            "format": 1,
            "log": {"entries": len(self.log.entries), "head": self.log.head, "blocked": len(self.log.blocked)},
            "complete": self.is_complete,
            "archives": [asdict(change) for change in self.archives],
            "releases": [asdict(change) for change in self.releases],
            "raw_kept": list(self.raw_kept),
            "raw_dropped": list(self.raw_dropped),
            "busy": list(self.busy),
            "to_mine": list(self.to_mine),
            "undone": {"files": self.undone, "restored": self.restored},
            "scan": asdict(self.scan) if self.scan is not None else None,
        }
        return json.dumps(said, indent=1, ensure_ascii=False).encode() + b"\n"

    def as_text(self) -> str:
        """Return it for people, as Markdown, the hashes of each shard in the JSON beside it."""
        return "\n".join(_lines(self)) + "\n"


def report_keys(log: TakedownLog) -> tuple[str, str]:
    """Return the keys of the report for this state of the log: JSON, Markdown."""
    stem = f"{REPORTS}{len(log.entries):08d}-{log.head[:12]}"
    return f"{stem}.json", f"{stem}.md"


def put_report(store: Store, report: Report) -> None:
    """Put the report; the JSON goes last."""
    as_json, as_text = report_keys(report.log)
    store.put_bytes(as_text, report.as_text().encode())
    store.put_bytes(as_json, report.as_json())


def reported_before(store: Store, log: TakedownLog) -> int:
    """Return how many entries the log had at the last report of an earlier state."""
    numbers = [int(stored.key.removeprefix(REPORTS).partition("-")[0]) for stored in store.list(REPORTS)]
    return max((number for number in numbers if number < len(log.entries)), default=0)


def note_archive(store: Store, log: TakedownLog, change: ArchiveChange) -> None:
    """Note what is about to be done to an archive, beside what was noted before."""
    _note(store, f"{_NOTES}/{change.archive}.json", log, asdict(change))


def note_release(store: Store, log: TakedownLog, change: ReleaseChange) -> None:
    """Note what is about to be done to a release, or was."""
    _note(store, f"{_RELEASE_NOTES}/{change.version}.json", log, asdict(change))


def noted_of_archive(store: Store, archive: str, after: int = 0) -> list[ArchiveChange]:
    """Return what was noted of an archive since the log had `after` entries."""
    return [_archive_change(said) for said in _noted(store, f"{_NOTES}/{archive}.json", after)]


def noted_archives(store: Store, after: int = 0) -> list[str]:
    """Return the archives of which something was noted since the log had `after` entries."""
    keys = [stored.key for stored in store.list(f"{_NOTES}/")]
    return [key.removeprefix(f"{_NOTES}/").removesuffix(".json") for key in keys if _noted(store, key, after)]


def noted_of_releases(store: Store, after: int = 0) -> list[ReleaseChange]:
    """Return what was noted of releases since the log had `after` entries, the last word on each."""
    found = {}
    for stored in store.list(f"{_RELEASE_NOTES}/"):
        for said in _noted(store, stored.key, after):
            change = ReleaseChange(**{**said, "taken": tuple(said["taken"])})
            found[(change.version, repr(sorted(change.before.items())))] = change
    return list(found.values())


def merged(changes: Iterable[ArchiveChange]) -> list[ArchiveChange]:
    """Return one change for each archive: a run that was killed noted what the next one noted again."""
    by_archive: dict[str, list[ArchiveChange]] = {}
    for change in changes:
        by_archive.setdefault(change.archive, []).append(change)
    return [
        ArchiveChange(
            archive,
            tuple(sorted({digest for change in found for digest in change.files})),
            tuple(dict.fromkeys(shard for change in found for shard in change.shards)),
            tuple(dict.fromkeys(table for change in found for table in change.tables)),
            tuple(sorted({name for change in found for name in change.raw_files})),
        )
        for archive, found in sorted(by_archive.items())
    ]


def _note(store: Store, key: str, log: TakedownLog, said: Mapping[str, Any]) -> None:
    try:
        notes = json.loads(store.get_bytes(key))
    except NotInStore:
        notes = []
    # By way of JSON, so that it equals what was read.
    note = json.loads(json.dumps({"entries": len(log.entries), "change": said}))
    if note not in notes:
        store.put_bytes(key, json.dumps([*notes, note], indent=1).encode() + b"\n")


def _noted(store: Store, key: str, after: int) -> list[dict[str, Any]]:
    try:
        notes = json.loads(store.get_bytes(key))
    except NotInStore:
        return []
    return [note["change"] for note in notes if note["entries"] > after]


def _archive_change(said: Mapping[str, Any]) -> ArchiveChange:
    return ArchiveChange(
        said["archive"],
        tuple(said["files"]),
        tuple(
            ShardChange(shard["before"], shard["after"], tuple(GoneMember(**member) for member in shard["gone"]))
            for shard in said["shards"]
        ),
        tuple(TableChange(**table) for table in said["tables"]),
        tuple(said["raw_files"]),
    )


def _lines(report: Report) -> Iterable[str]:
    log = report.log
    yield f"# Take-down up to entry {len(log.entries)}"
    yield ""
    yield f"- hash of the last entry: `{log.head}`; files blocked now: {len(log.blocked)}"
    yield (
        f"- since the report before: {report.files} files out of {report.shards} shards, {report.rows} rows of tables "
        f"changed, in {len(report.archives)} archives and {len(report.releases)} releases"
    )
    yield f"- {_scan_line(report.scan)}"
    if report.busy:
        yield f"- **not done**, as somebody is at work on it: {', '.join(report.busy)}. Run it again."
    if report.raw_kept:
        yield f"- in the cache {len(report.raw_kept)} WARC files have the bytes still; `--drop-raw` removes them"
    if report.raw_dropped:
        yield f"- removed from the archive cache: {len(report.raw_dropped)} WARC files"
    if report.undone:
        left = report.undone - report.restored
        yield f"- taken back: {report.undone} files, {report.restored} of them stored again, {left} not"
    if report.to_mine:
        yield f"- to be mined again for that: {', '.join(report.to_mine)}"
    yield from _table("archive", "files", "shards rewritten", "rows")
    for archive in report.archives[:_ROWS_TOLD]:
        rows = sum(table.rows for table in archive.tables)
        yield f"| {archive.archive} | {len(archive.files)} | {len(archive.shards)} | {rows} |"
    yield from _table("shard before", "shard after", "members gone")
    shards = [shard for archive in report.archives for shard in archive.shards]
    for shard in shards[:_ROWS_TOLD]:
        yield f"| `{shard.before}` | {f'`{shard.after}`' if shard.after else 'nothing is left'} | {len(shard.gone)} |"
    if report.releases:
        yield from _table("release", "shards rewritten", "images gone", "finished")
        for release in report.releases:
            finished = "yes" if release.finished else "no: what was made of it is gone"
            yield f"| {release.version} | {len(release.before)} | {len(release.taken)} | {finished} |"
    yield ""
    yield "Entries: " + "; ".join(map(_entry_line, log.entries[-_ROWS_TOLD:]))


def _table(*names: str) -> Iterable[str]:
    yield ""
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"


def _scan_line(scan: Scan | None) -> str:
    if scan is None:
        return "no scan was made"
    looked = (
        f"a scan ({scan.mode}) of {scan.objects} objects, {scan.members} members of {scan.shards} shards "
        f"({scan.members_hashed} hashed) and {scan.values} values of {scan.tables} tables"
    )
    left_out = f"; {scan.skipped} shards of other archives were left out" if scan.skipped else ""
    unread = f"; **{len(scan.unread)} could not be read**" if scan.unread else ""
    if not scan.found:
        return f"{looked} found nothing of them{left_out}{unread}"
    return f"{looked} **found {len(scan.found)}**: {'; '.join(scan.found[:10])}{left_out}{unread}"


def _entry_line(entry: Entry) -> str:
    if entry.action is Action.ADD:
        return f"{entry.number} by {entry.kind}"
    return f"{entry.number} {entry.action} of {entry.of}"
