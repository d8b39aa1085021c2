"""The `imgmine` command: the graph for those who are not in the UI.

Each command runs the same definitions on the same instance as the UI, so that what it did is seen there. Exit status:
0 done, 1 something failed (and what is said), 2 wrong usage.
"""

import csv
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import click

from imgmine import __version__
from imgmine.errors import ImgmineError
from imgmine.settings import Settings, load_settings
from imgmine_assets.doctor_cli import doctor, remove
from imgmine_assets.label_cli import label
from imgmine_assets.models_cli import models
from imgmine_assets.release_cli import release
from imgmine_assets.run_cli import run
from imgmine_assets.takedown_cli import takedown

_DOTENV = """\
# Settings of this checkout; .env.example explains each. DAGSTER_HOME must be an absolute path.
DAGSTER_HOME={home}
DAGSTER_DISABLE_TELEMETRY=1
"""


class _Commands(click.Group):
    """Prints an `ImgmineError`, and what is known of a damaged file, without a traceback, and exits with 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ImgmineError as error:
            _end(ctx, error)
        except Exception as error:
            # Loaded when it is needed: `--help` does not wait for DuckDB.
            from imgmine.dataset.relations import unreadable_file

            if (told := unreadable_file(error)) is None:
                raise
            _end(ctx, told)


def _end(ctx: click.Context, error: ImgmineError) -> NoReturn:
    click.echo(f"imgmine: {error}", err=True)
    ctx.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="imgmine")
def main() -> None:
    """Turn web archives into image datasets that can be audited.

    Settings come from the environment and from .env in the working folder.
    """


main.add_command(models)
main.add_command(label)
main.add_command(release)
main.add_command(run)
main.add_command(takedown)
main.add_command(doctor)
main.add_command(remove)


@main.command()
def setup() -> None:
    """Prepare this folder: Dagster's home, and .env where there is none."""
    from imgmine_assets.dbt_project import current_manifest
    from imgmine_assets.instance import open_instance

    settings = load_settings()
    with open_instance(settings):
        pass
    current_manifest()
    dotenv = Path(".env")
    if not dotenv.exists():
        dotenv.write_text(_DOTENV.format(home=os.environ["DAGSTER_HOME"]))
        click.echo("Wrote .env")


@main.command()
@click.option("--no-ui", is_flag=True, help="End when everything is mined, without opening the UI.")
@click.option("--port", default=3000, show_default=True, help="Port of the UI; another one where it is taken.")
@click.option("--seed", default=0, show_default=True, help="The same seed makes the same archives, byte for byte.")
def demo(no_ui: bool, port: int, seed: int) -> None:
    """Mine the embedded miniature archive, then open the Dagster UI on the result."""
    from imgmine_assets.demo import run_demo

    if not run_demo(load_settings(), seed, None if no_ui else port):
        sys.exit(1)


@main.command()
@click.option("--limit", type=click.IntRange(1), help="Print at most this many of the new identifiers.")
def discover(limit: int | None) -> None:
    """Add a partition for every archive of the collection that is not one yet."""
    from imgmine_assets.definitions import build_resources
    from imgmine_assets.instance import open_instance
    from imgmine_assets.partitions import add_archives

    settings = load_settings()
    click.echo(f"Asking {settings.archive_org} for the items of {settings.collection} …", err=True)
    found = build_resources(settings)["archive_org"].items_since(None)
    with open_instance(settings) as instance:
        new = add_archives(instance, [item.identifier for item in found])
    for identifier in new[:limit]:
        click.echo(identifier)
    click.echo(f"{len(found)} archives in the collection, {len(new)} of them new.", err=True)


@main.command()
@click.argument("archives", nargs=-1, required=True, metavar="ARCHIVE…")
def mine(archives: Sequence[str]) -> None:
    """Mine archives, one after the other: download, extract, gate, embed, score."""
    from imgmine.archives.item import BadMetadata, check_identifier

    for archive in archives:
        try:
            check_identifier(archive)
        except BadMetadata as error:  # before it becomes a partition that nobody can mine
            raise click.UsageError(str(error)) from error

    from imgmine_assets.definitions import build_defs, build_resources
    from imgmine_assets.instance import open_instance
    from imgmine_assets.mining import mine as mine_archives
    from imgmine_assets.mining import not_on_ia

    settings = load_settings()
    with open_instance(settings) as instance:
        missing = not_on_ia(build_resources(settings)["archive_org"], instance, archives)
        known = [archive for archive in archives if archive not in missing]
        outcomes = mine_archives(build_defs(settings=settings), instance, known) if known else []
    for reason in missing.values():
        click.echo(reason, err=True)
    for outcome in outcomes:
        click.echo(f"{outcome.archive}: {outcome.reason or 'mined'}", err=not outcome.succeeded)
    if missing or not all(outcome.succeeded for outcome in outcomes):
        sys.exit(1)


@main.command()
@click.argument("query", metavar="HASH|URL|FILE")
def explain(query: str) -> None:
    """Tell the whole story of a file: each record that carried it, each decision, each score.

    QUERY is a BLAKE2b-256 in hexadecimal, a URL, or the path of a picture file.
    """
    from imgmine.dataset.explain import NotAQuery
    from imgmine.dataset.explain import explain as explain_query
    from imgmine.dataset.explanation_text import render
    from imgmine.store.opening import store_of

    settings: Settings = load_settings()
    store = store_of(settings)
    try:
        explanation = explain_query(query, store, settings.mirror, settings.archive_org)
    except NotAQuery as error:
        raise click.UsageError(str(error)) from error
    click.echo(render(explanation))
    if not explanation.known:
        sys.exit(1)


@main.command()
@click.argument("sql", metavar="SQL")
@click.option("--rows", default=40, show_default=True, type=click.IntRange(1), help="Show so many rows at the most.")
@click.option("--csv", "as_csv", is_flag=True, help="Print all rows as CSV.")
def query(sql: str, rows: int, as_csv: bool) -> None:
    """Ask the warehouse in DuckDB's SQL, read-only: imgmine query 'FROM report_funnel'. 'SHOW TABLES' names all.

    In CSV, what is binary, as a BLAKE2b, is hexadecimal.
    """
    import duckdb

    from imgmine.dataset.relations import unreadable_file
    from imgmine.dataset.warehouse import open_warehouse
    from imgmine.store.base import NotInStore
    from imgmine.store.opening import store_of

    settings = load_settings()
    try:
        with (
            TemporaryDirectory() as scratch,
            open_warehouse(store_of(settings), settings.mirror, Path(scratch)) as warehouse,
        ):
            found = warehouse.sql(sql)
            if found is not None and as_csv:
                out = csv.writer(sys.stdout, lineterminator="\n")
                out.writerow(found.columns)
                while some := found.fetchmany(1_000):
                    out.writerows([[cell.hex() if isinstance(cell, bytes) else cell for cell in row] for row in some])
            elif found is not None:
                found.show(max_width=shutil.get_terminal_size().columns, max_rows=rows)
    except NotInStore:
        raise click.ClickException("There is no warehouse yet. Launch the job statistics.") from None
    except duckdb.Error as error:
        raise click.ClickException(str(unreadable_file(error) or error)) from error


if __name__ == "__main__":
    main()
