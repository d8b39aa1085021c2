"""Our download against curl's, of the same file from the miniature Internet Archive on loopback.

python bench/download.py --megabytes 1024 --rounds 5 --folder /dev/shm

Ours makes the MD5 and the SHA-1 of the whole file and flushes it to the disk before it counts. So the opponents are
curl alone, curl and then md5sum, and with sha1sum and sync of the file too. Rounds are interleaved; the median of each
is shown, and ours over several numbers of connections.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.download import fetch_archive

IDENTIFIER, NAME = "bench_item", "bench.warc.zst"


def write_item(root: Path, size: int) -> None:
    folder = root / IDENTIFIER
    folder.mkdir(parents=True)
    md5, sha1 = hashlib.md5(usedforsecurity=False), hashlib.sha1(usedforsecurity=False)
    with (folder / NAME).open("wb") as stream:
        for _ in range(size >> 20):
            block = os.urandom(1 << 20)
            md5.update(block)
            sha1.update(block)
            stream.write(block)
    file = {"name": NAME, "format": "Web ARChive ZST", "size": str(size)}
    file |= {"md5": md5.hexdigest(), "sha1": sha1.hexdigest()}
    about = {"identifier": IDENTIFIER, "publicdate": "2023-05-03 12:34:56"}
    (folder / "item.json").write_text(json.dumps({"metadata": about, "files": [file]}))


def cpu_seconds() -> float:
    """Of this process and of those that it started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files go (default: the temporary folder)")
    arguments = parser.parse_args()
    size = arguments.megabytes << 20
    if shutil.which("curl") is None:
        parser.exit(1, "curl is wanted to compare with.\n")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        root, cache = Path(scratch) / "archive.org", Path(scratch) / "cache"
        write_item(root, size)
        command = [sys.executable, "-m", "imgmine.demo.server", str(root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                compare(server.stdout.readline().strip(), cache, size, arguments.rounds)
            finally:
                server.terminate()


def compare(url: str, cache: Path, size: int, rounds: int) -> None:
    client = ArchiveOrg(url)
    item = client.item(IDENTIFIER)
    target = cache / "curl"
    curl = f"curl -sSfL -o {target} {client.file_url(IDENTIFIER, NAME)}"

    def shell(line: str) -> Callable[[], object]:
        return lambda: subprocess.run(line, shell=True, check=True, stdout=subprocess.DEVNULL)

    ways: dict[str, Callable[[], object]] = {
        "curl": shell(curl),
        "curl && md5sum": shell(f"{curl} && md5sum {target}"),
        "curl && md5sum, sha1sum, sync": shell(f"{curl} && md5sum {target} && sha1sum {target} && sync {target}"),
        "ours, 1 connection": lambda: fetch_archive(client, item, cache, connections=1),
        "ours, 2 connections": lambda: fetch_archive(client, item, cache, connections=2),
        "ours, 4 connections": lambda: fetch_archive(client, item, cache, connections=4),
    }
    walls: dict[str, list[float]] = {way: [] for way in ways}
    cpus: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, fetch in ways.items():
            shutil.rmtree(cache, ignore_errors=True)
            cache.mkdir()
            begun, cpu = time.perf_counter(), cpu_seconds()
            fetch()
            walls[way].append(time.perf_counter() - begun)
            cpus[way].append(cpu_seconds() - cpu)
    ours = statistics.median(walls["ours, 2 connections"])
    print(f"{size >> 20} MiB, median of {rounds} rounds, server apart")
    print(f"{'':32}{'MB/s':>8}{'CPU s/GB':>10}{'ours (2) to it':>16}")
    for way in ways:
        wall = statistics.median(walls[way])
        cpu = statistics.median(cpus[way])
        print(f"{way:32}{size / wall / 1e6:8.0f}{cpu / size * 1e9:10.2f}{wall / ours:16.2f}")


if __name__ == "__main__":
    main()
