"""`imgmine release`: making a release, listing, comparing and exporting them.

What a release is, is imgmine.dataset.releases'.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from imgmine.amounts import readable_bytes
from imgmine.settings import Settings, load_settings
from imgmine.store.base import Store
from imgmine.store.opening import store_of


@click.group()
def release() -> None:
    """Numbered datasets that never change, each chosen by a recipe. See docs/releases.md."""


@release.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--version", "wanted", help="v1, v2, …; the one after the last by default.")
def make(recipe: Path, wanted: str | None) -> None:
    """Make a release of what is published; a run that was killed is gone on with."""
    from imgmine.dataset.releases.inputs import read_inputs
    from imgmine.dataset.releases.making import version_to_make
    from imgmine.dataset.releases.recipe import read_recipe
    from imgmine_assets.definitions import build_defs
    from imgmine_assets.instance import open_instance
    from imgmine_assets.mining import run_job
    from imgmine_assets.releases import register

    settings = load_settings()
    store = store_of(settings)
    read = read_recipe(recipe)
    version, is_there = version_to_make(store, read_inputs(store, settings.mirror, read), wanted)
    if is_there:
        click.echo(f"{version} is there already, made by this recipe from what is published now.")
        return
    with open_instance(settings) as instance:
        register(store, instance, version, read)
        outcome = run_job(build_defs(settings=settings), instance, "make_release", version)
    if not outcome.succeeded:
        click.echo(f"{version}: {outcome.reason}", err=True)
        sys.exit(1)
    _tell(store, version)


@release.command("list")
def list_releases() -> None:
    """Print each version: its name, images, shards and bytes."""
    from imgmine.dataset.releases.release import list_versions

    store = store_of(load_settings())
    versions = list_versions(store)
    for version in versions:
        _tell(store, version)
    if not versions:
        click.echo("There is no release yet: imgmine release make RECIPE")


@release.command()
@click.argument("before")
@click.argument("after")
def diff(before: str, after: str) -> None:
    """Tell what came and what went between two versions, and why."""
    from imgmine.dataset.releases.comparing import diff_between

    settings = load_settings()
    store = store_of(settings)
    with _scratch(settings, "diff", before, after) as scratch:
        click.echo(diff_between(store, before, after, scratch).as_text())


@release.group()
def export() -> None:
    """A release for other tools."""


@export.command()
@click.argument("version")
@click.argument("file", type=click.Path(path_type=Path))
def duckdb(version: str, file: Path) -> None:
    """Write all that is known of a release's images, without the pictures, into one DuckDB file."""
    from imgmine.dataset.releases.exports import export_duckdb
    from imgmine.dataset.releases.release import read_release

    settings = load_settings()
    store = store_of(settings)
    with _scratch(settings, "export_duckdb", version) as scratch:
        rows = export_duckdb(store, read_release(store, version), file, scratch)
    click.echo(f"{rows} images: table samples, for DuckDB: {file}")


@export.command()
@click.argument("version")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--limit", type=click.IntRange(1), help="Only so many images; a release is shuffled.")
def fiftyone(version: str, folder: Path, limit: int | None) -> None:
    """Write a release's pictures and what is known of them into a folder that FiftyOne reads."""
    from imgmine.dataset.releases.exports import export_fiftyone
    from imgmine.dataset.releases.release import read_release

    settings = load_settings()
    store = store_of(settings)
    with _scratch(settings, "export_fiftyone", version) as scratch:
        images = export_fiftyone(store, read_release(store, version), folder, scratch, limit)
    click.echo(f"{images} images. With pip install fiftyone, in Python:")
    click.echo(f"  fiftyone.Dataset.from_dir({str(folder)!r}, dataset_type=fiftyone.types.FiftyOneDataset)")


def _tell(store: Store, version: str) -> None:
    from imgmine.dataset.releases.release import folder_of, read_release

    made = read_release(store, version)
    what = f"{made.images} images in {len(made.shards)} shards, {readable_bytes(made.size)}"
    click.echo(f"{version}: {made.name}, {what}: {store.uri(folder_of(version))}")


@contextmanager
def _scratch(settings: Settings, work: str, *versions: str) -> Iterator[Path]:
    from imgmine.dataset.releases.release import number_of
    from imgmine.scratch import scratch_folder

    with scratch_folder(settings.scratch, work, "-".join(f"v{number_of(version)}" for version in versions)) as scratch:
        yield scratch
