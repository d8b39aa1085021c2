"""`imgmine label`: saying what a picture is, taking it back, and what has been said.

What a label is, and how it is kept, is imgmine.dataset.labels'.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from imgmine.settings import load_settings


@click.group()
def label() -> None:
    """What people say of pictures; probe_model learns from it.

    `good` and `bad` are one label: bad is what is not good. Any other word may be used; the names of categories tell
    `categories` more than a model without words can.
    """


@label.command()
@click.argument("hashes", nargs=-1, required=True, metavar="HASH…")
@click.option("--label", "word", required=True, help="A word, such as good, bad or comics.")
@click.option("--not", "applies", is_flag=True, flag_value=False, default=True, help="The label does not apply.")
@click.option("--by", help="Who says so; the user of this process by default.")
def add(hashes: Sequence[str], word: str, applies: bool, by: str | None) -> None:
    """Label pictures by their BLAKE2b in hexadecimal, as `imgmine explain` prints it."""
    _add([(digest, word, applies) for digest in hashes], by)


@label.command()
@click.argument("hashes", nargs=-1, required=True, metavar="HASH…")
@click.option("--label", "word", required=True, help="The word that was said.")
@click.option("--by", help="Who says so; the user of this process by default.")
def remove(hashes: Sequence[str], word: str, by: str | None) -> None:
    """Take labels back: what was said stays in the log, and holds no more."""
    _add([(digest, word, None) for digest in hashes], by)


@label.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--by", help="Who says so; the user of this process by default.")
def import_file(file: Path, by: str | None) -> None:
    """Label pictures from a CSV with the columns blake2b, label and value (yes, no or none); all lines or none."""
    from imgmine.dataset.labels import add_labels, read_csv
    from imgmine.store.opening import store_of

    settings = load_settings()
    labels = read_csv(file)
    add_labels(store_of(settings), labels, by=by)
    click.echo(f"{len(labels)} labels added.")


@label.command("list")
def list_labels() -> None:
    """Print each label, to how many pictures it applies, and to how many it does not."""
    from imgmine.dataset.labels import read_labels
    from imgmine.store.opening import store_of

    settings = load_settings()
    log = read_labels(store_of(settings), settings.mirror)
    for word, (yes, no) in log.counts().items():
        click.echo(f"{word}: {yes} yes, {no} no")
    click.echo(f"{log.entries} entries in the log.")


def _add(said: Sequence[tuple[str, str, bool | None]], by: str | None) -> None:
    from imgmine.dataset.labels import add_labels, make_label
    from imgmine.store.opening import store_of

    settings = load_settings()
    labels = [make_label(digest, word, applies=applies) for digest, word, applies in said]
    add_labels(store_of(settings), labels, by=by)
    click.echo(f"{len(labels)} labels added. To learn from them: materialize probe_model, then probe_scores.")
