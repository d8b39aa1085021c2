"""What the statistics cost: a synthetic store, its warehouse, dbt's reports, and the time to read each of them.

python bench/reports.py --archives 200

An archive has 24,734 files as the collection's do on average, twice as many records, a still for every 30th file, and a
fifth of its files from earlier archives; seed 0. Vectors are left out: no report reads them.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imgmine.archives.item import Item, ItemFile, manifest_bytes
from imgmine.dataset.publishing import publish_dataset
from imgmine.dataset.warehouse import build_warehouse
from imgmine.decisions import ImageDecision, RecordDecision, ScoreDecision
from imgmine.store.local import LocalStore
from imgmine.store.tables import (
    ANOMALY_SCORES,
    DIGEST,
    FILES,
    IMAGES,
    NSFW_SCORES,
    RECORDS,
    WATERMARK_SCORES,
    Provenance,
    manifest_key,
    table_key,
    to_parquet,
)

PROJECT = Path(__file__).resolve().parents[1] / "dbt_reports"
BEGIN = datetime(2023, 4, 29, tzinfo=UTC)
TYPES = np.array(["image/jpeg", "image/png", "image/webp", "image/gif", "video/mp4"])
FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP", "image/gif": "GIF"}
DROPPED = [one.value for one in RecordDecision if one not in (RecordDecision.KEPT, RecordDecision.DUPLICATE)]
GATE = [ImageDecision.KEPT, ImageDecision.SIZE, ImageDecision.MODE, ImageDecision.UNDECODABLE]


def digests(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Return digests that look like chance and are the same for the same numbers, as 32 bytes each."""
    words = np.stack([np.bitwise_count(numbers).astype(np.uint64)] + [numbers.astype(np.uint64)] * 3, axis=1)
    words += np.arange(1, 5, dtype=np.uint64)
    words *= np.uint64(0x9E3779B97F4A7C15)
    words ^= words >> np.uint64(29)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words[:, 0] ^= words[:, 1] >> np.uint64(7)
    return words.astype(">u8").view(np.uint8).reshape(-1, 32)


def table(schema: pa.Schema, rows: int, **columns: object) -> pa.Table:
    """Return a table of a schema whose other columns are null, or empty where they may not be."""
    arrays = []
    for field in schema:
        if field.name in columns:
            arrays.append(pa.array(columns[field.name], field.type))
        elif field.nullable:
            arrays.append(pa.nulls(rows, field.type))
        else:
            size = field.type.byte_width if pa.types.is_fixed_size_binary(field.type) else 0
            empty = bytes(size) if size else 0 if pa.types.is_integer(field.type) else ""
            arrays.append(pa.repeat(pa.scalar(empty, field.type), rows))
    return pa.table(arrays, schema=schema)


