"""What selective reading saves: bytes read and requests made for demo archives of each age of the crawl.

python bench/selection.py --records 600
"""

import argparse
import tempfile
from pathlib import Path

from imgmine.archives import selection
from imgmine.archives.archive_org import ArchiveOrg
from imgmine.demo.archives import make_archives
from imgmine.demo.server import serve
from imgmine.images.decoder_pool import DecoderPool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=300)
    arguments = parser.parse_args()
    print(f"{'archive':10}{'request =':>12}{'MB':>8}{'MB read':>10}{'read':>8}{'requests':>10}{'not fetched':>13}")
    with tempfile.TemporaryDirectory() as scratch, DecoderPool() as decoders:
        root = Path(scratch) / "archive.org"
        archives = make_archives(root, records=arguments.records)
        with serve(root) as server:
            client = ArchiveOrg(server.url)
            for archive in archives:
                item = client.item(archive.identifier)
                for request in (4 << 10, 64 << 10, 256 << 10):
                    selection.REQUEST_BYTES = request
                    folder = Path(scratch) / f"{archive.kind}-{request}"
                    server.clear_requests()
                    found = selection.extract_selected(client, item, folder, decoders=decoders)
                    sent = [each for each in server.requests if each.sent and each.path.endswith(".warc.zst")]
                    bytes_sent = sum(each.sent for each in sent)
                    print(
                        f"{archive.kind:10}{f'{request >> 10} KiB':>12}{archive.size / 1e6:8.1f}"
                        f"{bytes_sent / 1e6:10.1f}{bytes_sent / archive.size:8.1%}{len(sent):10}"
                        f"{found.extraction.counts['not_fetched']:13}"
                    )


if __name__ == "__main__":
    main()
