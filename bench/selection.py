"""What selective reading saves: bytes read and requests made for demo archives of each age of the crawl.

Then, of two archives of an age, what the later one is spared by the hint of what the earlier one has
(IMGMINE_SELECT_KNOWN): once where they share what the demo's do, once where one is the other crawled again. The
archives' seed is 0.

python bench/selection.py --records 600
"""

import argparse
import tempfile
from pathlib import Path

from imgmine.archives import selection_plan
from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.extract import extract_archive
from imgmine.archives.item import Item
from imgmine.archives.selection import extract_selected
from imgmine.archives.selection_plan import FindKnown
from imgmine.dataset.archives import described_by
from imgmine.dataset.known_files import KnownFiles
from imgmine.demo import plan
from imgmine.demo.archives import DemoArchive, make_archives
from imgmine.demo.exchanges import Kind
from imgmine.demo.server import ArchiveServer, serve
from imgmine.images.decoder_pool import DecoderPool
from imgmine.store.tables import Provenance, to_parquet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, DecoderPool() as decoders:
        print("| archive | request =, or shared | MB | MB read | read | requests | not fetched | known |")
        print("|---|---|---|---|---|---|---|---|")
        root = Path(scratch) / "archive.org"
        archives = make_archives(root, records=arguments.records)
        with serve(root) as server:
            for archive in archives:
                for request in (4 << 10, 64 << 10, 256 << 10):
                    selection_plan.REQUEST_BYTES = request
                    read(server, archive, f"{request >> 10} KiB", decoders, Path(scratch) / f"{archive.kind}-{request}")
        selection_plan.REQUEST_BYTES = 64 << 10
        for share in (plan.REPEATED_SHARE, 0.6):
            plan.REPEATED_SHARE = share
            for kind in Kind:
                hinted(kind, share, arguments.records, decoders, Path(scratch) / f"two-{kind}-{share}")


def hinted(kind: Kind, share: float, records: int, decoders: DecoderPool, folder: Path) -> None:
    """Print what is read of the later of two archives of an age, without the hint and with it.

    `share` is about the part of the one's pictures that the other has too.
    """
    archives = make_archives(folder / "archive.org", kinds=[kind, kind], records=records)
    with serve(folder / "archive.org") as server:
        client = ArchiveOrg(server.url)
        items = {archive.identifier: client.item(archive.identifier) for archive in archives}
        first, later = sorted(archives, key=lambda archive: described_by(items[archive.identifier]).precedence)
        files = first_files(items[first.identifier], first, decoders, folder)
        read(server, later, f"{share:.0%} shared", decoders, folder / "without")
        read(server, later, f"{share:.0%} shared, hint", decoders, folder / "with", KnownFiles([files]).by_sha1)


def first_files(item: Item, archive: DemoArchive, decoders: DecoderPool, folder: Path) -> Path:
    (folder / "first").mkdir()
    warcs = [(path.name, path) for path in archive.warc_files]
    extraction = extract_archive(item.identifier, warcs, folder / "first", decoders=decoders)
    path = folder / "first.parquet"
    path.write_bytes(to_parquet(extraction.files, Provenance("bench", "1", "")))
    return path


def read(
    server: ArchiveServer,
    archive: DemoArchive,
    name: str,
    decoders: DecoderPool,
    folder: Path,
    find_known: FindKnown | None = None,
) -> None:
    """Read an archive selectively and print a row."""
    client = ArchiveOrg(server.url)
    item = client.item(archive.identifier)
    server.clear_requests()
    found = extract_selected(client, item, folder, decoders=decoders, find_known=find_known)
    sent = [each for each in server.requests if each.sent and each.path.endswith(".warc.zst")]
    bytes_sent = sum(each.sent for each in sent)
    records = found.extraction.records
    print(
        f"| {archive.kind} | {name} | {archive.size / 1e6:.1f} | {bytes_sent / 1e6:.1f} | "
        f"{bytes_sent / archive.size:.1%} | {len(sent)} | {found.extraction.counts['not_fetched']} | "
        f"{len(records) - records['known_as'].null_count} |"
    )


if __name__ == "__main__":
    main()
