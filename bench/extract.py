"""From an archive to its images: ours beside the floor and beside other ways, each in a process of its own.

    python bench/extract.py                       makes an archive of 1 GiB first (minutes)
    python bench/extract.py --archive FOLDER      takes one made by `python -m imgmine.demo.generate FOLDER --gib 1.25`
    python bench/extract.py --archive FOLDER --only floor,ours --rounds 3
    python bench/extract.py --archive FOLDER --peers      img2dataset too, in an environment that is made for it

What each contender does, and what it leaves out, is said in its module in `bench/contenders`. CPU seconds are of its
process and all that it started, start-up included; memory is the largest sum of their resident memory, sampled ten
times a second; images are those that it accepted. Servers are this process, and not counted. Of several rounds the one
of the fewest CPU seconds counts. The archive's seed is 0.
"""

import argparse
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from imgmine.archives.pieces import Piece
from imgmine.archives.search_budget import SearchBudget
from imgmine.archives.warc import leading_dictionary
from imgmine.archives.window import Window
from imgmine.archives.zstd_decoder import FrameDecoder
from imgmine.archives.zstd_frames import read_dictionary, read_frames
from imgmine.demo.archives import TRUTH_FOLDER
from imgmine.demo.generate import main as generate
from imgmine.demo.server import serve

HERE = Path(__file__).parent
CONTENDERS = {
    "floor": ("floor", "the floor"),
    "ours": ("ours", "ours, in the graph"),
    "scaled": ("ours", "ours, `IMGMINE_DECODE=scaled`"),
    "original": ("original", "the original script's way"),
    "one": ("one_process", "warcio + Pillow, one process"),
    "img2dataset": ("peer_img2dataset", "img2dataset, over loopback"),
}
MIB = 1 << 20
_LARGEST = 256 * MIB


@dataclass(frozen=True)
class Row:
    """What was measured of a contender, or of a stage: peaks in bytes, `images` None where the stage makes none."""

    name: str
    seconds: float
    cpu: float
    peak: int
    images: int | None


@dataclass(frozen=True)
class Result:
    """A contender's run in all, and its stages."""

    total: Row
    stages: list[Row]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="the folder given to imgmine.demo.generate")
    parser.add_argument("--gib", type=float, default=1.25, help="size to ask the generator for (default: 1.25)")
    parser.add_argument("--only", help=f"contenders, with commas: {', '.join(CONTENDERS)}")
    parser.add_argument("--peers", action="store_true", help="img2dataset too; installs it from PyPI (1 GB of disk)")
    parser.add_argument("--rounds", type=int, default=1, help="the best of so many (default: 1)")
    parser.add_argument("--scratch", type=Path, help="folder for what they write (default: a temporary one)")
    arguments = parser.parse_args()
    names = arguments.only.split(",") if arguments.only else list(CONTENDERS)
    if unknown := set(names) - set(CONTENDERS):
        parser.error(f"no contender is called {', '.join(unknown)}")
    if "original" in names and shutil.which("zstd") is None:
        parser.error("the original script's way needs the program zstd: install it, or leave `original` out by --only")
    if not arguments.peers and not arguments.only:
        names.remove("img2dataset")
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        root = arguments.archive or Path(scratch) / "archive.org"
        if arguments.archive is None:
            generate([str(root), "--gib", str(arguments.gib), "--kind", "may_3"])
        task = prepare(root, Path(scratch))
        python = peers_python() if "img2dataset" in names else None
        with serve(root) as server:
            task["server"] = server.url
            results: dict[str, Result] = {}
            for _ in range(arguments.rounds):
                for name in names:
                    print(f"{CONTENDERS[name][1]} …", file=sys.stderr)
                    result = run(name, task, Path(scratch), python)
                    if name not in results or result.total.cpu < results[name].total.cpu:
                        results[name] = result
        print_tables(task, results)
    return 0


