"""Taking a release elsewhere: its metadata as one DuckDB file, its pictures as a folder that FiftyOne reads.

FiftyOne itself is not needed: what is written is its dataset on disk without a version, which it reads since 0.8
(https://docs.voxel51.com/user_guide/import_datasets.html, `FiftyOneDataset`).
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from imgmine.dataset.relations import connect, parquet_source
from imgmine.dataset.releases.packing import SAMPLES_FILE
from imgmine.dataset.releases.recipe import Layout
from imgmine.dataset.releases.release import Release, ReleaseShard
from imgmine.dataset.releases.samples import IMAGE
from imgmine.errors import ImgmineError
from imgmine.store.base import Store
from imgmine.store.shards import shard_members

_ROWS_AT_ONCE = 256


class ExportRefused(ImgmineError):
    """The place for an export is taken."""


def export_duckdb(store: Store, release: Release, out: Path, scratch: Path) -> int:
    """Write a DuckDB file of the release's metadata, and return its rows.

    It has the tables `samples` (one row an image, with its shard), `shards` (one row a file) and `dropped`. Raises
    `ExportRefused` where the file is there.
    """
    if out.exists():
        raise ExportRefused(f"{out} is there already. Give another name, or move it away.")
    scratch.mkdir(parents=True, exist_ok=True)
    draft = scratch / "export.duckdb"
    draft.unlink(missing_ok=True)
    with connect(draft) as connection:
        connection.execute(
            "CREATE TABLE shards (shard INTEGER, layout VARCHAR, key VARCHAR, size BIGINT, sha256 VARCHAR)"
        )
        connection.execute("CREATE TABLE dropped (rule VARCHAR, images BIGINT)")
        for rule, images in release.dropped.items():
            connection.execute("INSERT INTO dropped VALUES (?, ?)", [rule, images])
        for shard in release.shards:
            for layout, file in shard.files.items():
                connection.execute(
                    "INSERT INTO shards VALUES (?, ?, ?, ?, ?)",
                    [shard.number, layout, file.key, file.size, file.sha256],
                )
            path = store.local_copy(shard.files[SAMPLES_FILE].key, scratch / "copies")
            verb = "CREATE TABLE samples AS" if shard is release.shards[0] else "INSERT INTO samples"
            connection.execute(f"{verb} SELECT {shard.number} AS shard, * FROM {parquet_source(path)}")
            shutil.rmtree(scratch / "copies", ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(draft, out)
    return release.images


def export_fiftyone(store: Store, release: Release, folder: Path, scratch: Path, limit: int | None = None) -> int:
    """Write the release's pictures (the first `limit`) into a folder that FiftyOne reads, and return how many.

    Scores are fields, the category is a classification. The release is shuffled, so the first ones are a sample.
    Raises `ExportRefused` where the folder is there and not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ExportRefused(f"{folder} is not empty. Give another folder, or empty it.")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    written = 0
    with (folder / "samples.json").open("w", encoding="utf-8") as out:
        out.write('{"samples": [')
        for row, name, data in _pictures(store, release, scratch / "copies"):
            if written == limit:
                break
            (folder / "data" / name).write_bytes(data)
            out.write(",\n" if written else "\n")
            json.dump(_fiftyone_sample(row, name, data), out, ensure_ascii=False)
            written += 1
        out.write("\n]}\n")
    # The file without which there is no dataset goes last.
    info = {"version": release.version, "name": release.name, "recipe": release.recipe}
    (folder / "metadata.json").write_text(json.dumps({"name": release.name, "media_type": "image", "info": info}))
    return written


def _pictures(store: Store, release: Release, copies: Path) -> Iterator[tuple[Mapping[str, Any], str, bytes]]:
    for shard in release.shards:
        yield from pictures_of(store, shard, copies)


def pictures_of(store: Store, shard: ReleaseShard, copies: Path) -> Iterator[tuple[Mapping[str, Any], str, bytes]]:
    """Yield each sample of a shard in order: its row, its file's name, and its bytes.

    `copies` is where files of a store that is not local are kept meanwhile.
    """
    try:
        if Layout.PARQUET in shard.files:
            with pq.ParquetFile(store.local_copy(shard.files[Layout.PARQUET].key, copies)) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE):
                    for row in batch.to_pylist():
                        picture = row.pop(IMAGE.name)
                        yield row, picture["path"], picture["bytes"]
        else:
            yield from _from_tar(store, shard, copies)
    finally:
        shutil.rmtree(copies, ignore_errors=True)


def _from_tar(store: Store, shard: ReleaseShard, copies: Path) -> Iterator[tuple[Mapping[str, Any], str, bytes]]:
    samples = pq.read_table(store.local_copy(shard.files[SAMPLES_FILE].key, copies))
    tar = store.local_copy(shard.files[Layout.WEBDATASET].key, copies)
    # The pictures' names are in the tar alone: their extensions are the original's.
    names = {offset: name for name, offset, _ in shard_members(tar)}
    descriptor = os.open(tar, os.O_RDONLY)
    try:
        for row in samples.to_pylist():
            yield row, names[row["tar_offset"]], os.pread(descriptor, row["size"], row["tar_offset"])
    finally:
        os.close(descriptor)


def _fiftyone_sample(row: Mapping[str, Any], name: str, data: bytes) -> dict[str, Any]:
    fields = {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in row.items()
        if value is not None and key not in ("category", "category_probability", "tar_offset", "width", "height")
    }
    if row["category"] is not None:
        label = {"_cls": "Classification", "label": row["category"], "confidence": row["category_probability"]}
        fields["category"] = label
    metadata = {"_cls": "ImageMetadata", "size_bytes": len(data), "width": row["width"], "height": row["height"]}
    return {"_media_type": "image", "filepath": f"data/{name}", "tags": [], "metadata": metadata, **fields}
