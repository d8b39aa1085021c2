"""The published tables: their columns, and how one is written so that the same rows give the same bytes.

What the rows mean is in the design and in `imgmine.decisions`; who fills them is the stage's business.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from imgmine import __version__

SCHEMA_VERSION = "1"

DIGEST = pa.binary(32)
TIME = pa.timestamp("us", tz="UTC")

RECORDS = pa.schema(
    [
        pa.field("archive", pa.string(), nullable=False),
        pa.field("warc_file", pa.string(), nullable=False),
        pa.field("warc_offset", pa.int64(), nullable=False),
        pa.field("warc_length", pa.int64(), nullable=False),
        pa.field("record_id", pa.string()),
        pa.field("record_type", pa.string()),
        pa.field("url", pa.string()),
        pa.field("captured_at", TIME),
        pa.field("http_status", pa.int16()),
        pa.field("served_type", pa.string()),
        pa.field("declared_length", pa.int64()),
        pa.field("body_length", pa.int64()),
        pa.field("media_id", pa.string()),
        pa.field("decision", pa.string(), nullable=False),
        pa.field("blake2b", DIGEST),
    ]
)

FILES = pa.schema(
    [
        pa.field("blake2b", DIGEST, nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("media_type", pa.string(), nullable=False),
        pa.field("extension", pa.string(), nullable=False),
        pa.field("media_id", pa.string()),
        pa.field("url", pa.string()),
        pa.field("captured_at", TIME),
        pa.field("last_modified", TIME),
        pa.field("warc_file", pa.string(), nullable=False),
        pa.field("warc_offset", pa.int64(), nullable=False),
        pa.field("warc_length", pa.int64(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("shard_offset", pa.int64(), nullable=False),
        pa.field("video_blake2b", DIGEST),
        pa.field("frame_time", pa.float64()),
    ]
)

IMAGES = pa.schema(
    [
        pa.field("blake2b", DIGEST, nullable=False),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("mode", pa.string()),
        pa.field("format", pa.string()),
        pa.field("frames", pa.int32()),
        pa.field("decision", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
        pa.field("preview_shard", pa.string()),
        pa.field("preview_offset", pa.int64()),
        pa.field("preview_size", pa.int64()),
        pa.field("dhash", pa.uint64()),
        pa.field("exif_copyright", pa.string()),
    ]
)

ANOMALY_SCORES = pa.schema(
    [
        pa.field("blake2b", DIGEST, nullable=False),
        pa.field("log_likelihood", pa.float64(), nullable=False),
        pa.field("percentile", pa.float32(), nullable=False),
        pa.field("decision", pa.string(), nullable=False),
    ]
)


def embeddings_schema(dimension: int) -> pa.Schema:
    """Return the schema of `embeddings` for vectors of this many dimensions."""
    return pa.schema(
        [
            pa.field("blake2b", DIGEST, nullable=False),
            pa.field("embedding", pa.list_(pa.field("item", pa.float16(), nullable=False), dimension), nullable=False),
        ]
    )


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a table was made from, kept in the file's metadata.

    `inputs` is the fingerprint of everything the rows depend on: what was read, parameters, the stage's code version.
    """

    stage: str
    code_version: str
    inputs: str

    def as_metadata(self) -> dict[str, str]:
        return {
            "schema_version": SCHEMA_VERSION,
            "imgmine_version": __version__,
            "stage": self.stage,
            "code_version": self.code_version,
            "inputs": self.inputs,
        }


def table_key(table: str, archive: str) -> str:
    """Return the store key of one archive's part of a table."""
    return f"{table}/{archive}.parquet"


def to_parquet(table: pa.Table, provenance: Provenance, extra: Mapping[str, str] | None = None) -> bytes:
    """Return the table as one Parquet file; equal tables and provenance give equal bytes.

    `schema_version`, `code_version`, `inputs` and `extra` go into the file's key-value metadata.
    """
    metadata = {**provenance.as_metadata(), **(extra or {})}
    out = io.BytesIO()
    pq.write_table(
        table.combine_chunks().replace_schema_metadata(metadata),
        out,
        compression="zstd",
        compression_level=3,
        row_group_size=100_000,
        store_schema=True,
        write_statistics=True,
    )
    return out.getvalue()


def parquet_metadata(data: bytes) -> dict[str, str]:
    """Return the key-value metadata of a Parquet file, as `to_parquet` wrote it."""
    found = pq.read_metadata(io.BytesIO(data)).metadata or {}
    return {key.decode(): value.decode() for key, value in found.items() if not key.startswith(b"ARROW:")}