def prepare(root: Path, scratch: Path) -> dict[str, Any]:
    """Return what contenders are told; write down where everything lies that the floor and the peers need."""
    archive = min(path.parent.name for path in root.glob("*/item.json"))
    (warc,) = (root / archive).glob("*.warc.zst")
    (cdx,) = (root / archive).glob("*.cdx.gz")
    truth = json.loads((root / TRUTH_FOLDER / f"{archive}.json").read_text())
    with warc.open("rb") as stream:
        dictionary = leading_dictionary(stream) or b""
    originals = scratch / "originals"
    originals.mkdir()
    frames = list(_frames(warc, truth, originals))
    plan = scratch / "plan.json"
    plan.write_text(json.dumps({"frames": frames}))
    sizes = [file["size"] for file in truth["files"]]
    planned = sum(body["keep"] for *_, body in frames if body is not None)
    print(
        f"{archive}: {warc.stat().st_size / 1e6:.0f} MB, {len(truth['records'])} records, {len(sizes)} files of "
        f"{sum(sizes) / 1e6:.0f} MB, of which the floor has {planned}, the others being in chunks; {lanes()} cores\n"
    )
    return {
        "archive": archive,
        "warc": str(warc),
        "cdx": str(cdx),
        "dictionary": dictionary.hex(),
        "plan": str(plan),
        "originals": str(originals),
        "lanes": lanes(),
        "bytes": warc.stat().st_size,
    }


def lanes() -> int:
    return len(os.sched_getaffinity(0))


def _frames(
    warc: Path, truth: dict[str, Any], originals: Path
) -> Iterator[tuple[int, int, int, dict[str, Any] | None]]:
    """Yield offset, length, and decoded size of each frame, and what is to be done with the body in it.

    Bodies that are accepted pictures are written into the folder `originals`.
    """
    records = {record["warc_offset"]: record for record in truth["records"]}
    files = {file["warc_offset"]: file for file in truth["files"]}
    with warc.open("rb") as stream:
        window = Window(stream)
        dictionary = read_dictionary(window)
        decoder = FrameDecoder(dictionary.content)
        for piece in read_frames(window, dictionary.end, decoder, _LARGEST, SearchBudget()):
            if not isinstance(piece, Piece):
                raise SystemExit(f"{warc}: the archive is damaged at byte {piece.offset}")
            if not (content := bytes(piece.content)):
                continue
            record, file = records.get(piece.offset), files.get(piece.offset)
            body = _body(content, record, file) if record is not None and record["blake2b"] else None
            if body is not None and file is not None and body["decode"] and file["gate"]["decision"] == "kept":
                name = f"{file['media_id']}.{file['media_type'].partition('/')[2]}"
                if file["media_type"].startswith("image/"):
                    (originals / name).write_bytes(content[body["start"] : body["start"] + body["size"]])
            yield piece.offset, piece.end - piece.offset, len(content), body


def _body(content: bytes, record: dict[str, Any], file: dict[str, Any] | None) -> dict[str, Any] | None:
    """Say where a body lies in its frame, and whether it is kept and decoded; None where it is not in one piece."""
    start = content.find(b"\r\n\r\n", content.find(b"\r\n\r\n") + 4) + 4
    size = record["body_length"]
    if hashlib.blake2b(content[start : start + size], digest_size=32).hexdigest() != record["blake2b"]:
        return None
    gate = file["gate"] if file else None
    # The gate drops others by what their header says.
    decode = bool(gate and gate["mode"] == "RGB" and gate["decision"] in {"kept", "truncated", "undecodable"})
    media_type = file["media_type"] if file else None
    return {"start": start, "size": size, "keep": file is not None, "decode": decode, "media_type": media_type}


