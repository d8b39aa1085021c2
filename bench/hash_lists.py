"""What hash lists cost: hashes, lists in memory and looking up in them, PDQ beside the decode and the reference.

    python bench/hash_lists.py --entries 10000000

Figures are CPU seconds of this process. Hashes of lists and files are drawn by a seed. PDQ is of the pictures of
bench/gate.py; the reference's bindings (`pip install pdqhash`, which builds them) are compared with where they are
installed: bits that differ of 256, and their time.
"""

import argparse
import hashlib
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from gate import made_pictures  # beside it
from PIL import Image

from imgmine.archives.blocked import Blocklist, HashKind
from imgmine.archives.hash_lists import lists_version, read_blocklist
from imgmine.images.hashes import Pdq, dhash, pdq, pdq_distance
from imgmine.images.pdq_index import PdqIndex
from imgmine.images.previews import preview_size, reduced

_FILE = 444_000  # bytes of a file of the collection, on average
_ASKED = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000_000, help="hashes of each list (default 10 million)")
    parser.add_argument("--pdq-entries", type=int, default=1_000_000, help="PDQ hashes (default 1 million)")
    parser.add_argument("--pictures", type=int, default=40, help="pictures of each kind (default 40)")
    parser.add_argument("--seed", type=int, default=1, help="what is drawn (default 1)")
    arguments = parser.parse_args()
    chance = np.random.default_rng(arguments.seed)
    print(f"Seed {arguments.seed}.\n")
    hashes(chance)
    lists(chance, arguments.entries)
    pictures(arguments.pictures, arguments.seed)
    indexes(chance, arguments.pdq_entries)


def hashes(chance: np.random.Generator) -> None:
    payloads = [chance.bytes(_FILE) for _ in range(200)]
    print(f"| hash, of files of {_FILE // 1000} KB | CPU s a GB |\n|---|---|")
    for name in ("md5", "sha1", "sha256", "blake2b"):
        print(f"| {name} | {_hashed(name, payloads) / (200 * _FILE) * 1e9:.2f} |")


def _hashed(name: str, payloads: list[bytes]) -> float:
    """Return the CPU seconds of a hash."""
    options: dict[str, Any] = {"digest_size": 32} if name == "blake2b" else {"usedforsecurity": False}
    return best(lambda: [hashlib.new(name, each, **options) for each in payloads])


def lists(chance: np.random.Generator, entries: int) -> None:
    print("\n| list | reads in, CPU s | memory, MB | process grows by, MB | digest, s | one look-up, µs |")
    print("|---|---|---|---|---|---|")
    for kind in (HashKind.MD5, HashKind.SHA1, HashKind.SHA256):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "list.txt"
            asked = _write_list(chance, path, kind, entries)
            before = psutil.Process().memory_info().rss
            started = time.process_time()
            blocklist = read_blocklist([path])
            read = time.process_time() - started
            grown = psutil.Process().memory_info().rss - before
            version = best(partial(lists_version, [path]), 1)
        spent = best(partial(_look_up, blocklist, kind, asked))
        print(
            f"| {entries:,} {kind} | {read:.1f} | {blocklist.nbytes / 1e6:.0f} | {grown / 1e6:.0f} | {version:.2f} "
            f"| {spent / len(asked) * 1e6:.1f} |"
        )


def _look_up(blocklist: Blocklist, kind: HashKind, asked: list[bytes]) -> list[bool]:
    return [blocklist.has(kind, each) for each in asked]


