"""Packing one shard of a release: a tar in WebDataset's layout, Parquet with embedded images, and what is in them.

The same rows and pictures give the same files, byte for byte. Where they go is `making`'s business.
"""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.dataset.releases.gathering import GatheredShard, Picture
from imgmine.dataset.releases.recipe import Layout
from imgmine.dataset.releases.samples import IMAGE, PLANNED, SAMPLES, data_schema, sample_json
from imgmine.store.publish import file_digest
from imgmine.store.shards import Shard, ShardWriter

SAMPLES_FILE = "samples"
"""Beside the layouts: the table without pictures that every shard has."""

_ROWS_A_GROUP = 256
_BYTES_A_GROUP = 64 << 20


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file of a shard, where it is here, and its SHA-256 in hexadecimal."""

    file: Shard
    sha256: str


def pack(
    number: int, rows: pa.Table, pictures: GatheredShard, layouts: Sequence[Layout], prefix: str, folder: Path
) -> dict[str, PackedFile]:
    """Write the shard's files into `folder` and return them by layout, `samples` among them.

    `rows` are the plan's, in order. Keys begin with `prefix`. One group of rows, at most 64 MB and one picture, is in
    memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    packed: list[dict[str, Any]] = []
    parquet = folder / f"{number:05d}.parquet"
    tar: ShardWriter | None = None
    data: pq.ParquetWriter | None = None
    waiting: list[tuple[dict[str, Any], str, bytes]] = []
    waiting_bytes = 0
    with ExitStack() as open_files:
        if Layout.WEBDATASET in layouts:
            tar = open_files.enter_context(ShardWriter(folder, f"{prefix}/data", sys.maxsize, first=number))
        if Layout.PARQUET in layouts:
            data = open_files.enter_context(pq.ParquetWriter(parquet, data_schema(), **_WITH_IMAGES))
        for place, row in enumerate(_each(rows)):
            picture = pictures.picture(place)
            name = f"{row['blake2b']}.{row['extension']}"
            sample = _packed(row, picture)
            if tar is not None:
                sample["tar_offset"] = tar.add(name, picture.data).offset
                tar.add(f"{row['blake2b']}.json", sample_json(sample))
            packed.append(sample)
            if data is not None:
                waiting.append((sample, name, picture.data))
                waiting_bytes += len(picture.data)
                if len(waiting) == _ROWS_A_GROUP or waiting_bytes >= _BYTES_A_GROUP:
                    data.write_table(_with_images(waiting))
                    waiting, waiting_bytes = [], 0
        if data is not None and waiting:
            data.write_table(_with_images(waiting))
    files: dict[str, PackedFile] = {}
    if tar is not None:
        [shard] = tar.shards
        files[Layout.WEBDATASET] = PackedFile(shard, sha256_of(shard.path))
    if data is not None:
        files[Layout.PARQUET] = _named(parquet, f"{prefix}/data", number)
    samples = folder / f"{number:05d}-samples.parquet"
    pq.write_table(pa.Table.from_pylist(packed, SAMPLES), samples, **_OPTIONS)
    files[SAMPLES_FILE] = _named(samples, f"{prefix}/{SAMPLES_FILE}", number)
    return files


_OPTIONS: Mapping[str, Any] = {"compression": "zstd", "store_schema": True}
# Pictures are compressed already, and no two are alike.
_WITH_IMAGES: Mapping[str, Any] = {
    "compression": {
        f"{IMAGE.name}.bytes": "none",
        **dict.fromkeys((f"{IMAGE.name}.path", *data_schema().names[1:]), "zstd"),
    },
    "use_dictionary": data_schema().names[1:],
    "store_schema": True,
}


def _each(rows: pa.Table) -> Any:
    for batch in rows.to_batches(max_chunksize=_ROWS_A_GROUP):
        yield from batch.to_pylist()


def _packed(row: Mapping[str, Any], picture: Picture) -> dict[str, Any]:
    return {
        **{name: row[name] for name in PLANNED.names},
        "width": row["original_width"] if picture.width is None else picture.width,
        "height": row["original_height"] if picture.height is None else picture.height,
        "size": len(picture.data),
        "tar_offset": None,
    }


def _with_images(waiting: Sequence[tuple[dict[str, Any], str, bytes]]) -> pa.Table:
    rows = [{**sample, IMAGE.name: {"bytes": data, "path": name}} for sample, name, data in waiting]
    return pa.Table.from_pylist(rows, data_schema())


def _named(path: Path, folder: str, number: int) -> PackedFile:
    key = f"{folder}/{number:05d}-{file_digest(path)}.parquet"
    return PackedFile(Shard(key, path, path.stat().st_size), sha256_of(path))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
