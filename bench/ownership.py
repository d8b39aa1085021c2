"""What ownership across archives costs: synthetic `files` tables, then `assign_ownership` over all of them.

python bench/ownership.py --archives 200 --files 25000 --repeats 0.2
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.dataset.ownership import Holding, assign_ownership
from imgmine.store.tables import DIGEST


def write_tables(folder: Path, archives: int, files: int, repeats: float) -> list[Holding]:
    """Write tables with a `blake2b` column; a share `repeats` of each archive's files is in an earlier archive too."""
    random = np.random.default_rng(0)
    pool = random.integers(0, 256, (archives * files, 32), np.uint8)
    holdings = []
    for number in range(archives):
        rows = pool[number * files : (number + 1) * files].copy()
        again = np.flatnonzero(random.random(files) < repeats) if number else np.empty(0, np.intp)
        rows[again] = pool[random.choice(number * files, len(again), replace=False)] if number else rows[again]
        rows = np.unique(rows.view("V32"))
        column = pa.FixedSizeBinaryArray.from_buffers(DIGEST, len(rows), [None, pa.py_buffer(rows)])
        path = folder / f"archive_{number:06d}.parquet"
        pq.write_table(pa.table({"blake2b": column}), path, compression="zstd")
        holdings.append(Holding(path.stem, path))
    return holdings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archives", type=int, default=200)
    parser.add_argument("--files", type=int, default=25_000, help="files of an archive")
    parser.add_argument(
        "--repeats", type=float, default=0.2, help="share of an archive's files that an earlier one has"
    )
    parser.add_argument("--bucket-rows", type=int, default=1 << 19)
    parser.add_argument(
        "--tables", type=Path, help="a folder to keep the tables in, and to read them from if they are there"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        tables = options.tables or Path(temporary) / "files"
        tables.mkdir(parents=True, exist_ok=True)
        holdings = [Holding(path.stem, path) for path in sorted(tables.glob("*.parquet"))]
        if not holdings:
            holdings = write_tables(tables, options.archives, options.files, options.repeats)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wall, cpu = time.perf_counter(), time.process_time()
        found = assign_ownership(
            holdings, Path(temporary) / "ownership.parquet", Path(temporary), {}, bucket_rows=options.bucket_rows
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = sum(found.held)
    print(f"{len(holdings)} archives, {rows:,} rows: {found.distinct:,} distinct, {found.repeated:,} in several")
    print(f"{wall:.1f} s, {cpu:.1f} CPU-seconds; peak {peak / 1024:.0f} MiB resident (before: {before / 1024:.0f})")


if __name__ == "__main__":
    main()