def _write_list(chance: np.random.Generator, path: Path, kind: HashKind, entries: int) -> list[bytes]:
    """Write a list, and return hashes of which half are on it."""
    asked = [chance.bytes(kind.size) for _ in range(_ASKED // 2)]
    with path.open("w") as out:
        out.write(f"{kind}\n")
        for start in range(0, entries, 100_000):
            part = chance.integers(0, 256, (min(100_000, entries - start), kind.size), np.uint8)
            asked += [row.tobytes() for row in part[: _ASKED // 200]]
            out.write("".join(f"{row.tobytes().hex()}\n" for row in part))
    return asked


def pictures(count: int, seed: int) -> None:
    try:
        import pdqhash
    except ImportError:
        pdqhash = None
    print("\n| pictures | decode and resize, ms | dHash | PDQ | the reference | bits from it: median | 95th % | most |")
    print("|---|---|---|---|---|---|---|---|")
    for name, payloads in made_pictures(count, seed).items():
        print(f"| {name} | {' | '.join(_of_pictures(payloads, pdqhash))} |")


def _of_pictures(payloads: list[bytes], pdqhash: Any) -> list[str]:
    """Return the cells of pictures of one kind; those of the reference, where it is installed."""
    decoded = [Image.open(io.BytesIO(payload)).convert("RGB") for payload in payloads]
    small = [reduced(picture).convert("L") for picture in decoded]
    sized = [(grey, picture.size) for grey, picture in zip(small, decoded, strict=True)]
    made = best(lambda: [reduced(_loaded(payload)) for payload in payloads])
    spent = [best(lambda: [dhash(each) for each in small])]
    spent.append(best(lambda: [pdq(*each) for each in sized]))
    cells = [f"{each / len(payloads) * 1e3:.2f}" for each in (made, *spent)]
    if pdqhash is not None:
        started = time.process_time()
        wanted = [_of_reference(pdqhash, picture) for picture in decoded]
        cells.append(f"{(time.process_time() - started) / len(payloads) * 1e3:.0f}")
        bits = _bits(wanted, [pdq(*each) for each in sized])
        scaled = [_scaled(payload) for payload in payloads]
        cells += [f"{np.median(bits):.0f}", f"{np.percentile(bits, 95):.0f}", f"{max(bits)}"]
        bits = _bits(wanted, [pdq(reduced(each, size), size) for each, size in scaled])
        cells[-1] += f" (decoded `scaled`: {max(bits)})"
    return cells


def _loaded(payload: bytes) -> Image.Image:
    return Image.open(io.BytesIO(payload)).convert("RGB")


def _scaled(payload: bytes) -> tuple[Image.Image, tuple[int, int]]:
    picture = Image.open(io.BytesIO(payload))
    size = picture.size
    picture.draft(None, preview_size(*size))
    return picture.convert("RGB"), size


def _of_reference(pdqhash: Any, picture: Image.Image) -> Pdq:
    bits, quality = pdqhash.compute(np.asarray(picture))
    return Pdq(np.packbits(bits.astype(np.uint8)).tobytes(), quality)


def _bits(wanted: Sequence[Pdq], found: Sequence[Pdq]) -> list[int]:
    return [pdq_distance(one.hash, other.hash) for one, other in zip(wanted, found, strict=True)]


def indexes(chance: np.random.Generator, most: int) -> None:
    asked = [Pdq(chance.bytes(32), 100) for _ in range(500)]
    print("\n| PDQ list | memory, MB | made in, s | a picture alone, ms | in thousands | each compared with all, ms |")
    print("|---|---|---|---|---|---|")
    for entries in (1000, most // 10, most):
        print(_of_index(chance.integers(0, 256, (entries, 32), np.uint8), asked))


def _of_index(listed: np.ndarray, asked: Sequence[Pdq]) -> str:
    """Return the row of a list of PDQ hashes."""
    entries = len(listed)
    together = np.frombuffer(b"".join(each.hash for each in asked), np.uint8).reshape(-1, 32)
    index = PdqIndex(listed)
    made = best(lambda: index.nearest(asked[0]), 1)
    alone = best(lambda: [index.nearest(each) for each in asked])
    batch = best(lambda: index.nearest_of(np.tile(together, (4, 1)), np.full(4 * len(asked), 100)))
    words, one = listed.view(np.uint64), together[:1].view(np.uint64)
    brute = best(lambda: np.bitwise_count(words ^ one).sum(axis=1).min())
    return (
        f"| {entries:,} | {(entries * 96 + (4 << 20)) / 1e6:.0f} | {made:.2f} | {alone / len(asked) * 1e3:.2f} "
        f"| {batch / len(asked) / 4 * 1e3:.2f} | {brute * 1e3:.2f} |"
    )


def best(work: Callable[[], object], rounds: int = 3) -> float:
    """Return the CPU seconds of the best of some rounds."""
    spent = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return min(spent)


if __name__ == "__main__":
    main()
