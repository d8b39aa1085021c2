"""What becomes of files that break decoders: Pillow's and pillow-heif's test images, and broken variants of good ones.

    python bench/corpus.py

Each file goes through the real decoder pool, one at a time. Prints the files by verdict, the errors by their words, and
which files took the most time and memory of a worker (Linux alone says that). Fetches the corpus when it first runs.
"""

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import psutil

from imgmine.decisions import ImageDecision
from imgmine.images.decoder_pool import DecoderPool, PictureRequest, PictureResult

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.images.corpus import Case, CorpusUnavailable, fetched, variants
from tests.images.test_corpus import good_files

_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
_LISTED = 8


class Outcome(NamedTuple):
    """One file's verdict, the seconds that it took, and the worker's peak of resident memory in MiB."""

    case: Case
    result: PictureResult
    seconds: float
    peak: float


def _workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "imgmine.images.worker" in child.cmdline()]


def _forget_peak(worker: psutil.Process) -> None:
    Path(f"/proc/{worker.pid}/clear_refs").write_text("5")


def _peak(worker: psutil.Process) -> float:
    found = _PEAK.search(Path(f"/proc/{worker.pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def outcomes(cases: list[Case]) -> list[Outcome]:
    """Have each case judged, alone."""
    made = []
    linux = sys.platform == "linux"
    with tempfile.TemporaryDirectory() as folder, DecoderPool(1) as pool:
        path = Path(folder) / "case"
        workers: list[psutil.Process] = []
        for number, case in enumerate(cases):
            path.write_bytes(case.payload)
            workers = [worker for worker in workers if worker.is_running()] or _workers()
            if linux:
                for worker in workers:
                    _forget_peak(worker)
            begin = time.monotonic()
            (result,) = pool.pictures([PictureRequest(path, 0, len(case.payload))])
            seconds = time.monotonic() - begin
            peak = max((_peak(worker) for worker in workers if worker.is_running()), default=0.0) if linux else 0.0
            made.append(Outcome(case, result, seconds, peak))
            if number % 100 == 0:
                print(f"{number} of {len(cases)}", end="\r", file=sys.stderr, flush=True)
    return made


def _print_table(made: list[Outcome]) -> None:
    sources = list(dict.fromkeys(outcome.case.source for outcome in made))
    counts = Counter((outcome.result.verdict.decision, outcome.case.source) for outcome in made)
    print("| verdict | " + " | ".join(sources) + " |\n|---" * 1 + "|" + "---|" * (len(sources) + 1))
    for decision in ImageDecision:
        row = [counts[decision, source] for source in sources]
        if any(row):
            print(f"| `{decision}` | " + " | ".join(map(str, row)) + " |")
    print("| all | " + " | ".join(str(sum(o.case.source == source for o in made)) for source in sources) + " |")


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=18, help="broken variants of each good file (default: 18)")
    parser.add_argument("--seed", type=int, default=20230503, help="of the variants (default: 20230503)")
    arguments = parser.parse_args()
    try:
        files = list(fetched())
    except CorpusUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    begin = time.process_time()
    made = outcomes([*files, *variants(good_files(files), arguments.each, arguments.seed)])
    own = time.process_time() - begin
    _print_table(made)
    words = Counter((o.result.verdict.detail or "").split(":")[0] for o in made if o.result.verdict.detail)
    print("\n| the reason begins | files |\n|---|---|")
    for word, count in words.most_common():
        print(f"| {word} | {count} |")
    for title, key in (("slowest", "seconds"), ("most memory, MiB", "peak")):
        print(f"\n| {title} | | verdict |\n|---|---|---|")
        for outcome in sorted(made, key=lambda one: -getattr(one, key))[:_LISTED]:
            name = f"{outcome.case.source}: {outcome.case.name}"
            print(f"| {name} | {getattr(outcome, key):.2f} | {outcome.result.verdict.decision} |")
    print(f"\n{sum(o.seconds for o in made):.1f} s in all; seed {arguments.seed}; the asking process {own:.1f} CPU s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
