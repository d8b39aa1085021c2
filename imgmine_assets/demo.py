"""The demo: a miniature Internet Archive on loopback, mined through the whole graph, and the UI on the result."""

import contextlib
import sys
import time
from dataclasses import replace
from pathlib import Path

import click
import dagster as dg

from imgmine.amounts import readable_bytes, readable_seconds
from imgmine.dataset.labels import add_labels, read_labels
from imgmine.dataset.releases.inputs import InputMissing, read_inputs
from imgmine.dataset.releases.making import version_to_make
from imgmine.dataset.releases.recipe import EXAMPLE, read_recipe
from imgmine.demo.archives import TRUTH_FOLDER, make_archives
from imgmine.demo.reference import make_reference
from imgmine.demo.server import serve
from imgmine.demo.tagging import BY, demo_labels
from imgmine.errors import ImgmineError
from imgmine.settings import Settings
from imgmine.store.base import NotInStore, Store
from imgmine.store.opening import store_of
from imgmine.store.publish import read_table
from imgmine_assets.instance import open_instance
from imgmine_assets.mining import Outcome, mine, run_job
from imgmine_assets.releases import register
from imgmine_assets.shown import count_values
from imgmine_assets.ui import UiFailed, free_port, running_ui, show

_REFERENCE = "reference"


class NotADemo(ImgmineError):
    """The store holds archives that are not the demo's."""


def run_demo(settings: Settings, seed: int, port: int | None) -> bool:
    """Make the archives, serve them and mine them; return whether every run succeeded.

    With a port, the UI is opened on the result, and this waits for Ctrl-C while the miniature archive is still served.
    """
    started = time.monotonic()
    root = settings.home / "demo" / f"seed-{seed}"
    click.echo("Making a miniature Internet Archive …")
    identifiers = _archives_in(root, seed)
    refuse_to_mix(store_of(settings), identifiers)
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    click.echo(f"{len(identifiers)} archives in Imgur's format, {readable_bytes(size)}, in {root}")
    with serve(root) as server:
        settings = replace(settings, archive_org=server.url, reference=settings.reference or root / _REFERENCE)
        outcomes = _mine_everything(settings, identifiers, sorted((root / TRUTH_FOLDER).glob("*.json")))
        for outcome in outcomes:
            if not outcome.succeeded:
                click.echo(f"{outcome.job} {outcome.archive or ''} failed: {outcome.reason}", err=True)
        click.echo(
            f"{len(outcomes)} runs in {readable_seconds(time.monotonic() - started)}; the store: {settings.store}"
        )
        if port is not None:
            _serve_ui(port, settings)
    return all(outcome.succeeded for outcome in outcomes)


def _archives_in(root: Path, seed: int) -> list[str]:
    """Make the archives, unless an earlier demo has; return their identifiers, oldest first."""
    complete = root / ".complete"
    if not complete.exists():
        # Progress is one line, written over: each archive has some 300 records.
        def tell(archive: str, done: int, total: int) -> None:
            click.echo(f"\r  {archive}: {done} of {total} records ", nl=done == total, err=True)

        make_archives(root, seed, progress=tell if sys.stderr.isatty() else None)
        make_reference(root / _REFERENCE, seed)
        complete.touch()
    return sorted(path.name for path in root.iterdir() if (path / "item.json").exists())


def refuse_to_mix(store: Store, identifiers: list[str]) -> None:
    """Raise `NotADemo` where the store has archives that are not among these: the demo is no part of a dataset."""
    manifests = {found.key.removeprefix("manifests/").removesuffix(".json") for found in store.list("manifests/")}
    if others := sorted(manifests - set(identifiers)):
        raise NotADemo(
            f"{store.url} holds archives that are not this demo's ({others[0]}, …). "
            "Set IMGMINE_HOME to another folder for the demo."
        )


def summary(store: Store, archive: str) -> str:
    """Return what became of an archive in one line, as far as it has come."""
    counts = []
    for table, decision in (("records", None), ("files", None), ("images", "kept"), ("anomaly_scores", "kept")):
        try:
            rows = read_table(store, table, archive).read()
        except NotInStore:
            break
        kept = rows.num_rows if decision is None else count_values(rows, "decision")[decision]
        counts.append(f"{kept} {table if decision is None else f'{decision} of {rows.num_rows} {table}'}")
    return " → ".join(counts) or "nothing was published"


def _mine_everything(settings: Settings, identifiers: list[str], truths: list[Path]) -> list[Outcome]:
    # Loading the graph takes seconds, which `--help` should not.
    from imgmine_assets.definitions import build_defs

    defs = build_defs(settings=settings)
    store = store_of(settings)
    with open_instance(settings) as instance:
        outcomes = []
        for number, identifier in enumerate(identifiers, start=1):
            click.echo(f"Mining {identifier} ({number} of {len(identifiers)})")
            outcomes += mine(defs, instance, [identifier])
            click.echo(f"  {summary(store, identifier)}")
        click.echo("Fitting the mixture to the reference images")
        outcomes.append(run_job(defs, instance, "fit_gmm"))
        click.echo("Fitting probes to labels of half of the pictures")
        _label(store, truths, settings.mirror)
        outcomes.append(run_job(defs, instance, "fit_probe"))
        for identifier in identifiers:
            click.echo(f"Scoring {identifier}")
            outcomes.append(run_job(defs, instance, "score_archive", identifier))
        click.echo("Looking for near-duplicates")
        outcomes.append(run_job(defs, instance, "find_near_duplicates"))
        click.echo("Making the dataset's statistics and dbt's reports")
        outcomes.append(run_job(defs, instance, "statistics"))
        if all(outcome.succeeded for outcome in outcomes):
            outcomes += _release(settings, store, defs, instance)
    return outcomes


def _release(settings: Settings, store: Store, defs: dg.Definitions, instance: dg.DagsterInstance) -> list[Outcome]:
    """Make a release by the example of a recipe, unless an earlier demo has."""
    recipe = read_recipe(EXAMPLE)
    try:
        version, is_there = version_to_make(store, read_inputs(store, settings.mirror, recipe))
    except InputMissing as error:  # the package of the NSFW model is a choice
        click.echo(f"No release is made: {error}")
        return []
    if is_there:
        return []
    click.echo(f"Making the release {version}")
    register(store, instance, version, recipe)
    return [run_job(defs, instance, "make_release", version)]


def _label(store: Store, truths: list[Path], mirror: Path) -> None:
    """Say of half of the pictures what they are, unless an earlier demo has."""
    if not read_labels(store, mirror).entries:
        add_labels(store, demo_labels(truths), by=BY)


def _serve_ui(port: int, settings: Settings) -> None:
    port = free_port(port)
    click.echo("Starting the Dagster UI …")
    environ = {
        "IMGMINE_HOME": str(settings.home),
        "IMGMINE_STORE": settings.store,
        "IMGMINE_CACHE": str(settings.cache),
        "IMGMINE_ARCHIVE_ORG": settings.archive_org,
        "IMGMINE_REFERENCE": str(settings.reference),
    }
    url = f"http://127.0.0.1:{port}"
    with contextlib.suppress(KeyboardInterrupt), running_ui(port, environ, settings.home) as child:
        click.echo(f"\n  The Dagster UI is at {url} — the graph: {url}/asset-groups. Ctrl-C ends it.\n")
        show(f"{url}/asset-groups")
        status = child.wait()
        raise UiFailed(f"The Dagster UI ended by itself, with status {status}; what it said is above.")
