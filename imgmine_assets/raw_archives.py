"""`raw_archives`: the item's WARC files in the cache, resumed and checked, and a manifest in the store.

Where archives are not read from the cache (IMGMINE_FETCH), the manifest is all.
"""

import time

import dagster as dg

from imgmine.amounts import counted, readable_bytes
from imgmine.archives.download import Progress
from imgmine.archives.item import Item, manifest_bytes
from imgmine.archives.part_file import is_verified
from imgmine.scratch import scratch_folder
from imgmine.settings import FetchMode
from imgmine.store.base import Store
from imgmine.store.publish import content_digest
from imgmine.store.tables import manifest_key, table_key
from imgmine_assets import shown
from imgmine_assets.checks import blocking, result
from imgmine_assets.failures import PASSING, explained
from imgmine_assets.partitions import archives
from imgmine_assets.progress import log_progress
from resources.archive_org import ArchiveOrgResource
from resources.store import StoreResource

_NAME = "raw_archives"


@dg.asset(
    partitions_def=archives,
    group_name="archive",
    kinds={"archive.org", "warc"},
    owners=["team:imgmine"],
    pool="archive_org",
    retry_policy=PASSING,
    code_version="1",
    check_specs=[
        blocking(
            _NAME,
            "md5_is_the_archives",
            "Every WARC file in the cache has the size and MD5 of the Internet Archive's metadata. Where archives are "
            "read as they arrive, it has an MD5 to be checked against.",
        )
    ],
)
def raw_archives(
    context: dg.AssetExecutionContext, archive_org: ArchiveOrgResource, store: StoreResource
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Every WARC file of one item, downloaded by range, resumed after a failure, and checked against IA's MD5.

    A dark, restricted or missing item fails for good and says which it is.
    """
    archive = context.partition_key
    started = time.monotonic()
    with explained(), scratch_folder(store.scratch_root, _NAME, archive):
        opened = store.open()
        opened.check()  # before gigabytes are fetched for a store that does not take them
        item = archive_org.item(archive)
        context.log.info(f"{archive}: {counted(len(item.warcs), 'WARC file')}, {readable_bytes(item.warc_bytes)}")
        begun = time.monotonic()
        caches = archive_org.mode is FetchMode.CACHE
        if caches and (removed := archive_org.make_room(item, lambda name: _was_read(opened, name))):
            context.log.info(f"Removed from the cache, to make room: {', '.join(removed)}")
        received = _fetch(context, archive_org, item) if caches else 0
        fetching = time.monotonic() - begun
        manifest = manifest_bytes(item)
        opened.put_bytes(manifest_key(archive), manifest)
        wrong = _wrong_files(item, archive_org) if caches else _files_without_md5(item)
    looked_at = (
        f"{counted(len(item.warcs), 'WARC file')}{'' if caches else ', whose bytes are checked as they are read'}"
    )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_digest(manifest)),
        metadata={
            "WARC files": shown.rows_table(
                {"name": "string", "bytes": "int", "md5": "string"},
                [(file.name, file.size, file.md5) for file in item.warcs],
            ),
            "size": readable_bytes(item.warc_bytes),
            "bytes": item.warc_bytes,
            "bytes downloaded": received,
            "unchanged": received == 0,
            "fetched": archive_org.mode.value,
            "seconds": round(time.monotonic() - started, 2),
            **({"MB a second": round(received / 1e6 / fetching, 1)} if received else {}),
            "published": dg.MetadataValue.timestamp(item.publicdate) if item.publicdate else "unknown",
            "dagster/uri": opened.uri(manifest_key(archive)),
            **({"cache": dg.MetadataValue.path(str(archive_org.archive_folder(archive)))} if caches else {}),
            "item": dg.MetadataValue.url(archive_org.item_page(archive)),
        },
        check_results=[result("md5_is_the_archives", archive, wrong, looked_at)],
    )


def _was_read(store: Store, archive: str) -> bool:
    return store.stat(table_key("records", archive)) is not None


def _fetch(context: dg.AssetExecutionContext, archive_org: ArchiveOrgResource, item: Item) -> int:
    """Have the files in the cache, and return how many bytes came over the network for it."""
    received = 0
    log = log_progress(context.log, "download")

    def tell(now: Progress) -> None:
        nonlocal received
        received = now.received
        log(now.done, now.total)

    archive_org.fetch(item, tell)
    return received


def _wrong_files(item: Item, archive_org: ArchiveOrgResource) -> list[str]:
    folder = archive_org.archive_folder(item.identifier)
    return [
        f"{file.name} is not in the cache with size {file.size} and MD5 {file.md5}"
        for file in item.warcs
        if not is_verified(folder / file.name, file)
    ]


def _files_without_md5(item: Item) -> list[str]:
    return [f"{file.name} has no MD5 in the Internet Archive's metadata" for file in item.warcs if file.md5 is None]
