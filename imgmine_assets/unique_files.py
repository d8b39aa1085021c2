"""`unique_files`: the ledger of an archive's records, its distinct files, and their original bytes in tar shards."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Unpack

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from imgmine.amounts import readable_bytes
from imgmine.archives import extract, selection
from imgmine.archives.ahead import working_ahead
from imgmine.archives.blocked import Blocklist
from imgmine.archives.item import Item, read_manifest
from imgmine.archives.part_file import is_verified
from imgmine.archives.remote_file import WrongBytes
from imgmine.dataset.blocklist import is_as_listed
from imgmine.dataset.known_files import KnownFiles
from imgmine.dataset.takedown.later_entries import see_to_later_entries
from imgmine.dataset.takedown.mining import blocklist_of, is_as_named, named_hashes_of, note_named
from imgmine.dataset.takedown_log import Rules, read_log
from imgmine.decisions import RECORD_MEANINGS, RecordDecision
from imgmine.images.worker_process import DecoderError
from imgmine.scratch import scratch_folder
from imgmine.settings import FetchMode
from imgmine.store.base import NotInStore, Store
from imgmine.store.placement import misplaced
from imgmine.store.publish import content_digest, publish, read_table, remove_unnamed_shards, unchanged
from imgmine.store.tables import FILES, RECORDS, Provenance, manifest_key
from imgmine_assets import shown
from imgmine_assets.checks import blocking, funnel_problems, result, share_at_most, warning
from imgmine_assets.failures import PASSING, NotInCache, explained
from imgmine_assets.partitions import archives
from imgmine_assets.progress import log_progress
from imgmine_assets.raw_archives import raw_archives
from resources.archive_org import ArchiveOrgResource
from resources.blocklist import BlocklistResource
from resources.decoders import DecodersResource
from resources.store import StoreResource
from resources.warehouse import WarehouseResource

_NAME = "unique_files"
_TABLES = ("records", "files")
_SHARDS = "files"
# Of all records; in the collection they are rare.
_MOST_BROKEN = 0.05
_WARNINGS_LOGGED = 20
_BROKEN = {RecordDecision.DAMAGED, RecordDecision.TRUNCATED, RecordDecision.EMPTY}


def _unique_files(
    context: dg.AssetExecutionContext,
    archive_org: ArchiveOrgResource,
    store: StoreResource,
    decoders: DecodersResource,
    warehouse: WarehouseResource,
    blocklist: BlocklistResource,
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One pass over all WARC files: a ledger row for every record, a row and the bytes of every distinct file.

    Copies, removed pictures, short bodies and duplicates are told from originals by the rules of the source; a video
    gives one still, from a frame that its own hash decides. What a list of hashes or the log of
    take-downs names is not kept.
    """
    archive = context.partition_key
    started = time.monotonic()
    with explained(), scratch_folder(store.scratch_root, _NAME, archive) as scratch:
        opened = store.open()
        item = read_manifest(opened.get_bytes(manifest_key(archive)))
        earlier = warehouse.known_before(opened, item) if _leaves_out_known(archive_org) else None
        log = read_log(opened)
        lists = blocklist.load()
        blocked = lists | blocklist_of(log)
        enough = _enough(opened, archive_org.mode, item, store.shard_bytes, earlier, blocked, log.rules)
        as_before = any(unchanged(opened, _TABLES, archive, inputs, _SHARDS) for inputs in enough)
        fetched = 0
        if as_before:
            context.log.info(f"{archive}: nothing has changed since the last run")
        else:
            uploaded = log_progress(context.log, "upload")
            with (
                _nothing_left_of_wrong_bytes(opened, archive),
                decoders.start() as pool,
                working_ahead(opened, store.scratch_root, archive, pool, uploaded) as ahead,
            ):
                extraction, fetched = _extract(
                    context,
                    archive_org,
                    item,
                    scratch,
                    earlier,
                    shard_bytes=store.shard_bytes,
                    decoders=pool,
                    progress=log_progress(context.log, "read"),
                    on_read=lambda: _leave_pool(context),
                    ahead=ahead,
                    blocked=blocked,
                    blocked_with_video=lists | named_hashes_of(log),
                    is_named=log.rules.names if log.rules.has_names else None,
                )
                # Before anything is published, so that whatever has the same bytes is blocked too.
                note_named(opened, log, extraction.named)
                for text in extraction.warnings[:_WARNINGS_LOGGED]:
                    context.log.warning(text)
                publish(
                    opened,
                    archive,
                    {"records": extraction.records, "files": extraction.files},
                    Provenance(
                        _NAME,
                        extract.CODE_VERSION,
                        _inputs(item, store.shard_bytes, extraction.records),
                    ),
                    extraction.shards,
                    _SHARDS,
                    log_progress(context.log, "publish"),
                    remake=extraction.remake,
                )
                # Whoever added an entry meanwhile could not know what this archive has.
                change = see_to_later_entries(
                    opened,
                    warehouse.mirror_folder,
                    store.scratch_root,
                    scratch,
                    stage=_NAME,
                    archive=archive,
                    since=log,
                )
                if change is not None:
                    context.log.info(f"{archive}: {len(change.files)} files were taken down while it was read")
                # Nobody waits for these but the next step, which makes what is missing.
                try:
                    ahead.gate.drain(log_progress(context.log, "gate", unit="files"))
                except DecoderError as error:
                    context.log.warning(f"{archive}: not all pictures were judged ahead; images does it: {error}")
        return _result(opened, item, as_before, time.monotonic() - started, fetched)


