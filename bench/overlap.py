"""Three archives mined at once on one machine, each stage throttled to be equally slow: how far do the stages overlap?

python bench/overlap.py --records 300

The archives are mined as the daemon would: each is a run in a process of its own, on one instance with its pool of
downloads. First they are processed one after the other over fast links. Then the link to the archives and the link to
the store, which all runs share, are throttled so that each takes as long for the three as processing them did. Shown:
the time from the first start to the last end, and the same divided by that of a stage.
"""

import argparse
import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from imgmine.demo.archives import DemoArchive, make_archives
from imgmine.demo.exchanges import Kind
from imgmine.demo.server import serve
from imgmine.settings import load_settings
from imgmine.store.base import Store
from imgmine.store.local import LocalStore
from imgmine_assets.definitions import build_defs
from imgmine_assets.instance import open_instance
from imgmine_assets.mining import run_job
from imgmine_assets.partitions import add_archives
from resources.store import StoreResource

KINDS = [Kind.MAY_3, Kind.MAY_3, Kind.MAY_3]


@contextlib.contextmanager
def turn(path: Path) -> Iterator[None]:
    """Hold what all runs share."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class ThrottledStore(LocalStore):
    """A folder behind a link of `rate` bytes a second that all runs share."""

    def __init__(self, root: Path, rate: float, links: Path) -> None:
        super().__init__(root)
        self._rate, self._links = rate, links

    def put_file(self, key: str, source: Path) -> None:
        seconds = source.stat().st_size / self._rate
        with turn(self._links / "upload.lock"):
            time.sleep(seconds)
        super().put_file(key, source)


class ThrottledStoreResource(StoreResource):
    """The same as a resource."""

    rate: float
    links: str

    def open(self) -> Store:
        return ThrottledStore(Path(self.url), self.rate, Path(self.links))


def run_one(archive: str, rate: float, links: Path) -> None:
    """Mine one archive in this process: what `imgmine mine` does, but for the store."""
    settings = load_settings()
    store = ThrottledStoreResource(
        url=settings.store, s3_endpoint=None, scratch=str(settings.scratch), rate=rate, links=str(links)
    )
    with open_instance(settings) as instance:
        outcome = run_job(build_defs({"store": store}, settings), instance, "mine_archive", archive)
    if outcome.reason:
        sys.exit(outcome.reason)


def environ(home: Path, url: str, mode: str) -> dict[str, str]:
    return {
        **os.environ,
        "IMGMINE_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "IMGMINE_ARCHIVE_ORG": url,
        "IMGMINE_FETCH": mode,
    }


def mine_together(
    archives: list[DemoArchive], home: Path, url: str, mode: str, rate: float, downloads: int = 0
) -> tuple[float, Path]:
    """Mine the archives, each in its process, and return the seconds that it took; 0 downloads: one after the other."""
    (home / "dagster").mkdir(parents=True)
    os.environ.update(environ(home, url, mode))
    with open_instance(load_settings()) as instance:
        if downloads:
            instance.event_log_storage.set_concurrency_slots("archive_org", downloads)
        add_archives(instance, [archive.identifier for archive in archives])
    begun = time.monotonic()
    running: list[subprocess.Popen[bytes]] = []
    for archive in archives:
        command = [sys.executable, __file__, "--run", archive.identifier, "--rate", str(rate), "--links", str(home)]
        running.append(subprocess.Popen(command, env=environ(home, url, mode), stderr=subprocess.DEVNULL))
        if not downloads and running[-1].wait():
            sys.exit("A run failed.")
    if any(process.wait() for process in running):
        sys.exit("A run failed.")
    return time.monotonic() - begun, home


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=300)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--links", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run_one(arguments.run, arguments.rate, arguments.links)
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "archive.org"
        archives = make_archives(root, kinds=KINDS, records=arguments.records)
        total = sum(archive.size for archive in archives)
        with serve(root) as server:
            alone, home = mine_together(archives, Path(scratch) / "alone", server.url, "cache", 1e12)
            stored = sum(path.stat().st_size for path in home.rglob("store/**/*.tar"))
            print(f"{total / 1e6:.0f} MB in three archives; processing them, one after the other: {alone:.1f} s")
            print(f"links are throttled to as long: {total / alone / 1e6:.2f} and {stored / alone / 1e6:.2f} MB/s")
            server.faults.add("throttle", rate=total / alone, shared=True, path="*/items/*")
            print(f"{'':34}{'seconds':>10}{'of the slowest stage':>24}")
            print(f"{'no overlap: the sum of the stages':34}{3 * alone:10.1f}{3.0:24.2f}")
            for mode in ("cache", "stream"):
                for downloads in (2, 1):
                    folder = Path(scratch) / f"{mode}-{downloads}"
                    seconds, _ = mine_together(archives, folder, server.url, mode, stored / alone, downloads)
                    what = f"three runs, {mode}, pool of {downloads}"
                    print(f"{what:34}{seconds:10.1f}{seconds / alone:24.2f}", flush=True)


if __name__ == "__main__":
    main()
