"""What a release says of each image: the columns, their JSON in a tar, and what `datasets` wants to know of them.

Where the values come from is `selection`'s; how samples get into shards is `packing`'s.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from imgmine.store.tables import TIME

# As the plan has them, ready to be published: hashes are hexadecimal, since these tables are for others.
PLANNED = pa.schema(
    [
        pa.field("blake2b", pa.string(), nullable=False),
        pa.field("archive", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("captured_at", TIME),
        pa.field("warc_file", pa.string(), nullable=False),
        pa.field("warc_offset", pa.int64(), nullable=False),
        pa.field("warc_length", pa.int64(), nullable=False),
        pa.field("media_id", pa.string()),
        pa.field("last_modified", TIME),
        pa.field("original_width", pa.int32()),
        pa.field("original_height", pa.int32()),
        pa.field("original_format", pa.string()),
        pa.field("original_size", pa.int64(), nullable=False),
        pa.field("md5", pa.string(), nullable=False),
        pa.field("sha1", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("still_of", pa.string()),
        pa.field("frame_time", pa.float64()),
        pa.field("copyright", pa.string()),
        pa.field("percentile", pa.float32()),
        pa.field("nsfw", pa.float32()),
        pa.field("watermark", pa.float32()),
        pa.field("category", pa.string()),
        pa.field("category_probability", pa.float32()),
        pa.field("labels", pa.string()),
    ]
)
# Where the bytes are, in the store of what was mined.
PLACE = pa.schema(
    [
        pa.field("extension", pa.string(), nullable=False),
        pa.field("source_shard", pa.string(), nullable=False),
        pa.field("source_offset", pa.int64(), nullable=False),
        pa.field("source_size", pa.int64(), nullable=False),
    ]
)
# What is known once a sample is packed.
PACKED = pa.schema(
    [
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
    ]
)
# In `samples/` alone: where the sample went.
WHERE = pa.schema(
    [
        pa.field("size", pa.int64(), nullable=False),
        pa.field("tar_offset", pa.int64()),
    ]
)
SAMPLES = pa.schema([*PLANNED, *PACKED, *WHERE])

IMAGE = pa.field("image", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())]))

MEANINGS: Mapping[str, str] = {
    "image": "the picture's bytes, and its file name",
    "blake2b": "BLAKE2b-256 of the original: the name of the file",
    "archive": "identifier of the Internet Archive item",
    "url": "where the crawler found it",
    "captured_at": "when the crawler did (UTC)",
    "warc_file": "name of the WARC file within the item",
    "warc_offset": "bytes before the record in the compressed WARC file",
    "warc_length": "bytes of the record in the compressed WARC file",
    "media_id": "the source's id of the picture or video",
    "last_modified": "Last-Modified as the source served it (UTC)",
    "original_width": "pixels of the original as stored; EXIF orientation is not applied",
    "original_height": "pixels of the original as stored; EXIF orientation is not applied",
    "original_format": "Pillow's name of the original's format",
    "original_size": "bytes of the original",
    "md5": "MD5 of the original",
    "sha1": "SHA-1 of the original",
    "sha256": "SHA-256 of the original",
    "still_of": "of a still: BLAKE2b-256 of the video that it was taken from",
    "frame_time": "of a still: its time in the video, in seconds",
    "copyright": "EXIF tag 33432, as written by the author",
    "percentile": "how usual it is: share of reference images that are less so, in percent",
    "nsfw": "probability of not being safe for work, by a model",
    "watermark": "probability of a watermark, by a model",
    "category": "the likeliest category, where it is likely enough",
    "category_probability": "of the likeliest category",
    "labels": "JSON: labels of people's choosing, each with the probability that it applies",
    "width": "pixels of the picture in this release",
    "height": "pixels of the picture in this release",
    "size": "bytes of the picture in this release",
    "tar_offset": "bytes before the picture in its tar",
}

# `datasets` takes a JSON column's types from the first samples that it meets, so a text is never null there; what only
# few samples have as a number is in the tables alone.
_NOT_IN_JSON = {"frame_time"}


def sample_json(row: Mapping[str, Any]) -> bytes:
    """Return what a tar says of one sample, from a row with the columns `PLANNED` and `PACKED`."""
    said = {
        field.name: _plain(row[field.name], field.type)
        for field in (*PLANNED, *PACKED)
        if field.name not in _NOT_IN_JSON
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def _plain(value: Any, kind: pa.DataType) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None and (pa.types.is_string(kind) or pa.types.is_timestamp(kind)):
        return ""
    # Four digits are what a probability of float32 is worth; its seventeen are noise.
    return round(value, 4) if isinstance(value, float) else value


def data_schema() -> pa.Schema:
    """Return the schema of the Parquet files with embedded images, with what makes `datasets` show them as images."""
    schema = pa.schema([IMAGE, *PLANNED, *PACKED])
    features = {field.name: {"dtype": _dtype(field.type), "_type": "Value"} for field in schema}
    features[IMAGE.name] = {"_type": "Image"}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def tar_features(extensions: Iterable[str]) -> list[dict[str, Any]]:
    """Return what `datasets` finds in tars of pictures with these extensions, as a card's `dataset_info` says it.

    Told nothing, it takes the members and their types from the first five samples, and fails over others or drops them.
    """
    said = [
        {"name": field.name, "dtype": _json_dtype(field.type)}
        for field in (*PLANNED, *PACKED)
        if field.name not in _NOT_IN_JSON
    ]
    return [
        *({"name": extension, "dtype": "image"} for extension in extensions),
        {"name": "json", "struct": said},
        {"name": "__key__", "dtype": "string"},
        {"name": "__url__", "dtype": "string"},
    ]


def _json_dtype(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "int64"
    return "float64" if pa.types.is_floating(kind) else "string"


def _dtype(kind: pa.DataType) -> str:
    return {pa.float32(): "float32", pa.float64(): "float64"}.get(kind, str(kind))