def put_archive(store: LocalStore, number: int, files: int, random: np.random.Generator) -> None:
    """Publish the tables of one archive."""
    archive = f"archiveteam_imgur_{number:06d}"
    names = np.arange(number * files, (number + 1) * files)
    if number:
        again = random.random(files) < 0.2
        names[again] = random.integers(0, number * files, int(again.sum()))
    names = np.unique(names)
    rows = digests(names)
    rows = rows[np.lexsort(rows.T[::-1])]
    n = len(rows)
    column = pa.FixedSizeBinaryArray.from_buffers(DIGEST, n, [None, pa.py_buffer(np.ascontiguousarray(rows))])
    still = np.arange(n) % 30 == 0
    types = np.where(still, "image/png", random.choice(TYPES, n, p=[0.6, 0.27, 0.05, 0.05, 0.03]))
    day = BEGIN + timedelta(hours=number)
    captured = [day + timedelta(seconds=int(second)) for second in random.integers(0, 86_400, n)]
    shown_files = {
        "blake2b": column,
        "size": np.exp(random.normal(12, 1.5, n)).astype(np.int64),
        "media_type": types,
        "url": [f"https://i.imgur.com/{name}.jpg" for name in names],
        "captured_at": captured,
        "last_modified": [day - timedelta(days=int(days)) for days in random.integers(0, 4000, n)],
        "video_blake2b": [bytes(32) if one else None for one in still],
    }
    pictures = np.flatnonzero(types != "video/mp4")
    gate = random.choice([one.value for one in GATE], len(pictures), p=[0.76, 0.12, 0.11, 0.01])
    kept = pictures[gate == "kept"]
    images = {
        "blake2b": column.take(pa.array(pictures)),
        "width": random.integers(64, 5000, len(pictures)),
        "height": random.integers(64, 5000, len(pictures)),
        "format": [FORMATS[kind] for kind in types[pictures]],
        "decision": gate,
    }
    originals = int((~still).sum())
    decisions = np.concatenate(
        [np.repeat(["kept", "duplicate"], [originals, n // 20]), random.choice(DROPPED, n - n // 20)]
    )
    percentile = random.random(len(kept)).astype(np.float32) * 100
    of_kept = column.take(pa.array(kept))
    probability = random.beta(0.3, 3, len(kept)).astype(np.float32)
    for name, schema, count, columns in (
        ("records", RECORDS, len(decisions), {"archive": [archive] * len(decisions), "decision": decisions}),
        ("files", FILES, n, shown_files),
        ("images", IMAGES, len(pictures), images),
        (
            "anomaly_scores",
            ANOMALY_SCORES,
            len(kept),
            {
                "blake2b": of_kept,
                "log_likelihood": percentile.astype(np.float64),
                "percentile": percentile,
                "decision": np.where(percentile < 5, ScoreDecision.ANOMALOUS.value, ScoreDecision.KEPT.value),
            },
        ),
        (
            "watermark_scores",
            WATERMARK_SCORES,
            len(kept),
            {"blake2b": of_kept, "probability": probability, "decision": ["kept"] * len(kept)},
        ),
        (
            "nsfw_scores",
            NSFW_SCORES,
            len(kept),
            {"blake2b": of_kept, "probability": probability, "decision": ["shown"] * len(kept)},
        ),
    ):
        store.put_bytes(
            table_key(name, archive), to_parquet(table(schema, count, **columns), Provenance(name, "0", "0"))
        )
    warc = ItemFile(f"{archive}.warc.zst", "Web ARChive ZST", 14 << 30, None, None, None, None, private=False)
    item = Item(archive, day, None, 14 << 30, dark=False, restricted=False, files=(warc,))
    store.put_bytes(manifest_key(archive), manifest_bytes(item))


def timed(what: str, work: Callable[[], object]) -> object:
    """Do something and print a row of the table: seconds, and CPU seconds of this process and those it started."""
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    result = work()
    print(f"| {what} | {time.perf_counter() - wall:.1f} | {sum(os.times()[:4]) - cpu:.1f} |", flush=True)
    return result


def build_reports(warehouse: Path, work: Path) -> None:
    environ = {
        **os.environ,
        "IMGMINE_WAREHOUSE": str(warehouse),
        "DBT_TARGET_PATH": str(work / "target"),
        "DBT_LOG_PATH": str(work / "logs"),
    }
    dbt = [sys.executable, "-c", "from dbt.cli.main import cli; cli()", "build", "--quiet"]
    subprocess.run(
        [*dbt, "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)], cwd=work, env=environ, check=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archives", type=int, default=20)
    parser.add_argument("--files", type=int, default=24_734, help="files of an archive")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        store = LocalStore(work / "store")
        random = np.random.default_rng(0)
        for number in range(options.archives):
            put_archive(store, number, options.files, random)
        scratch = work / "scratch"
        scratch.mkdir()
        print("| | seconds | CPU s |\n|---|---|---|")
        timed("ownership", lambda: publish_dataset(store, work / "mirror", scratch))
        path = timed("warehouse: views, funnel, population", lambda: build_warehouse(store, work / "mirror", scratch))
        assert isinstance(path, Path)
        timed("dbt: every report and every test", lambda: build_reports(path, work))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(f"\ndbt's peak: {peak / 1024:.0f} MiB; the warehouse: {path.stat().st_size / 1e6:.1f} MB\n")
        print("| report | rows | ms to read all of it |\n|---|---|---|")
        with duckdb.connect(str(path), read_only=True) as connection:
            for (name,) in connection.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' ORDER BY 1"
            ).fetchall():
                start = time.perf_counter()
                rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
                print(f"| `{name}` | {len(rows):,} | {1000 * (time.perf_counter() - start):.1f} |")


if __name__ == "__main__":
    main()
