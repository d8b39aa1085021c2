"""`imgmine takedown`: naming what is to be taken down, taking that back, and carrying it out.

What a take-down is, is imgmine.dataset.takedown's; the log is imgmine.dataset.takedown_log's.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgmine.amounts import counted
from imgmine.settings import Settings, load_settings
from imgmine.store.base import Store
from imgmine.store.opening import store_of

if TYPE_CHECKING:
    from imgmine.dataset.takedown.names import Named

_TRIES, _WAIT_S = 60, 0.5


@click.group()
def takedown() -> None:
    """Take files out of the dataset: at once out of every listing, then out of the store. See docs/takedown.md."""


@takedown.command()
@click.option("--hash", "hashes", multiple=True, metavar="HASH", help="MD5, SHA-1, SHA-256 or BLAKE2b in hexadecimal.")
@click.option("--url", "urls", multiple=True, metavar="URL", help="What was archived under this URL: an original's.")
@click.option("--media-id", "media_ids", multiple=True, metavar="ID", help="What the source calls so, in any format.")
@click.option("--domain", "domains", multiple=True, metavar="DOMAIN", help="Everything from there and from below it.")
@click.option(
    "--list",
    "lists",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A hash, a URL, media_id:ID or domain:DOMAIN a line.",
)
@click.option("--reason", required=True, help="Why; it stays in the log.")
@click.option("--by", help="Who says so; the user of this process by default.")
@click.option("--dry-run", is_flag=True, help="Only tell which files it would be.")
@click.option("--yes", is_flag=True, help="Do not ask, though it be more than half of what was mined.")
def add(
    hashes: Sequence[str],
    urls: Sequence[str],
    media_ids: Sequence[str],
    domains: Sequence[str],
    lists: Sequence[Path],
    reason: str,
    by: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Block files by whatever names them: they leave every listing now, and the store with `imgmine takedown apply`.

    Several options together make one entry of the log. What is mined later and is named by it is not kept either.
    """
    from imgmine.dataset.takedown import names
    from imgmine.dataset.takedown.applying import note_found
    from imgmine.dataset.takedown_log import Action, Draft, Kind, TakedownError, append, named_digests, rules_of

    try:
        by_kind = {
            Kind.HASH: [value for text in hashes for value in names.hash_values(text)],
            Kind.URL: [names.url_value(text) for text in urls],
            Kind.MEDIA_ID: [names.media_id_value(text) for text in media_ids],
            Kind.DOMAIN: [names.domain_value(text) for text in domains],
            Kind.LIST: [value for path in lists for value in names.list_values(path)],
        }
    except TakedownError as error:
        raise click.UsageError(str(error)) from error
    given = [kind for kind, found in by_kind.items() if found]
    if not reason.strip():
        raise click.UsageError("The reason is empty: say why, for those who read the log later.")
    if not given:
        raise click.UsageError("Nothing is named: give --hash, --url, --media-id, --domain or --list.")
    values = tuple(dict.fromkeys(value for found in by_kind.values() for value in found))
    settings = load_settings()
    store = store_of(settings)
    named = names.published_under(store, settings.mirror, rules_of(values), named_digests(values))
    _tell_named(named)
    if urls and not named.digests:
        click.echo("It may be archived under another name: --media-id names a picture in every format.")
    if dry_run:
        click.echo("Nothing was done (--dry-run).")
        return
    if not yes and names.is_sweeping(store, settings.mirror, rules_of(values), named.stored):
        click.confirm("That is all of Imgur, or more than half of what was mined. Block it?", abort=True)
    kind = given[0] if len(given) == 1 else Kind.LIST
    entry = append(store, Draft(Action.ADD, kind, values, tuple(named.digests), reason.strip()), by=by)
    click.echo(f"Entry {entry.number} of the log: {entry.hash}")
    _make_listings_true(store, settings)
    # What an archive has that was published since they were looked for.
    if note_found(store, settings.mirror).head != entry.hash:
        _make_listings_true(store, settings)
    click.echo("From now on they are in no listing and no new release, and mining brings none of them back.")
    click.echo("Their bytes are in the store until: imgmine takedown apply")


@takedown.command()
@click.argument("entry", type=click.IntRange(1))
@click.option("--reason", required=True, help="Why; it stays in the log.")
@click.option("--by", help="Who says so; the user of this process by default.")
def undo(entry: int, reason: str, by: str | None) -> None:
    """Take back an entry of the log. What an earlier apply has removed comes back with the next, if it is archived."""
    from imgmine.dataset.takedown_log import append, undo_of

    settings = load_settings()
    store = store_of(settings)
    added = append(store, undo_of(entry, reason), by=by)
    click.echo(f"Entry {added.number} takes back entry {entry}: {added.hash}")
    _make_listings_true(store, settings)
    click.echo("What is still stored is listed again. What was removed is mined again by: imgmine takedown apply")