def peers_python() -> str:
    """Return the Python of the environment that has the peers; make it where it is not there."""
    wanted = HERE / "peers.txt"
    folder = Path(tempfile.gettempdir()) / f"imgmine-peers-{hashlib.blake2b(wanted.read_bytes()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if not (folder / "ready").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--requirement", str(wanted)], check=True)
        (folder / "ready").touch()
    return str(python)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    server.request_queue_size = 256
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(name: str, task: dict[str, Any], scratch: Path, peers: str | None) -> Result:
    """Run a contender in a process and an empty folder of its own."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder, _served(Path(task["originals"])) as url:
        urls = Path(folder) / "urls.txt"
        urls.write_text("\n".join(f"{url}/{path.name}" for path in sorted(Path(task["originals"]).iterdir())))
        work = Path(folder) / "work"
        work.mkdir()
        order = Path(folder) / "task.json"
        more = {"scratch": str(work), "urls": str(urls), "decode": "scaled" if name == "scaled" else "exact"}
        order.write_text(json.dumps(task | more))
        python = peers if name == "img2dataset" and peers else sys.executable
        with (Path(folder) / "stdout").open("w+") as stdout, (Path(folder) / "stderr").open("w+") as stderr:
            # img2dataset starts processes that import it again, and prints to standard output
            process = subprocess.Popen(
                [python, str(HERE / "contenders" / f"{CONTENDERS[name][0]}.py"), str(order)],
                stdout=stdout,
                stderr=stderr,
                cwd=HERE.parent,
                env={**os.environ, "PYTHONPATH": str(HERE.parent), "NO_ALBUMENTATIONS_UPDATE": "1"},
            )
            began = time.monotonic()
            resident: list[tuple[float, int]] = []
            thread = threading.Thread(target=_sample, args=(process.pid, resident))
            thread.start()
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            thread.join()
            stdout.seek(0)
            stderr.seek(0)
            lines = stdout.read().splitlines()
            if process.returncode or not lines:
                raise SystemExit(f"{name} failed:\n{stderr.read()[-4000:]}")
    said = json.loads(lines[-1])
    peak = max((size for _, size in resident), default=0)
    total = Row(CONTENDERS[name][1], seconds, usage.ru_utime + usage.ru_stime, peak, said["images"])
    spans = {stage: (begin, end) for stage, begin, end in said["spans"]}
    stages = []
    for stage, cpu in said["cpu"].items():
        begin, end = spans.get(stage, (0.0, 0.0))
        most = max((size for at, size in resident if begin <= at <= end), default=0)
        stages.append(Row(stage, end - begin, cpu, most, None))
    return Result(total, stages)


def _sample(pid: int, resident: list[tuple[float, int]]) -> None:
    """Note the resident memory of a process and its descendants, until it has ended."""
    try:
        parent = psutil.Process(pid)
        while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
            total = 0
            for process in (parent, *parent.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.Error:  # it has ended
                    continue
            resident.append((time.monotonic(), total))
            time.sleep(0.1)
    except psutil.Error:
        return


def print_tables(task: dict[str, Any], results: dict[str, Result]) -> None:
    megabytes = task["bytes"] / 1e6
    print("| | seconds | CPU s | MB/s | MB a CPU s | images | images a CPU s | peak MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for name, result in results.items():
        row, source = result.total, name != "img2dataset"
        print(
            f"| {row.name} | {row.seconds:.1f} | {row.cpu:.1f} | {f'{megabytes / row.seconds:.1f}' if source else ''} "
            f"| {f'{megabytes / row.cpu:.1f}' if source else ''} | {row.images} "
            f"| {(row.images or 0) / row.cpu:.1f} | {row.peak / MIB:.0f} |"
        )
    print("\n| stage | seconds | CPU s | MB a CPU s | peak MiB |\n|---|---|---|---|---|")
    for result in results.values():
        for row in result.stages:
            rate = f"{megabytes / row.cpu:.1f}" if row.cpu > 0.005 else ""
            peak = f"{row.peak / MIB:.0f}" if row.peak else ""
            seconds = f"{row.seconds:.1f}" if row.seconds else ""
            print(f"| {result.total.name}: {row.name} | {seconds} | {row.cpu:.1f} | {rate} | {peak} |")
    for name in ("ours", "scaled"):
        if name in results:
            _print_ratios(results[name], [result for result in results.values() if result is not results[name]])


def _print_ratios(ours: Result, others: list[Result]) -> None:
    """Print how ours compares, less its fetching over loopback, which is no other contender's work."""
    fetch = [stage for stage in ours.stages if stage.name == "raw_archives"]
    cpu = ours.total.cpu - sum(stage.cpu for stage in fetch)
    seconds = ours.total.seconds - sum(stage.seconds for stage in fetch)
    per_image = (ours.total.images or 0) / cpu
    print(f"\n| {ours.total.name}, less fetching, to | in CPU seconds | in images a CPU second | in seconds |")
    print("|---|---|---|---|")
    for other in (result.total for result in others):
        print(
            f"| {other.name} | {other.cpu / cpu:.2f} | {per_image * other.cpu / (other.images or 1):.2f} "
            f"| {other.seconds / seconds:.2f} |"
        )


if __name__ == "__main__":
    sys.exit(main())
