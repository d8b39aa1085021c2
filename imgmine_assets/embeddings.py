"""`embeddings`: one vector for every image of an archive."""

import time
from pathlib import Path

import dagster as dg

from imgmine.images.previews import SHORT_SIDE
from imgmine.models import embedder as stage
from imgmine.models.cards import CARD_FILE, ModelError, find_model, read_card
from imgmine.models.embedder import Embedder
from imgmine.models.kept_pictures import Originals
from imgmine.models.vectors import dimension_of, embedder_of, invalid_rows, vectors_of
from imgmine.scratch import scratch_folder
from imgmine.store.base import Store
from imgmine.store.publish import content_digest, fingerprint, publish, read_table, unchanged
from imgmine.store.tables import Provenance
from imgmine_assets import shown
from imgmine_assets.checks import blocking, funnel_problems, result
from imgmine_assets.failures import PASSING, explained
from imgmine_assets.images import images
from imgmine_assets.judgement import with_code_version
from imgmine_assets.partitions import archives
from imgmine_assets.progress import log_progress
from imgmine_assets.shard_access import shard_reader
from resources.models import ModelsResource
from resources.store import StoreResource

_NAME = "embeddings"


@dg.asset(
    partitions_def=archives,
    deps=[images],
    group_name="archive",
    kinds={"onnx", "parquet"},
    owners=["team:imgmine"],
    retry_policy=PASSING,
    code_version=stage.CODE_VERSION,
    check_specs=[
        blocking(_NAME, "every_image_has_a_vector", "There is one vector for each image that passed the gate."),
        blocking(_NAME, "vectors_are_sound", "Every vector is finite and of norm 1."),
        blocking(_NAME, "vectors_are_of_one_model", "They are of the model in use, and of its dimension."),
    ],
)
def embeddings(context: dg.AssetExecutionContext, store: StoreResource, models: ModelsResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The embedding model over the previews: a float16 vector for each image, L2-normalised."""
    archive = context.partition_key
    started = time.monotonic()
    with explained(), scratch_folder(store.scratch_root, _NAME, archive) as scratch:
        opened = store.open()
        embedder = models.load_embedder()
        gated = read_table(opened, "images", archive)
        inputs = fingerprint(images=gated.origin, model=embedder.version, code_version=stage.CODE_VERSION)
        as_before = unchanged(opened, [_NAME], archive, inputs, None)
        if as_before:
            context.log.info(f"{archive}: nothing has changed since the last run")
        else:
            context.log.info(f"{archive}: {embedder.version} on {embedder.provider}, {embedder.threads} threads")
            with shard_reader(opened, scratch) as read:
                # A model that wants nearly all originals has whole shards fetched; for a few strips, only they are.
                read_original = read if embedder.card.least_short_side > SHORT_SIDE else opened.get_range
                table = stage.embed_archive(
                    archive,
                    gated.read(),
                    read,
                    embedder,
                    originals=Originals(read_table(opened, "files", archive).read(), read_original),
                    progress=log_progress(context.log, "embed", unit="images"),
                )
            provenance = Provenance(_NAME, stage.CODE_VERSION, inputs)
            publish(opened, archive, {_NAME: table}, provenance, extra={"model": embedder.version})
        return _result(opened, archive, embedder, as_before, time.monotonic() - started)


def embeddings_of(model: str, folder: Path) -> dg.AssetsDefinition:
    """Return the asset with the model's version in its code version: another model makes its partitions stale.

    `folder` has the models that were added. A model that is not there is told when it is to run, not here.
    """
    try:
        version = read_card(find_model(model, folder) / CARD_FILE).version
    except ModelError:
        version = model
    return with_code_version(embeddings, f"{stage.CODE_VERSION} {version}")


def _result(store: Store, archive: str, embedder: Embedder, as_before: bool, seconds: float) -> dg.MaterializeResult:  # type: ignore[type-arg]
    published = read_table(store, _NAME, archive)
    table = published.read()
    tables = {name: read_table(store, name, archive).read() for name in ("records", "files", "images")}
    unsound = [f"{table['blake2b'][int(row)].as_py().hex()}" for row in invalid_rows(vectors_of(table))]
    model = embedder_of(published.metadata)
    mixed = [] if model == embedder.version else [f"the table is of {model}, in use is {embedder.version}"]
    if dimension_of(table) != embedder.card.dimension:
        mixed.append(f"vectors of {dimension_of(table)} dimensions, the model's have {embedder.card.dimension}")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_digest(published.digest.encode())),
        metadata={
            "model": model,
            "provider": embedder.provider.value,
            "dimension": dimension_of(table),
            **shown.publication(store, published, table, as_before, seconds, "images"),
        },
        check_results=[
            result(
                "every_image_has_a_vector",
                archive,
                funnel_problems("embeddings", **tables, embeddings=table),
                f"{table.num_rows} vectors",
            ),
            result("vectors_are_sound", archive, unsound, f"{table.num_rows} vectors"),
            result("vectors_are_of_one_model", archive, mixed, f"{table.num_rows} vectors of {model}"),
        ],
    )
