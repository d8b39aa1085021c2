"""Three archives mined on one machine, each stage throttled to take equally long: how far do the stages overlap?

python bench/overlap.py --records 200 --seconds 110

The archives are mined as the daemon would: each is a run in a process of its own, all started at once, on one instance
with its pool of downloads. First they are mined so without throttles, which shows how many bytes each stage has to do
and what the rest costs: starting the runs, vectors, tables. Then three things that all runs share are throttled, so
that each takes --seconds an archive: the link from the archives (the server's throttle), the link to the store (each
put of a shard waits its turn), and the decoders (each picture waits its turn for as long as its bytes say). Their
sleeps are long beside what the machine really computes, so that its cores are not what is measured. As a real archive
has 14 shards and more, shards are made small enough that these have --shards each. Files are as large as those that the
demo makes for whole archives (248 KB on average), so that previews have no larger a part in what is put. A picture of
4 MB is then still a large part of such an archive: while it comes, nothing else can begin.

Shown: the time from the first start to the last end, start-up and all, and the same divided by what one stage takes for
the three; then, for each of the three things that are shared, when it began and ended to be used, and how much of the
time in between it stood still. Archives are made with the demo's own seeds; watermarks are not looked for.
"""

import argparse
import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from imgmine.demo.archives import DemoArchive, make_archives
from imgmine.demo.exchanges import Kind
from imgmine.demo.generate import LARGE_SCALE
from imgmine.demo.server import ArchiveServer, serve
from imgmine.images.decoder_pool import DecoderPool, PictureRequest, PictureResult
from imgmine.settings import load_settings
from imgmine.store.base import Store
from imgmine.store.local import LocalStore
from imgmine_assets.definitions import build_defs
from imgmine_assets.instance import open_instance
from imgmine_assets.mining import run_job
from imgmine_assets.partitions import add_archives
from resources.decoders import DecodersResource
from resources.store import StoreResource

KINDS = [Kind.MAY_3, Kind.MAY_3, Kind.MAY_3]
UNTHROTTLED = 1e12


class Use(NamedTuple):
    """A while for which something shared was in use, in seconds of the clock, and the bytes that it was used for."""

    began: float
    ended: float
    size: int


@contextlib.contextmanager
def turn(links: Path, name: str, size: int, rate: float) -> Iterator[None]:
    """Hold what all runs share for as long as so many bytes take, and note it."""
    with (links / f"{name}.log").open("a") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        began = time.time()
        time.sleep(size / rate)
        log.write(f"{began} {time.time()} {size}\n")
        log.flush()
        yield


def uses(links: Path, name: str) -> list[Use]:
    lines = (line.split() for line in (links / f"{name}.log").read_text().splitlines())
    return [Use(float(began), float(ended), int(size)) for began, ended, size in lines]


class Watch:
    """Notes, ten times a second, what the server has sent of archives."""

    def __init__(self, server: ArchiveServer, rate: float) -> None:
        self.uses: list[Use] = []
        self._server, self._rate = server, rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _sent(self) -> int:
        return sum(request.sent for request in self._server.requests if "/items/" in request.path)

    def _run(self) -> None:
        before = self._sent()
        while not self._stop.wait(0.1):
            sent, now = self._sent(), time.time()
            if sent > before:
                self.uses.append(Use(now - (sent - before) / self._rate, now, sent - before))
            before = sent

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


class ThrottledStore(LocalStore):
    """A folder behind a link of `rate` bytes a second that all runs share; it notes what went over it."""

    def __init__(self, root: Path, rate: float, links: Path) -> None:
        super().__init__(root)
        self._rate, self._links = rate, links

    def put_file(self, key: str, source: Path) -> None:
        with turn(self._links, "upload", source.stat().st_size, self._rate):
            pass
        super().put_file(key, source)


class ThrottledStoreResource(StoreResource):
    """The same as a resource."""

    rate: float
    links: str

    def open(self) -> Store:
        return ThrottledStore(Path(self.url), self.rate, Path(self.links))


class ThrottledDecoders(DecoderPool):
    """Decoders that together judge `rate` bytes of pictures a second, however many runs have some."""

    def __init__(self, rate: float, links: Path) -> None:
        super().__init__()
        self._rate, self._links = rate, links

    def _picture(self, request: PictureRequest) -> PictureResult:
        with turn(self._links, "decode", request.size, self._rate):
            pass
        return super()._picture(request)


class ThrottledDecodersResource(DecodersResource):
    """The same as a resource."""

    rate: float
    links: str

    def start(self) -> DecoderPool:
        return ThrottledDecoders(self.rate, Path(self.links))


def run_one(archive: str, links: Path, decode_rate: float, upload_rate: float) -> None:
    """Mine one archive in this process: what `imgmine mine` does, but for the store and the decoders."""
    settings = load_settings()
    store = ThrottledStoreResource(
        url=settings.store,
        s3_endpoint=None,
        scratch=str(settings.scratch),
        shard_bytes=settings.shard_bytes,
        rate=upload_rate,
        links=str(links),
    )
    decoders = ThrottledDecodersResource(decoding=settings.decode, rate=decode_rate, links=str(links))
    defs = build_defs({"store": store, "decoders": decoders}, settings)
    with (links / "started").open("a") as log:
        log.write(f"{time.time()}\n")
    with open_instance(settings) as instance:
        outcome = run_job(defs, instance, "mine_archive", archive)
    if outcome.reason:
        sys.exit(outcome.reason)