@takedown.command("list")
@click.option("--values", is_flag=True, help="Print what each entry names, too.")
def list_entries(values: bool) -> None:
    """Print the log, after checking that no entry of it was changed."""
    from imgmine.dataset.takedown_log import Action, read_log

    settings = load_settings()
    store = store_of(settings)
    log = read_log(store)
    for entry in log.entries:
        what = entry.kind.replace("_", " ") if entry.action is Action.ADD else f"{entry.action} of {entry.of}"
        state = ", taken back" if entry.number in log.undone else ""
        files = f", {counted(len(entry.resolved), 'file')}" if entry.action is not Action.UNDO else ""
        click.echo(f"{entry.number}: {what}{files}, {entry.time:%Y-%m-%d %H:%M} UTC, {entry.by}: {entry.reason}{state}")
        if values:
            for value in entry.values:
                click.echo(f"   {value}")
    blocked = counted(len(log.blocked), "file")
    click.echo(f"{len(log.entries)} entries, {blocked} blocked now. Hash of the last entry: {log.head}")
    _make_listings_true(store, settings)


@takedown.command()
@click.option(
    "--scan",
    type=click.Choice(["full", "by-size", "affected"]),
    default="full",
    show_default=True,
    help="What is read to prove it: all members of all shards; those of a blocked file's size; those of the archives "
    "concerned alone.",
)
@click.option("--drop-raw", is_flag=True, help="Remove the WARC files that have the bytes from the archive cache, too.")
@click.option("--no-mine", is_flag=True, help="Do not mine what was taken back; say only which archives.")
def apply(scan: str, drop_raw: bool, no_mine: bool) -> None:
    """Carry out the log: rewrite what holds the files, mine again what was taken back, and prove it by a scan."""
    from imgmine.archives.hash_lists import list_files, read_blocklist
    from imgmine.dataset.takedown.report import report_keys
    from imgmine.dataset.takedown.restoring import taken_back
    from imgmine.dataset.takedown_log import read_log
    from imgmine_assets.definitions import build_defs
    from imgmine_assets.instance import open_instance
    from imgmine_assets.mining import mine, run_job

    settings = load_settings()
    store = store_of(settings)
    _make_listings_true(store, settings)
    defs = build_defs(settings=settings)
    config = {"ops": {"takedown_applied": {"config": {"scan": scan, "drop_raw": drop_raw}}}}
    failed = False
    with open_instance(settings) as instance:
        outcome = run_job(defs, instance, "take_down", config=config)
        log = read_log(store)
        lists = read_blocklist(list_files(settings.blocklist))
        to_mine = taken_back(store, settings.mirror, log, lists).archives if outcome.succeeded else []
        if to_mine and not no_mine:
            click.echo(f"To be mined again, as an entry was taken back: {', '.join(to_mine)}")
            for mined in mine(defs, instance, to_mine):
                failed |= not mined.succeeded
                click.echo(f"{mined.archive}: {mined.reason or 'mined'}", err=not mined.succeeded)
            outcome = run_job(defs, instance, "take_down", config=config)
        if outcome.succeeded:
            statistics = run_job(defs, instance, "statistics")
            failed |= not statistics.succeeded
            if not statistics.succeeded:
                click.echo(f"statistics: {statistics.reason}", err=True)
    as_json, as_text = report_keys(log)
    if log.entries and store.stat(as_text) is not None:
        click.echo(store.get_bytes(as_text).decode())
        click.echo(f"The report: {store.uri(as_json)}")
    if not outcome.succeeded:
        click.echo(outcome.reason, err=True)
    if failed or not outcome.succeeded:
        sys.exit(1)


def _tell_named(named: "Named") -> None:
    found = len(named.digests)
    if not found:
        click.echo("No file that was mined is named by it; it holds for what is mined later.")
        return
    stored = "stored" if named.stored == found else f"{named.stored} stored, {found - named.stored} read but not kept"
    click.echo(f"{counted(found, 'file')} named by it, in {counted(len(named.archives), 'archive')}: {stored}.")


def _make_listings_true(store: Store, settings: Settings) -> None:
    """Publish the warehouse again, whose views are what people list, where it does not follow the log."""
    from imgmine.dataset.takedown.listings import make_listings_true
    from imgmine.scratch import StageBusy, scratch_folder

    for tries_left in reversed(range(_TRIES)):
        try:
            with scratch_folder(settings.scratch, "takedown", "warehouse") as scratch:
                make_listings_true(store, settings.mirror, scratch)
                return
        except StageBusy:  # another take-down, which takes a moment
            if not tries_left:
                raise
            time.sleep(_WAIT_S)
