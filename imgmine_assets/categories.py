"""`categories`: which kind of picture each image of an archive is, told from its vector."""

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from imgmine.decisions import CATEGORY_MEANINGS, CategoryDecision
from imgmine.models import categories as stage
from imgmine.models.categories import Categorizer, NoCategories, categorizer
from imgmine.models.category_list import CategoryListError, read_categories
from imgmine.models.probe_model import NoProbes, ProbeModel, current_probes
from imgmine.models.showing import Screen
from imgmine.models.vectors import embedder_of, require_embedder
from imgmine.scratch import scratch_folder
from imgmine.store.base import Store
from imgmine.store.publish import content_digest, fingerprint, read_table
from imgmine_assets import shown
from imgmine_assets.checks import blocking, judgement_problems, result
from imgmine_assets.embeddings import embeddings
from imgmine_assets.failures import explained
from imgmine_assets.judgement import judgement, publish_if_changed, with_code_version
from imgmine_assets.probe_model import probe_model
from imgmine_assets.score_sheets import Captions, likeliest
from resources.models import ModelsResource
from resources.store import StoreResource

_NAME = "categories"
_SHOWN = 8


@judgement(
    _NAME,
    deps=[embeddings, probe_model],
    description=(
        "The likeliest category of each image, of the list in IMGMINE_CATEGORIES: by its texts where the model "
        "has a text tower, else by classes of ImageNet; by a probe where people labelled enough of a category."
    ),
    code_version=stage.CODE_VERSION,
    check_specs=[blocking(_NAME, "every_image_has_a_category", "There is one row for each vector.")],
)
def categories(
    context: dg.AssetExecutionContext, store: StoreResource, models: ModelsResource
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    """Categorize the vectors of one archive; no embedding is computed."""
    archive = context.partition_key
    started = time.monotonic()
    with explained(), scratch_folder(store.scratch_root, _NAME, archive):
        opened = store.open()
        card = models.load_card()
        listed = read_categories(models.category_file)
        try:
            by = categorizer(listed, card, _probes_of(opened, card.version))
        except NoCategories as missing:
            context.log.info(f"{archive} is not categorized: {missing}")
            return
        vectors = read_table(opened, "embeddings", archive)
        require_embedder(embedder_of(vectors.metadata), card.version, archive, "probe_model")
        inputs = fingerprint(embeddings=vectors.origin, by=by.digest)
        about = {"categories": listed.digest, "embedder": card.version}
        as_before = publish_if_changed(
            context,
            opened,
            _NAME,
            inputs,
            stage.CODE_VERSION,
            lambda: (stage.categorize_archive(vectors.read(), by), about),
        )
        yield _result(opened, archive, by, models.screen(), as_before, time.monotonic() - started)


def categories_of(path: Path | None) -> dg.AssetsDefinition:
    """Return the asset with the list in its code version: another list makes its partitions stale, and only them.

    A list that cannot be read is told when it is to run, not here.
    """
    try:
        digest = read_categories(path).digest[:12]
    except CategoryListError:
        digest = "unreadable"
    return with_code_version(categories, f"{stage.CODE_VERSION} {digest}")


def _probes_of(store: Store, embedder: str) -> ProbeModel | None:
    """The probes in use, as far as they are for this model's vectors."""
    try:
        probes = current_probes(store)
    except NoProbes:
        return None
    return probes if probes.embedder == embedder else None


def _result(
    store: Store, archive: str, by: Categorizer, screen: Screen, as_before: bool, seconds: float
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    published = read_table(store, _NAME, archive)
    table = published.read()
    images, vectors = (read_table(store, name, archive).read() for name in ("images", "embeddings"))
    named = table.filter(pc.equal(table["decision"], CategoryDecision.NAMED.value))
    counts = shown.count_values(named, "category")
    sources = {name: source.value for name, source in by.sources().items()}
    pages = {name: _likeliest(name, named) for name in by.categories.names if counts[name]}
    untold = [name for name in by.categories.names if name not in sources]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_digest(published.digest.encode())),
        metadata={
            "decisions": shown.counts_table(shown.count_values(table, "decision"), "decision", CATEGORY_MEANINGS),
            "categories": shown.counts_table(
                counts, "category", {name: f"by {told}" for name, told in sources.items()}
            ),
            "contact sheets": shown.page(shown.captioned_sheets(store, images, pages, screen)),
            "nothing tells": ", ".join(untold) or "none",
            **shown.publication(store, published, table, as_before, seconds, "images"),
        },
        check_results=[
            result(
                "every_image_has_a_category",
                archive,
                judgement_problems(_NAME, table, vectors, CategoryDecision),
                f"{table.num_rows} rows",
            )
        ],
    )


def _likeliest(category: str, named: pa.Table) -> Captions:
    """The likeliest pictures of a category."""
    part = named.filter(pc.equal(named["category"], category))
    return likeliest(part["blake2b"].to_pylist(), part["probability"].to_numpy(), _SHOWN)