def environ(home: Path, url: str, mode: str, shard_bytes: int) -> dict[str, str]:
    return {
        **os.environ,
        "IMGMINE_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "IMGMINE_ARCHIVE_ORG": url,
        "IMGMINE_FETCH": mode,
        "IMGMINE_SHARD_BYTES": str(shard_bytes),
        "IMGMINE_WATERMARK_MODEL": "none",
    }


def mine_all(
    archives: list[DemoArchive],
    home: Path,
    environment: dict[str, str],
    rates: tuple[float, float] = (UNTHROTTLED, UNTHROTTLED),
    *,
    downloads: int,
) -> tuple[float, float]:
    """Mine the archives, each in its process, all started at once.

    Returns the seconds that it took, and those until the first run had loaded its code.
    """
    (home / "dagster").mkdir(parents=True)
    os.environ.update(environment)
    with open_instance(load_settings()) as instance:
        instance.event_log_storage.set_concurrency_slots("archive_org", downloads)
        add_archives(instance, [archive.identifier for archive in archives])
    begun, on_clock = time.monotonic(), time.time()
    running: list[subprocess.Popen[bytes]] = []
    for archive in archives:
        command = [sys.executable, "-W", "ignore", __file__, "--run", archive.identifier, "--links", str(home)]
        command += ["--rates", *map(str, rates)]
        with (home / f"{archive.identifier}.log").open("wb") as log:
            running.append(subprocess.Popen(command, env=environment, stderr=log))
    for archive, process in zip(archives, running, strict=True):
        if process.wait():
            sys.exit(f"A run failed:\n{(home / f'{archive.identifier}.log').read_text()[-4000:]}")
    first = min(float(line) for line in (home / "started").read_text().split())
    return time.monotonic() - begun, first - on_clock


def uploaded(home: Path) -> int:
    return sum(use.size for use in uses(home, "upload"))


def usage(name: str, found: list[Use], begun: float) -> str:
    """Return a row: when something was used, in seconds from `begun` on, and how much of the time it was not."""
    first, last = min(use.began for use in found), max(use.ended for use in found)
    busy = sum(use.ended - use.began for use in found)
    return f"| {name} | {first - begun:.0f} | {last - begun:.0f} | {max(0.0, last - first - busy):.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200, help="records of an archive, of 170 KB each")
    parser.add_argument("--seconds", type=float, default=110.0, help="what each stage takes for one archive")
    parser.add_argument("--shards", type=int, default=14, help="shards of an archive")
    parser.add_argument("--modes", nargs="+", default=["stream"], help="IMGMINE_FETCH")
    parser.add_argument("--downloads", nargs="+", type=int, default=[1], help="downloads at a time")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--rates", type=float, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--links", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run_one(arguments.run, arguments.links, *arguments.rates)
        return
    stage = arguments.seconds * len(KINDS)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "archive.org"
        archives = make_archives(root, kinds=KINDS, records=arguments.records, scale=LARGE_SCALE)
        total = sum(archive.size for archive in archives)
        shard_bytes = total // len(KINDS) // arguments.shards
        with serve(root) as server:
            alone = Path(scratch) / "alone"
            seconds, _ = mine_all(
                archives, alone, environ(alone, server.url, "stream", shard_bytes), downloads=len(KINDS)
            )
            judged, put = sum(use.size for use in uses(alone, "decode")), uploaded(alone)
            shards = len(list(alone.glob("store/files/*/*.tar")))
            print(
                f"{len(archives)} archives, {total / 1e6:.1f} MB, {judged / 1e6:.1f} MB of pictures to decode, "
                f"{shards} shards of originals; mined at once without throttles: {seconds:.1f} s.\n"
                f"Each stage is throttled to {stage:.0f} s for the three.\n"
            )
            rate = total / stage
            server.faults.add("throttle", rate=rate, shared=True, path="*/items/*")
            for mode in arguments.modes:
                for downloads in arguments.downloads:
                    home = Path(scratch) / f"{mode}-{downloads}"
                    environment = environ(home, server.url, mode, shard_bytes)
                    begun = time.time()
                    with Watch(server, rate) as watch:
                        seconds, start = mine_all(
                            archives, home, environment, (judged / stage, put / stage), downloads=downloads
                        )
                    print("| | seconds | of them until the first run has begun | of a stage | put, of what is needed |")
                    print("|---|---|---|---|---|")
                    print(
                        f"| `{mode}`, {downloads} downloads at a time | {seconds:.1f} | {start:.1f} | "
                        f"{seconds / stage:.2f} | {uploaded(home) / put:.2f} |\n"
                    )
                    print("| seconds from the start | first used | last used | stood still in between |")
                    print("|---|---|---|---|")
                    print(usage("the link from the archives", watch.uses, begun))
                    print(usage("the decoders", uses(home, "decode"), begun))
                    print(usage("the link to the store", uses(home, "upload"), begun), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
