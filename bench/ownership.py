"""What ownership across archives costs, beside DuckDB's one statement: synthetic `files` tables, seed 0.

python bench/ownership.py --archives 1332 --contenders whole part joined added duckdb duckdb-counted

Each contender is a process of its own. What is made:

    whole           `assign_ownership`: the table that is published, and its index
    part            one of 16 parts, as `ownership_parts` publishes it
    joined          the table of `whole` and its index, joined of 16 parts that were made before
    added           one archive more than were there: its own rows, by the index
    duckdb          `qualify row_number()` over the same tables, to a Parquet file of the same columns
    duckdb-counted  the same statement over keys of two 64-bit halves that were made before, and only counted
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.dataset.ownership import Holding, assign_ownership
from imgmine.dataset.ownership_changes import add_holdings
from imgmine.dataset.ownership_index import IndexWriter, OwnershipIndex
from imgmine.dataset.ownership_parts import PREFIXES, join_parts, publish_part, read_parts
from imgmine.store.local import LocalStore
from imgmine.store.tables import DIGEST

CONTENDERS = ("whole", "part", "joined", "added", "duckdb", "duckdb-counted")
_DUCKDB_SAME = """
COPY (
    SELECT blake2b, parse_filename(filename, true) AS archive, count(*) OVER (PARTITION BY blake2b)::INT AS copies
    FROM read_parquet('{tables}/*.parquet', filename = true)
    QUALIFY row_number() OVER (PARTITION BY blake2b ORDER BY filename) = 1
) TO '{out}' (COMPRESSION zstd)
"""
_DUCKDB_COUNTED = """
SELECT count(*), sum(place) FROM (
    SELECT place FROM read_parquet('{keys}/*.parquet')
    QUALIFY row_number() OVER (PARTITION BY high, low ORDER BY place) = 1
)
"""


def mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return 64 bits for each number that look like chance (Steele, Lea and Flood's SplitMix64)."""
    mixing = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixing = (mixing ^ (mixing >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixing = (mixing ^ (mixing >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixing ^ (mixing >> np.uint64(31))


def write_tables(folder: Path, keys: Path | None, archives: int, files: int, repeats: float) -> None:
    """Write tables with a `blake2b` column; a share `repeats` of each archive's files is in an earlier archive too."""
    random = np.random.default_rng(0)
    for number in range(archives):
        names = np.arange(number * files, (number + 1) * files, dtype=np.uint64)
        if number:
            again = np.flatnonzero(random.random(files) < repeats)
            names[again] = random.integers(0, number * files, len(again)).astype(np.uint64)
        names = np.unique(names)
        words = np.stack([mixed(names * np.uint64(4) + np.uint64(word)) for word in range(4)], axis=1)
        words = words[np.argsort(words[:, 0])]
        digests = pa.py_buffer(words.astype(">u8"))
        column = pa.FixedSizeBinaryArray.from_buffers(DIGEST, len(words), [None, digests])
        pq.write_table(pa.table({"blake2b": column}), folder / f"archive_{number:06d}.parquet", compression="zstd")
        if keys is not None:
            places = np.full(len(words), number, np.uint32)
            table = pa.table({"high": words[:, 0], "low": words[:, 1], "place": places})
            pq.write_table(table, keys / f"archive_{number:06d}.parquet", compression="zstd")


def contend(contender: str, tables: Path, keys: Path, work: Path, memory: str) -> dict[str, float | int]:
    """Do one contender's work; return seconds, CPU seconds, MiB at the peak and what was found."""
    holdings = [Holding(path.stem, path) for path in sorted(tables.glob("*.parquet"))]
    out = work / "ownership.parquet"
    if contender == "added":
        make_whole(holdings[:-1], out, work)
    store = LocalStore(work / "store")
    if contender in ("part", "joined"):
        store.root.mkdir()
        (store.root / "files").symlink_to(tables)
    if contender == "joined":
        for prefix in PREFIXES:
            publish_part(store, work, work, prefix)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    match contender:
        case "whole":
            found = make_whole(holdings, out, work)
        case "part":
            found = publish_part(store, work, work, PREFIXES[0]).found.distinct
        case "joined":
            with IndexWriter(work / "index") as index:
                archives = [holding.archive for holding in holdings]
                found = join_parts(store, read_parts(store), archives, out, work, {}, on_rows=index.add).distinct
                index.name_archives(archives)
        case "added":
            order = [holding.archive for holding in holdings]
            former = OwnershipIndex(work / "index")
            found = add_holdings(holdings[-1:], order, former, None, work / "changes.parquet", {}).distinct
        case _:
            with duckdb.connect(str(work / "x.duckdb"), config={"memory_limit": memory, "threads": 2}) as connection:
                connection.execute("SET preserve_insertion_order = false")
                statement = _DUCKDB_SAME if contender == "duckdb" else _DUCKDB_COUNTED
                answer = connection.execute(statement.format(tables=tables, keys=keys, out=out)).fetchone()
                found = answer[0] if answer else 0
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"wall": wall, "cpu": cpu, "peak": peak / 1024, "before": before / 1024, "found": found}


def make_whole(holdings: list[Holding], out: Path, work: Path) -> int:
    with IndexWriter(work / "index") as index:
        found = assign_ownership(holdings, out, work, {}, on_bucket=index.add)
        index.name_archives([holding.archive for holding in holdings])
    return found.distinct


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archives", type=int, default=200)
    parser.add_argument("--files", type=int, default=24_734, help="files of an archive")
    parser.add_argument("--repeats", type=float, default=0.2, help="share of files that an earlier archive has")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--memory", default="4GB", help="DuckDB's limit")
    parser.add_argument("--folder", type=Path, help="where to work; the tables there are used again")
    parser.add_argument("--only", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        base = options.folder or Path(temporary)
        tables, keys = base / "tables", base / "keys"
        if options.only:
            print(json.dumps(contend(options.only, tables, keys, Path(temporary), options.memory)))
            return
        if not tables.is_dir():
            tables.mkdir(parents=True)
            with_keys = "duckdb-counted" in options.contenders
            if with_keys:
                keys.mkdir()
            write_tables(tables, keys if with_keys else None, options.archives, options.files, options.repeats)
        rows = sum(pq.read_metadata(path).num_rows for path in tables.glob("*.parquet"))
        print(f"{rows:,} rows\n\n| | seconds | CPU s | peak MiB | of it before | found |\n|---|---|---|---|---|---|")
        for contender in options.contenders:
            command = [sys.executable, __file__, "--only", contender, "--folder", str(base), "--memory", options.memory]
            told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            seconds = f"{told['wall']:.2f} | {told['cpu']:.2f} | {told['peak']:.0f} | {told['before']:.0f}"
            print(f"| {contender} | {seconds} | {told['found']:,} |", flush=True)


if __name__ == "__main__":
    main()
