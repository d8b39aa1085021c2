"""`images`: the gate's verdict on every file of an archive, previews, and perceptual hashes."""

import time
from pathlib import Path

import dagster as dg
import pyarrow as pa

from imgmine.dataset.blocklist import are_pictures_as_listed
from imgmine.dataset.takedown.later_entries import see_to_later_entries
from imgmine.dataset.takedown.listings import listed
from imgmine.dataset.takedown.mining import blocklist_of
from imgmine.dataset.takedown_log import read_log
from imgmine.decisions import IMAGE_MEANINGS, ImageDecision
from imgmine.images import archive as stage
from imgmine.images.decoder_pool import DecoderPool
from imgmine.images.decoding import Decoding
from imgmine.images.pdq_index import PdqIndex
from imgmine.images.samples import dropped_samples, kept_samples
from imgmine.models.showing import Screen
from imgmine.scratch import scratch_folder
from imgmine.store.base import Store
from imgmine.store.placement import misplaced
from imgmine.store.publish import content_digest, fingerprint, publish, read_table, unchanged
from imgmine.store.tables import Provenance
from imgmine_assets import shown
from imgmine_assets.checks import blocking, funnel_problems, result, usual_share, warning
from imgmine_assets.failures import PASSING, explained
from imgmine_assets.partitions import archives
from imgmine_assets.progress import log_progress
from imgmine_assets.unique_files import unique_files
from resources.blocklist import BlocklistResource
from resources.decoders import DecodersResource
from resources.models import ModelsResource
from resources.store import StoreResource
from resources.warehouse import WarehouseResource

_NAME = "images"
_SHARDS = "previews"
# About 25 of the collection's 33 million files that were mined before passed this gate; archives differ.
USUALLY_KEPT, KEPT_TOLERANCE = 0.76, 0.10


def _images(
    context: dg.AssetExecutionContext,
    store: StoreResource,
    decoders: DecodersResource,
    models: ModelsResource,
    warehouse: WarehouseResource,
    blocklist: BlocklistResource,
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The gate: Pillow loads it whole, its mode is RGB, both sides have at least 128 pixels. Each drop has its reason.

    One decode, in a process of its own, gives the verdict, the preview and the perceptual hashes. Most of it was
    done while the archive was read. What looks like something on a list of PDQ hashes is blocked.
    """
    archive = context.partition_key
    started = time.monotonic()
    # Before anything is read: a take-down keeps off what is being made.
    with explained(), scratch_folder(store.scratch_root, _NAME, archive) as scratch:
        opened = store.open()
        files = read_table(opened, "files", archive)
        version = stage.code_version(decoders.decoding)
        inputs = fingerprint(files=files.origin, code_version=version)
        with decoders.start() as pool, stage.open_gated(store.scratch_root, archive, pool) as known:
            log = read_log(opened)
            blocked = PdqIndex((blocklist.load() | blocklist_of(log)).pdq)
            as_before = unchanged(opened, [_NAME], archive, inputs, _SHARDS) and are_pictures_as_listed(
                blocked, read_table(opened, _NAME, archive).read()
            )
            if as_before:
                context.log.info(f"{archive}: nothing has changed since the last run")
            else:
                context.log.info(f"{archive}: {len(known)} pictures were judged while the archive was read")
                gated = stage.gate_archive(
                    archive,
                    files.read(),
                    lambda key: opened.local_copy(key, scratch / "originals"),
                    scratch,
                    decoders=pool,
                    gated=known,
                    progress=log_progress(context.log, "gate", unit="files"),
                    blocked=blocked,
                )
                publish(
                    opened,
                    archive,
                    {_NAME: gated.images},
                    Provenance(_NAME, version, inputs),
                    gated.shards,
                    _SHARDS,
                    log_progress(context.log, "publish"),
                )
                # An entry that names a picture could not find it among those of this archive before.
                see_to_later_entries(
                    opened,
                    warehouse.mirror_folder,
                    store.scratch_root,
                    scratch,
                    stage=_NAME,
                    archive=archive,
                    since=log,
                )
            known.remove()
            left = read_table(opened, "files", archive).read()
            sheets = _sheets(opened, archive, left, scratch, pool, models.screen())
        return _result(opened, archive, sheets, as_before, time.monotonic() - started)


def build_images(decoding: Decoding, lists: str = "") -> dg.AssetsDefinition:
    """Return the asset; another decoding is other code, so that what was made with the former shows as out of date.

    So do other `lists` of hashes, as in `unique_files`.
    """
    return dg.asset(
        name=_NAME,
        partitions_def=archives,
        deps=[unique_files],
        group_name="archive",
        kinds={"pillow", "parquet"},
        owners=["team:imgmine"],
        retry_policy=PASSING,
        code_version="-".join(filter(None, (stage.code_version(decoding), lists))),
        check_specs=[
            blocking(_NAME, "every_file_has_a_verdict", "There is one row for each file that is a picture."),
            blocking(
                _NAME, "previews_are_in_their_shards", "Every preview lies whole in a shard that is in the store."
            ),
            warning(_NAME, "share_kept_is_usual", "About 76% of the files pass the gate, as in the collection."),
        ],
    )(_images)


# What comes after it needs only its name, which is the same however previews are made.
images = build_images(Decoding.EXACT)


def _sheets(
    store: Store, archive: str, files: pa.Table, scratch: Path, decoders: DecoderPool, screen: Screen
) -> dict[str, str]:
    """Contact sheets of kept and of dropped pictures, under their headings."""
    table = listed(store, read_table(store, _NAME, archive).read())
    kept = kept_samples(table, store.get_range)
    dropped = dropped_samples(table, files, store.get_range, scratch, decoders=decoders)
    passed = shown.count_values(table, "decision")[ImageDecision.KEPT]
    return {
        f"Kept: {len(kept)} of {passed}": shown.sheet(kept, "kept pictures", screen),
        f"Dropped: {len(dropped)} of {table.num_rows - passed}, and why": shown.sheet(
            dropped, "dropped pictures", screen
        ),
    }


def _result(
    store: Store,
    archive: str,
    sheets: dict[str, str],
    as_before: bool,
    seconds: float,
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    published = read_table(store, _NAME, archive)
    table = published.read()
    records, files = (read_table(store, name, archive).read() for name in ("records", "files"))
    decisions = shown.count_values(table, "decision")
    kept = decisions[ImageDecision.KEPT]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_digest(published.digest.encode())),
        metadata={
            "decisions": shown.counts_table(decisions, "decision", IMAGE_MEANINGS),
            "contact sheets": shown.page(
                {
                    **sheets,
                    "Sizes of the kept": shown.histogram(_megapixels(table), "megapixels", "kept pictures"),
                }
            ),
            "formats": shown.counts_table(shown.count_values(table, "format"), "format"),
            **shown.publication(store, published, table, as_before, seconds, "files"),
        },
        check_results=[
            result(
                "every_file_has_a_verdict",
                archive,
                funnel_problems("images", records=records, files=files, images=table),
                f"{table.num_rows} pictures",
            ),
            result(
                "previews_are_in_their_shards",
                archive,
                misplaced(store, table, "preview_shard", "preview_offset", "preview_size"),
                f"{kept} previews",
            ),
            usual_share("share_kept_is_usual", archive, kept, table.num_rows, USUALLY_KEPT, KEPT_TOLERANCE),
        ],
    )


def _megapixels(table: pa.Table) -> list[float]:
    sides = zip(*(table[name].to_pylist() for name in ("width", "height", "decision")), strict=True)
    return [width * height / 1e6 for width, height, decision in sides if decision == ImageDecision.KEPT]
