"""`imgmine doctor` and `imgmine remove`: is the store whole, and taking an archive out of it.

What is looked at is imgmine.dataset.doctor's, what is mended imgmine.dataset.mending's.
"""

import logging
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from imgmine.amounts import readable_bytes
from imgmine.settings import Settings, load_settings
from imgmine.store.base import Store

if TYPE_CHECKING:
    import dagster as dg

    from imgmine.places import Places


@click.command()
@click.argument("archives", nargs=-1, metavar="[ARCHIVE…]")
@click.option(
    "--checksums", is_flag=True, help="Read every byte: shards against their names, files against their rows."
)
@click.option("--repair", is_flag=True, help="Remove what nothing names or needs; mark what has to be made again.")
def doctor(archives: Sequence[str], checksums: bool, repair: bool) -> None:
    """Check what is stored: the tables, shards and rows of archives. See docs/housekeeping.md.

    Without ARCHIVE of all, and what there is besides: releases, the log of take-downs, labels, models, the warehouse.
    A line for each thing that is wrong, with what to do. Exit status 1 where something is wrong and was not mended.
    """
    from imgmine.dataset.mending import archives_to_see, make_round, see_to_dataset
    from imgmine.scratch import scratch_folder
    from imgmine_assets.dead_runs import end_dead_runs
    from imgmine_assets.instance import open_instance
    from imgmine_assets.partitions import known_archives
    from imgmine_assets.under_way import run_under_way

    _check_names(archives)
    settings, store, places = _opened()
    store.check()
    counts: Counter[bool] = Counter()
    skipped: list[str] = []
    progress = _Progress()
    with open_instance(settings) as instance, scratch_folder(settings.scratch, "doctor", "all") as scratch:
        end_dead_runs(instance)
        known = known_archives(instance)
        chosen = sorted(set(archives) or known | archives_to_see(store, places))

        def is_busy(archive: str) -> bool:
            busy = run_under_way(instance, archive) is not None
            if busy and archive not in skipped:
                skipped.append(archive)
            return busy

        rounds = [
            make_round(
                store,
                places,
                chosen,
                known=known,
                is_busy=is_busy,
                scratch=scratch if checksums else None,
                repair=repair,
                progress=progress.archives,
                read_bytes=progress.read_bytes,
            )
        ]
        if not archives:
            whole = scratch if checksums else None
            rounds.append(see_to_dataset(store, places, scratch=whole, repair=repair, read_bytes=progress.read_bytes))
        for diagnoses in rounds:
            for diagnosis in diagnoses:
                counts[diagnosis.is_mended] += 1
                click.echo(str(diagnosis))
    for archive in skipped:
        click.echo(f"{archive}: left out, for a run of it is under way.", err=True)
    mended = f", {counts[True]} of them mended" if counts[True] else ""
    click.echo(f"{len(chosen) - len(skipped)} archives looked at, {counts.total()} findings{mended}.", err=True)
    if counts[False]:
        sys.exit(1)


@click.command()
@click.argument("archives", nargs=-1, required=True, metavar="ARCHIVE…")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(archives: Sequence[str], yes: bool) -> None:
    """Remove archives: their partitions, tables, shards, and what was fetched of them. Releases stay as they are."""
    from imgmine.dataset.removing import data_of, remove_archive
    from imgmine_assets.instance import open_instance
    from imgmine_assets.partitions import ARCHIVES

    _check_names(archives)
    settings, store, places = _opened()
    store.check()
    with open_instance(settings) as instance:
        for archive in dict.fromkeys(archives):
            data = data_of(store, places, archive)
            is_known = instance.has_dynamic_partition(ARCHIVES, archive)
            if not is_known and not any(data):
                raise click.UsageError(f"{archive} is no partition, and there is no data of it.")
            _refuse_if_under_way(instance, archive)
            click.echo(f"{archive}: {len(data.objects)} objects, {readable_bytes(data.size)}, in {store.url}")
            for path in data.paths:
                click.echo(f"{archive}: {path}")
        if not yes:
            click.confirm("Remove all this?", abort=True)
        for archive in dict.fromkeys(archives):
            # No run of it can be launched from here on.
            instance.delete_dynamic_partition(ARCHIVES, archive)
            _refuse_if_under_way(instance, archive)
            removed = remove_archive(store, places, archive)
            click.echo(f"{archive}: removed, {len(removed.objects)} objects, {readable_bytes(removed.size)}")
    click.echo(
        "Launch the jobs statistics and find_near_duplicates: files that other archives have are theirs from then on."
    )


def _check_names(archives: Sequence[str]) -> None:
    from imgmine.archives.item import BadMetadata, check_identifier

    for archive in archives:
        try:
            check_identifier(archive)
        except BadMetadata as error:
            raise click.UsageError(str(error)) from error


def _refuse_if_under_way(instance: "dg.DagsterInstance", archive: str) -> None:
    from imgmine_assets.dead_runs import end_dead_runs
    from imgmine_assets.under_way import run_under_way

    end_dead_runs(instance)
    run = run_under_way(instance, archive)
    if run is not None:
        raise click.ClickException(f"{archive}: run {run.run_id} is under way. Wait for it, or end it; then run again.")


class _Progress:
    """A line every few seconds, on the terminal's error stream."""

    def __init__(self) -> None:
        from imgmine_assets.progress import log_progress

        log = logging.Logger("imgmine.doctor", level=logging.INFO)
        log.addHandler(logging.StreamHandler())
        self.archives = log_progress(log, "archives", unit="archives")
        self._bytes = log_progress(log, "bytes read")
        self._read = 0

    def read_bytes(self, count: int) -> None:
        """Take note of bytes that were read."""
        self._read += count
        self._bytes(self._read, 0)


def _opened() -> "tuple[Settings, Store, Places]":
    from imgmine.places import Places
    from imgmine.store.opening import store_of

    settings = load_settings()
    return settings, store_of(settings), Places(settings.scratch, settings.cache)
