"""The command: `python -m fuzz [TARGET…] --cases 100000 --seed 1`, and `python -m fuzz TARGET --case FILE` for one.

Exit status: 0 all promises held, 1 one was broken (its input is saved, and how to try it again is said), 2 wrong usage.
"""

import argparse
import hashlib
import importlib.util
import re
import secrets
import subprocess
import sys
import tempfile
import time
import traceback
from collections import deque
from pathlib import Path

from fuzz.mutation import cases
from fuzz.target import Target
from fuzz.targets import NAMES, target

_SLOWEST_CASE_S = 60
_MOST_MEMORY_MIB = 2048
_PROGRESS_S = 5.0
_COUNT = re.compile(rb"stat::number_of_executed_units:\s*(\d+)")
_STATUS = re.compile(rb"#(\d+)\s.*?cov: (\d+)")


class Progress:
    """A line every few seconds on standard error."""

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._total = total
        self._begin = self._told = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begin

    def tell(self, done: int, more: str = "") -> None:
        if time.monotonic() - self._told >= _PROGRESS_S:
            self._told = time.monotonic()
            rate = done / max(self.seconds, 1e-3)
            left = (self._total - done) / max(rate, 1e-3)
            line = f"{self._name}: {done:,} of {self._total:,} cases, {rate:,.0f}/s, {left:,.0f} s left"
            print(line + (f"; {more}" if more else ""), file=sys.stderr, flush=True)


def run_mutated(chosen: Target, count: int, seed: int, found: Path) -> bool:
    """Give the target `count` cases in this process; returns whether all promises held."""
    progress = Progress(chosen.name, count)
    for number, case in enumerate(cases(chosen.seeds(), chosen.tokens, chosen.longest, seed)):
        if number == count:
            break
        try:
            chosen.check(case)
        except Exception:
            traceback.print_exc()
            _save(chosen.name, case, found)
            return False
        progress.tell(number + 1, chosen.summary())
    _tell_end(chosen.name, count, progress.seconds, chosen.summary())
    return True


def run_guided(chosen: Target, count: int, seed: int, found: Path) -> bool:
    """Have atheris give the target `count` cases, in a process of its own; returns whether all promises held."""
    progress = Progress(chosen.name, count)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, case in enumerate(chosen.seeds()):
            (corpus / f"{number:04}").write_bytes(case)
        words = Path(folder) / "words"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in chosen.tokens))
        options = [f"-runs={count}", f"-seed={seed % (1 << 31) or 1}", f"-max_len={chosen.longest}", f"-dict={words}"]
        options += [f"-timeout={_SLOWEST_CASE_S}", f"-rss_limit_mb={_MOST_MEMORY_MIB}", f"-artifact_prefix={found}/"]
        options += ["-print_final_stats=1", "-len_control=20"]
        process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.guided", chosen.name, *options, str(corpus)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        said: deque[bytes] = deque(maxlen=60)
        done, coverage = 0, b"?"
        for line in process.stdout:
            if status := _STATUS.match(line):
                done, coverage = int(status[1]), status[2]
                progress.tell(done, f"coverage {coverage.decode()}")
            elif count_told := _COUNT.match(line):
                done = int(count_told[1])
            else:
                said.append(line)
        if process.wait() == 0 and done >= count:
            _tell_end(chosen.name, done, progress.seconds, f"coverage {coverage.decode()}")
            return True
    sys.stderr.buffer.writelines(said)
    if saved := re.search(rb"Test unit written to (.+)", b"".join(said)):
        _tell_found(chosen.name, Path(saved[1].decode()))
    return False


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _save(name: str, case: bytes, found: Path) -> None:
    path = found / f"{name}-{hashlib.blake2b(case, digest_size=8).hexdigest()}"
    path.write_bytes(case)
    _tell_found(name, path)


def _tell_found(name: str, path: Path) -> None:
    print(f"{name}: a promise is broken. Again: python -m fuzz {name} --case {path}", flush=True)


def _tell_end(name: str, count: int, seconds: float, more: str) -> None:
    print(f"{name}: {count:,} cases in {seconds:,.0f} s, every promise held; {more}".rstrip("; "), flush=True)


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz what reads hostile bytes.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--cases", type=int, default=100_000, help="for each target (default: 100000)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 31), help="to have the same cases again")
    parser.add_argument("--found", type=Path, default=Path(".fuzz"), help="where breaking inputs go (default: .fuzz)")
    parser.add_argument("--case", type=Path, help="only this file, as it was saved, for one target")
    parser.add_argument("--unguided", action="store_true", help="without coverage, even where atheris is installed")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(NAMES):
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if arguments.case is not None:
        if len(arguments.targets) != 1:
            parser.error("--case needs exactly one target")
        target(arguments.targets[0]).check(arguments.case.read_bytes())
        print("every promise held")
        return 0
    guided = not arguments.unguided and importlib.util.find_spec("atheris") is not None
    if not guided:
        print("Without atheris: cases are mutations of the seeds, not guided by coverage.", flush=True)
    arguments.found.mkdir(parents=True, exist_ok=True)
    print(f"seed {arguments.seed}", flush=True)
    held = True
    for name in arguments.targets or NAMES:
        chosen = target(name)
        run = run_guided if guided and chosen.guided else run_mutated
        held &= run(chosen, arguments.cases, arguments.seed, arguments.found)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
