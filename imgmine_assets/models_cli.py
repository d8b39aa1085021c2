"""`imgmine models`: which models are here, adding one, trying one, and one with weights of 8 bits.

What a model is, and what is wrong with it, is said by imgmine.models.
"""

from pathlib import Path

import click

from imgmine.models.card_fields import ModelError
from imgmine.settings import load_settings

_COLUMNS = "{:<30} {:>9}  {:<12} {}"


@click.group()
def models() -> None:
    """Embedding models: what is here, adding one, trying one.

    IMGMINE_EMBEDDER says which is used.
    """


@models.command("list")
def list_models() -> None:
    """List the models: the embedded one, those that were added, and those of which only the card is here."""
    from imgmine.models.any_model import AnyCard, find_any_model, read_any_card
    from imgmine.models.cards import CARD_FILE, ModelCard, shipped_card, shipped_models
    from imgmine.models.watermark.cards import SHIPPED_NAME

    settings = load_settings()
    cards: dict[str, AnyCard] = {name: read_any_card(shipped_card(name) / CARD_FILE) for name in shipped_models()}
    cards[SHIPPED_NAME] = read_any_card(find_any_model(SHIPPED_NAME) / CARD_FILE)
    faults = {}
    for path in sorted(settings.models.glob(f"[!.]*/{CARD_FILE}")):
        try:
            cards[path.parent.name] = read_any_card(path)
        except ModelError as error:
            faults[path.parent.name] = str(error)
    click.echo(_COLUMNS.format("model", "dimension", "licence", "weights"))
    for name, card in sorted(cards.items()):
        here = "here" if card.has_weights else "not here"
        is_embedder = isinstance(card, ModelCard)
        text = ", with text tower" if isinstance(card, ModelCard) and card.has_weights and card.text else ""
        used = ", in use" if name == (settings.embedder if is_embedder else settings.watermark_model) else ""
        dimension = card.dimension if isinstance(card, ModelCard) else "watermark"
        click.echo(_COLUMNS.format(name, dimension, card.licence, here + text + used))
    for fault in faults.values():
        click.echo(f"imgmine: {fault}", err=True)
    if faults:
        raise click.exceptions.Exit(1)


@models.command()
@click.argument("source", metavar="FOLDER|FILE|hf:OWNER/NAME@REVISION/PATH")
@click.option("--card", help="A shipped card's name or a card file, for a source that is no folder.")
@click.option("--text-model", help="The text tower: a file, or one of the hub.")
@click.option("--tokenizer", help="The text tower's tokenizer.json: a file, or one of the hub.")
@click.option("--sha256", help="What the model's file must have, where the card does not say.")
@click.option("--replace", is_flag=True, help="Take the place of another model of that name.")
def add(
    source: str, card: str | None, text_model: str | None, tokenizer: str | None, sha256: str | None, replace: bool
) -> None:
    """Add a model, with its SHA-256 verified, and try it on photographs.

    A revision is the 40 hexadecimal digits of a commit. Adding a model is agreeing to its licence, which is printed.
    """
    from tqdm import tqdm

    from imgmine.models.adding import Request, add_model
    from imgmine.models.cards import ModelCard

    settings = load_settings()
    request = Request(source, card, text_model, tokenizer, sha256)
    with tqdm(desc="Fetching", unit="B", unit_scale=True, leave=False, delay=1.0) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        added = add_model(request, settings.models, settings.hub, replace=replace, progress=progress)
    click.echo(f"{added.card.name} is in {added.card.folder}")
    vouched = f"as {added.vouched} says" if added.vouched else "nobody vouched for it; it is pinned from now on"
    click.echo(f"SHA-256 {added.card.sha256} ({vouched})")
    click.echo(f"Licence: {added.card.licence} ({added.card.source})")
    variable = "IMGMINE_EMBEDDER" if isinstance(added.card, ModelCard) else "IMGMINE_WATERMARK_MODEL"
    click.echo(f"To use it: {variable}={added.card.name}")


@models.command()
@click.argument("model", required=False)
@click.option("--seconds", default=3.0, show_default=True, help="How long to measure.")
@click.option("--threads", type=click.IntRange(1), help="Cores to use; all of them by default.")
def check(model: str | None, seconds: float, threads: int | None) -> None:
    """Run a model, the one in use by default: dimension, provider, images a second."""
    from imgmine.models.any_model import find_any_model, load_any_card, try_model
    from imgmine.models.cards import ModelCard
    from imgmine.models.checking import check_model
    from imgmine.models.embedder import load_embedder

    settings = load_settings()
    card = load_any_card(find_any_model(model or settings.embedder, settings.models))
    if not isinstance(card, ModelCard):
        try_model(card)
        click.echo(f"{card.version}, licence {card.licence}: its file is what its card says.")
        click.echo(f"It judges watermarks: marked from a probability of {card.threshold:g} on.")
        return
    embedder = load_embedder(
        model or settings.embedder, models=settings.models, threads=threads, providers=settings.providers
    )
    found = check_model(embedder, seconds=seconds, providers=settings.providers)
    click.echo(f"{found.version}, licence {found.licence}: its file is what its card says.")
    click.echo(f"Vectors of {found.dimension} dimensions{', of texts too' if found.text else ''}.")
    click.echo(
        f"{found.images_per_second:.1f} images a second from previews, on {found.provider}, {found.threads} threads, "
        f"batches of {found.batch}."
    )


@models.command()
@click.argument("model")
@click.option("--weights", type=click.Choice(["QUInt8", "QInt8"]), help="By default what suits this processor.")
@click.option("--pictures", type=click.Path(exists=True, file_okay=False, path_type=Path), help="To compare on.")
def quantize(model: str, weights: str | None, pictures: Path | None) -> None:
    """Make MODEL-int8, with weights of 8 bits, and print how near its vectors are."""
    import numpy as np

    from imgmine.models.cards import find_model, load_card
    from imgmine.models.quantizing import Weights, quantize_model

    settings = load_settings()
    made = quantize_model(
        load_card(find_model(model, settings.models)),
        settings.models,
        None if weights is None else Weights(weights),
        pictures,
    )
    click.echo(
        f"{made.card.name} is in {made.card.folder}: {made.weights}, {made.bytes_before} → {made.bytes_after} bytes"
    )
    click.echo(
        f"Cosine to 32 bits over {len(made.cosines)} pictures: median {np.median(made.cosines):.5f}, "
        f"1st percentile {np.percentile(made.cosines, 1):.5f}, least {made.cosines.min():.5f}"
    )