def build_unique_files(mode: FetchMode, lists: str = "") -> dg.AssetsDefinition:
    """Return the asset; where it reads from the Internet Archive itself, it takes its turn in that pool.

    `lists` is the version of the lists of hashes in force: others show every archive as out of date, and each finds out
    from its own tables whether it is.
    """
    return dg.asset(
        name=_NAME,
        partitions_def=archives,
        deps=[raw_archives],
        group_name="archive",
        kinds={"parquet", "tar"},
        owners=["team:imgmine"],
        pool=None if mode is FetchMode.CACHE else "archive_org",
        retry_policy=PASSING,
        code_version="-".join(filter(None, (extract.CODE_VERSION, lists))),
        check_specs=[
            blocking(_NAME, "records_add_up", "Every record has one decision, and the kept ones are the files."),
            blocking(_NAME, "files_are_in_their_shards", "Every file lies whole in a shard that is in the store."),
            warning(_NAME, "few_records_are_broken", "Damaged, truncated and empty records are at most a twentieth."),
        ],
    )(_unique_files)


def _leaves_out_known(archive_org: ArchiveOrgResource) -> bool:
    return archive_org.mode is FetchMode.SELECT and archive_org.select_known


def _enough(
    store: Store,
    mode: FetchMode,
    item: Item,
    shard_bytes: int,
    earlier: KnownFiles | None,
    blocklist: Blocklist,
    named: Rules,
) -> list[str]:
    """Return the fingerprints of inputs, any of which published tables may have that need not be made again.

    A full read has all that a selective one would give, and that has all that one with a hint would. What was made with
    a hint is as good while earlier archives still have every file that was left out; that more is known since is no
    reason to fetch less again. Another list of hashes is none either, as long as it blocks in this archive what is
    blocked now, and nothing else.
    """
    try:
        records, files = (read_table(store, name, item.identifier).read() for name in _TABLES)
    except NotInStore:
        return []
    if not (is_as_listed(blocklist, records, files) and is_as_named(named, records)):
        return []
    enough = [extract.inputs_fingerprint(item, shard_bytes)]
    if mode is FetchMode.SELECT:
        enough.append(selection.inputs_fingerprint(item, shard_bytes))
    known = _known_in(records)
    if earlier is not None and known and earlier.has_all(known):
        enough.append(selection.inputs_fingerprint(item, shard_bytes, known))
    return enough


def _inputs(item: Item, shard_bytes: int, records: pa.Table) -> str:
    """Return the fingerprint of what these records were made from."""
    if not pc.any(pc.equal(records["decision"], RecordDecision.NOT_FETCHED.value)).as_py():
        return extract.inputs_fingerprint(item, shard_bytes)
    return selection.inputs_fingerprint(item, shard_bytes, _known_in(records))


def _known_in(records: pa.Table) -> set[bytes]:
    if "known_as" not in records.schema.names:  # an earlier version's
        return set()
    return set(pc.unique(records["known_as"].drop_null()).to_pylist())


def _extract(
    context: dg.AssetExecutionContext,
    archive_org: ArchiveOrgResource,
    item: Item,
    scratch: Path,
    earlier: KnownFiles | None,
    **how: Unpack[extract.PassOptions],
) -> tuple[extract.Extraction, int]:
    """Make the pass in the way that is set; return what it gave, and the bytes that were fetched for it."""
    if archive_org.mode is FetchMode.SELECT:
        find_known = earlier.by_sha1 if earlier is not None else None
        chosen = archive_org.extract_selected(item, scratch, context.log.warning, find_known, **how)
        read, total = readable_bytes(chosen.bytes_read), readable_bytes(chosen.bytes_in_all)
        told = [f"{item.identifier}: {read} of {total} were read, in {chosen.requests} requests"]
        if chosen.reason:
            told.append(chosen.reason)
        if chosen.gaps:
            told.append(f"{chosen.gaps} small gaps in the index were left out: requests, as a rule")
        context.log.info("; ".join(told))
        return chosen.extraction, chosen.bytes_read
    if archive_org.mode is FetchMode.STREAM:
        return archive_org.extract_streamed(item, scratch, context.log.warning, **how), item.warc_bytes
    with archive_org.in_use(item.identifier):
        extraction = extract.extract_archive(item.identifier, _cached(item, archive_org), scratch, **how)
        # Still: a file that was cut under the reader looks like an archive that was cut short.
        _cached(item, archive_org)
    return extraction, 0


