"""Resident memory and time while one archive passes through `unique_files` and `images`, in the graph as it runs.

python bench/memory.py --gib 1            makes an archive of about that size first (minutes), or
python bench/memory.py --archive FOLDER   takes one that `python -m imgmine.demo.generate` made

Prints, for each asset, the seconds, the CPU seconds, and the largest sum of the resident memory of the run and all of
its worker processes, sampled twenty times a second. In that sum libraries count once for each process that has loaded
them; on Linux the largest sum without what is read from files is shown beside it. Needs psutil (in the `dev` extra).
"""

import argparse
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import psutil

from imgmine.demo.exchanges import Kind
from imgmine.demo.generate import main as generate
from imgmine.demo.server import serve
from imgmine.settings import load_settings
from imgmine_assets.definitions import build_defs
from imgmine_assets.partitions import add_archives

ASSETS = ("raw_archives", "unique_files", "images")
MIB = 1 << 20


@dataclass
class Sampler:
    """Follows the resident memory of this process and its children until it is stopped."""

    peak: int = 0
    own_peak: int = 0
    allocated_peak: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        own = psutil.Process()
        while not self._stop.wait(0.05):
            resident = own.memory_info().rss
            total, allocated = resident, _allocated(own)
            for child in own.children(recursive=True):
                try:
                    total += child.memory_info().rss
                    allocated += _allocated(child)
                except psutil.NoSuchProcess:
                    continue
            self.peak, self.own_peak = max(self.peak, total), max(self.own_peak, resident)
            self.allocated_peak = max(self.allocated_peak, allocated)

    def stop(self) -> None:
        self._stop.set()


def _allocated(process: psutil.Process) -> int:
    """Return the resident bytes of a process that are not those of files; 0 elsewhere than on Linux."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--gib", type=float, default=1.0, help="size of the archive to make (default 1)")
    size.add_argument("--archive", type=Path, help="the folder given to imgmine.demo.generate")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.archive or Path(scratch) / "archive.org"
        if arguments.archive is None:
            generate([str(root), "--gib", str(arguments.gib), "--kind", Kind.MAY_3.value])
        measure(root, Path(scratch) / "home")


def measure(root: Path, home: Path) -> None:
    """Mine the first archive in `root`, asset by asset, and print a row for each."""
    archive = min(path.parent.name for path in root.glob("*/item.json"))
    bytes_in_all = sum(path.stat().st_size for path in (root / archive).glob("*.warc.zst"))
    print(f"{archive}: {bytes_in_all / MIB:.0f} MiB of WARC files, {psutil.cpu_count()} cores")
    print(
        f"{'asset':14}{'seconds':>9}{'CPU s':>9}{'MB/s':>8}{'peak MiB':>10}{'of it, the run':>16}{'without files':>15}"
    )
    home.mkdir(parents=True)
    with serve(root) as server, dg.instance_for_test(temp_dir=str(home)) as instance:
        defs = build_defs(settings=load_settings({"IMGMINE_HOME": str(home), "IMGMINE_ARCHIVE_ORG": server.url}))
        add_archives(instance, [archive])
        for asset in ASSETS:
            sampler = Sampler()
            thread = threading.Thread(target=sampler.run)
            before, started = _cpu_seconds(), time.monotonic()
            thread.start()
            result = defs.resolve_job_def("mine_archive").execute_in_process(
                instance=instance,
                partition_key=archive,
                asset_selection=[dg.AssetKey(asset)],
                run_config={"loggers": {"console": {}}},
            )
            sampler.stop()
            thread.join()
            assert result.success
            seconds = time.monotonic() - started
            print(
                f"{asset:14}{seconds:9.1f}{_cpu_seconds() - before:9.1f}{bytes_in_all / 1e6 / seconds:8.1f}"
                f"{sampler.peak / MIB:10.0f}{sampler.own_peak / MIB:16.0f}"
                f"{sampler.allocated_peak / MIB:15.0f}"
            )


def _cpu_seconds() -> float:
    """CPU seconds of this process and of the workers that have ended."""
    times = psutil.Process().cpu_times()
    spent: float = times.user + times.system + times.children_user + times.children_system
    return spent


if __name__ == "__main__":
    main()
