"""The doctor's round: archive after archive, what is wrong with it, what lies about on this machine, what is mended.

Only what nothing names goes, and no row or table ever does. What is wrong in the store is told by `doctor`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imgmine.archives.cache import cached
from imgmine.dataset.dataset_checks import examine_dataset
from imgmine.dataset.doctor import (
    MARKABLE,
    REMOVABLE,
    TABLES,
    Finding,
    Kind,
    archives_in,
    examine,
    make_again,
    unknown,
)
from imgmine.dataset.release_checks import examine_log, examine_releases
from imgmine.images.gated import gated_file, gated_folder
from imgmine.places import Places
from imgmine.scratch import STAGES, StageBusy, alone_with, left_behind, scratch_folder
from imgmine.store.base import NotInStore, Store
from imgmine.store.publish import out_of_date, read_table
from imgmine.store.tables import table_key


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finding, and what was done about it. Marked tables are made again by the next run, but not yet."""

    finding: Finding
    done: str = ""

    @property
    def is_mended(self) -> bool:
        return self.finding.kind in REMOVABLE and bool(self.done)

    def __str__(self) -> str:
        finding = self.finding
        if not self.done:
            return f"{finding}."
        left = ""
        if not self.is_mended and finding.archive is not None and finding.table is not None:
            left = f" {make_again(finding.archive, finding.table)}."
        return f"{finding.where}: {finding.message}. {self.done}.{left}"


def make_round(
    store: Store,
    places: Places,
    archives: Sequence[str],
    *,
    known: Collection[str],
    is_busy: Callable[[str], bool],
    scratch: Path | None = None,
    repair: bool = False,
    progress: Callable[[int, int], None] | None = None,
    read_bytes: Callable[[int], None] | None = None,
) -> Iterator[Diagnosis]:
    """Yield what is wrong with these archives, in turn, and mend it where `repair` says so and nothing is lost by it.

    `known` are the partitions. An archive of which `is_busy` is told nothing of: its run puts things in order itself.
    `scratch` is where shards are read whole, None where they are not to be. `progress(done, total)` counts archives,
    `read_bytes` is told bytes of shards.
    """
    for done, archive in enumerate(archives):
        if progress is not None:
            progress(done, len(archives))
        if is_busy(archive):
            continue
        found = [*unknown(archive, known), *examine(store, archive, scratch, read_bytes)]
        found += left_of(store, places, archive)
        if found and is_busy(archive):  # it began while it was looked at
            continue
        mended = _mend(store, places, archive, found) if repair else {}
        yield from (Diagnosis(finding, mended.get(finding.where, "")) for finding in found)


def archives_to_see(store: Store, places: Places) -> set[str]:
    """Return every archive that the store or this machine has anything of."""
    gated = gated_folder(places.scratch_root)
    waiting = {path.name for path in gated.iterdir()} if gated.is_dir() else set()
    return archives_in(store) | waiting | set(cached(places.cache))


def left_of(store: Store, places: Places, archive: str) -> Iterator[Finding]:
    """Yield what this machine has of an archive that nothing will use any more."""
    remedy = f"Run: imgmine doctor {archive} --repair"
    for stage in (stage for stage, _ in left_behind(places.scratch_root, archive) if stage in STAGES):
        path = str(places.scratch_root / stage / archive)
        yield Finding(Kind.LEFT_BEHIND, archive, path, "a killed run has left its working folder", remedy)
    gated = gated_file(places.scratch_root, archive)
    if gated.is_file() and store.stat(table_key("images", archive)) is not None:
        message = "results of the gate wait here, and images is published"
        yield Finding(Kind.WAITING_RESULTS, archive, str(gated), message, remedy)


def _mend(store: Store, places: Places, archive: str, found: Iterable[Finding]) -> dict[str, str]:
    """Mend what can be mended of an archive while no stage of it is at work; return what was done, by where.

    What is removed is what is found once more then.
    """
    kinds = {finding.kind for finding in found}
    if not kinds & (REMOVABLE | MARKABLE):
        return {}
    removed = {finding.where: "Removed" for finding in left_of(store, places, archive)}
    done: dict[str, str] = {}
    try:
        with alone_with(places.scratch_root, STAGES, archive):
            now = [*examine(store, archive)] if kinds - {Kind.LEFT_BEHIND, Kind.WAITING_RESULTS} else []
            for finding in now:
                if finding.kind is Kind.SHARD_UNNAMED:
                    store.delete(finding.where)
                    done[finding.where] = "Removed"
            gated = gated_file(places.scratch_root, archive)
            if str(gated) in removed:
                gated.unlink(missing_ok=True)
            done |= removed
            done |= _mark(store, archive, [*found, *now])
    except StageBusy:
        return {}
    return done


def _mark(store: Store, archive: str, found: Iterable[Finding]) -> dict[str, str]:
    """Have the tables at fault made again by the next run, those that come of others first; return what was done."""
    found = [finding for finding in found if finding.kind in MARKABLE]
    wanted = {finding.table for finding in found}
    if wanted & {"records", "files"}:
        wanted |= {"records", "files"}
    for name in reversed([name for name in TABLES if name in wanted]):
        with suppress(NotInStore):
            published = read_table(store, name, archive)
            marked = out_of_date(published)
            if marked.digest != published.digest:
                store.put_bytes(marked.key, marked.data)
    return {finding.where: "Marked, so that the next run makes it again" for finding in found}


def see_to_dataset(
    store: Store,
    places: Places,
    *,
    scratch: Path | None = None,
    repair: bool = False,
    read_bytes: Callable[[int], None] | None = None,
) -> Iterator[Diagnosis]:
    """Yield what is wrong with what is made over all archives, labels, models, releases and the log of take-downs, and
    what killed processes left that is no archive's.

    `scratch` is where tables and files of releases are read whole, None where they are not to be; `read_bytes` is told
    bytes of releases.
    """
    yield from (Diagnosis(finding) for finding in examine_dataset(store, scratch))
    yield from (Diagnosis(finding) for finding in examine_releases(store, scratch, read_bytes))
    yield from (Diagnosis(finding) for finding in examine_log(store))
    done, remedy = "Removed" if repair else "", "Run: imgmine doctor --repair"
    for path in store.abandoned(remove=repair):
        yield Diagnosis(Finding(Kind.LEFT_BEHIND, None, path, "a killed process has left a draft", remedy), done)
    for stage, name in list(left_behind(places.scratch_root)):
        if stage in STAGES:
            continue
        with suppress(StageBusy):  # begun this moment
            if repair:
                with scratch_folder(places.scratch_root, stage, name):
                    pass
            path = str(places.scratch_root / stage / name)
            message = "a killed run has left its working folder"
            yield Diagnosis(Finding(Kind.LEFT_BEHIND, None, path, message, remedy), done)