def _leave_pool(context: dg.AssetExecutionContext) -> None:
    """Let the next archive be downloaded: what this step has still to do does not need the Internet Archive."""
    step = context.get_step_execution_context().step.key
    context.instance.event_log_storage.free_concurrency_slot_for_step(context.run_id, step)


@contextmanager
def _nothing_left_of_wrong_bytes(store: Store, archive: str) -> Iterator[None]:
    """Remove the shards that were put before the bytes were found to be wrong."""
    try:
        yield
    except (WrongBytes, NotInCache):
        remove_unnamed_shards(store, _TABLES, archive, _SHARDS)
        raise


def _cached(item: Item, archive_org: ArchiveOrgResource) -> list[tuple[str, Path]]:
    """Return the archive's WARC files in the cache. Raises `NotInCache` where one is not what was checked."""
    folder = archive_org.archive_folder(item.identifier)
    for file in item.warcs:
        path = folder / file.name
        if not is_verified(path, file):
            wrong = "was changed since it was checked" if path.is_file() else "is not in the cache"
            raise NotInCache(f"{path} {wrong}. Materialize raw_archives of {item.identifier} again, on this machine.")
    return [(file.name, folder / file.name) for file in item.warcs]


# What comes after it needs only its name, which is the same however archives are read.
unique_files = build_unique_files(FetchMode.CACHE)


def _only_copies(records: pa.Table) -> int:
    """Count the media ids that have copies but no original."""
    copies = pc.equal(records["decision"], RecordDecision.DOWNSCALED_COPY.value)
    originals = pc.is_in(records["decision"], pa.array([RecordDecision.KEPT.value, RecordDecision.DUPLICATE.value]))
    return len(
        set(records.filter(copies)["media_id"].to_pylist()) - set(records.filter(originals)["media_id"].to_pylist())
    )


def _without_still(files: pa.Table) -> int:
    videos = files.filter(pc.starts_with(files["media_type"], "video/"))["blake2b"].to_pylist()
    return len(set(videos) - set(files["video_blake2b"].to_pylist()))


def _result(store: Store, item: Item, as_before: bool, seconds: float, fetched: int) -> dg.MaterializeResult:  # type: ignore[type-arg]
    archive = item.identifier
    published = {name: read_table(store, name, archive) for name in _TABLES}
    records, files = (published[name].read() for name in _TABLES)
    decisions = shown.count_values(records, "decision")
    stored = pc.sum(files["size"]).as_py() or 0
    broken = sum(decisions[decision] for decision in _BROKEN)
    speed = {} if as_before else {"MB a second": round(item.warc_bytes / 1e6 / seconds, 1)}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_digest("".join(table.digest for table in published.values()).encode())),
        metadata={
            "decisions": shown.counts_table(decisions, "decision", RECORD_MEANINGS),
            "media types": shown.counts_table(shown.count_values(files, "media_type"), "media type"),
            "records": records.num_rows,
            "files": files.num_rows,
            "not fetched, as earlier archives have them": len(records) - records["known_as"].null_count,
            "ids of which only copies were archived": _only_copies(records),
            "videos without a still": _without_still(files),
            "dagster/row_count": files.num_rows,
            "size": readable_bytes(stored),
            "bytes": stored,
            "unchanged": as_before,
            "bytes downloaded": fetched,
            "seconds": round(seconds, 2),
            **speed,
            "inputs": published["files"].metadata["inputs"],
            "dagster/uri": store.uri(published["files"].key),
            "in the store": shown.links(
                store, [*(table.key for table in published.values()), *sorted(set(files["shard"].to_pylist()))]
            ),
            **shown.schemas_of({"records": RECORDS, "files": FILES}),
        },
        check_results=[
            result(
                "records_add_up",
                archive,
                funnel_problems("records", "files", records=records, files=files),
                f"{records.num_rows} records",
            ),
            result(
                "files_are_in_their_shards",
                archive,
                misplaced(store, files, "shard", "shard_offset", "size"),
                f"{files.num_rows} files",
            ),
            share_at_most("few_records_are_broken", archive, broken, records.num_rows, _MOST_BROKEN),
        ],
    )
