"""The published tables: their columns, and how one is written so that the same rows give the same bytes.

What the rows mean is in the design and in `imgmine.decisions`; who fills them is the stage's business.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq

from imgmine import __version__

SCHEMA_VERSION = "3"

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
        pa.field("known_as", DIGEST),
        pa.field("blocked_by", pa.string()),
    ]
)

FILES = pa.schema(
    [
        pa.field("blake2b", DIGEST, nullable=False),
        pa.field("md5", pa.binary(16), nullable=False),
        pa.field("sha1", pa.binary(20), nullable=False),
        pa.field("sha256", pa.binary(32), nullable=False),
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
        pa.field("pdq", pa.binary(32)),
        pa.field("pdq_quality", pa.uint8()),
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

NSFW_SCORES = pa.schema(
    [
        pa.field("blake2b", DIGEST, nullable=False),
        pa.field("probability", pa.float32(), nullable=False),
        pa.field("decision", pa.string(), nullable=False),
    ]
)

PROBE_SCORES = pa.schema(
    [
        pa.field("blake2b", DIGEST, nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("probability", pa.float32(), nullable=False),
        pa.field("decision", pa.string(), nullable=False),
    ]
)

CATEGORIES = pa.schema(
    [
        pa.field("blake2b", DIGEST, nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("probability", pa.float32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("decision", pa.string(), nullable=False),
    ]
)

# What people said, in the order in which they said it: no archive's, and never rewritten.
LABELS = pa.schema(
    [
        pa.field("blake2b", DIGEST, nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("value", pa.bool_()),
        pa.field("by", pa.string(), nullable=False),
        pa.field("at", TIME, nullable=False),
    ]
)

WATERMARK_SCORES = pa.schema(
    [
        pa.field("blake2b", DIGEST, nullable=False),
        pa.field("probability", pa.float32(), nullable=False),
        pa.field("decision", pa.string(), nullable=False),
    ]
)

# What else is thought of an archive's kept images: tables by `blake2b`, some with a `decision`, whose meanings are in
# `imgmine.decisions`. They flag or hide; the funnel does not go through them.
JUDGEMENTS: Mapping[str, pa.Schema] = MappingProxyType(
    {
        "watermark_scores": WATERMARK_SCORES,
        "nsfw_scores": NSFW_SCORES,
        "probe_scores": PROBE_SCORES,
        "categories": CATEGORIES,
    }
)


# Shown beside the columns in the UI and in the docs; a column of the same name means the same in every table.
COLUMN_MEANINGS = {
    "archive": "identifier of the Internet Archive item",
    "warc_file": "name of the WARC file within the item",
    "warc_offset": "bytes before the record in the compressed WARC file",
    "warc_length": "bytes of the record in the compressed WARC file",
    "record_id": "WARC-Record-ID, without angle brackets",
    "record_type": "response or revisit; null where no reader could tell",
    "url": "WARC-Target-URI",
    "captured_at": "WARC-Date (UTC)",
    "http_status": "status of the HTTP response",
    "served_type": "Content-Type as served, which need not be true",
    "declared_length": "Content-Length of the HTTP response, in bytes; null where it declared none",
    "body_length": "bytes of the HTTP body that were archived, without chunk framing",
    "media_id": "the source's id of the picture or video, from the URL",
    "decision": "what became of it, or the first rule that dropped it",
    "blake2b": "BLAKE2b-256 of the bytes: the name of the file",
    "known_as": "of a record not fetched: the file of an earlier archive with the SHA-1 that the CDX gives it",
    "blocked_by": "of what a list of hashes blocked: the hash, as sha1:…",
    "md5": "MD5 of the bytes, for lists of files that use it",
    "sha1": "SHA-1 of the bytes, for lists of files that use it",
    "sha256": "SHA-256 of the bytes, for lists of files that use it",
    "size": "bytes of the file",
    "media_type": "what the file is, by its bytes",
    "extension": "file name extension of the media type",
    "last_modified": "Last-Modified of the HTTP response (UTC)",
    "shard": "store key of the tar shard with the original bytes",
    "shard_offset": "bytes before the file's first byte in that shard",
    "video_blake2b": "of a still: the video that it was taken from",
    "frame_time": "of a still: its time in the video, in seconds",
    "width": "pixels, as stored (EXIF orientation is not applied)",
    "height": "pixels, as stored (EXIF orientation is not applied)",
    "mode": "Pillow's mode of the picture",
    "format": "Pillow's name of the format",
    "frames": "frames of the picture; null where it could not be counted",
    "detail": "the decoder's own words, where the file was dropped for an error",
    "preview_shard": "store key of the tar shard with the preview",
    "preview_offset": "bytes before the preview's first byte in that shard",
    "preview_size": "bytes of the preview",
    "dhash": "difference hash of the picture at its preview's size, 64 bits",
    "pdq": "PDQ hash of the picture; of what it blocked too",
    "pdq_quality": "how much the PDQ hash says, 0 to 100; below 50 it is not to be relied upon",
    "exif_copyright": "EXIF tag 33432, as written by the author",
    "embedding": "the image's vector, L2-normalised",
    "log_likelihood": "of the embedding under the mixture, in nats; of other detectors, a negative distance",
    "probability": "by the table's model, from 0 to 1",
    "label": "what people tagged: a word such as good",
    "value": "whether the label applies; null takes it back",
    "by": "who said so",
    "at": "when it was said (UTC)",
    "category": "the likeliest of the list of categories",
    "source": "what told the category: zero_shot, imagenet or probe",
    "percentile": "share of held-out reference images that score lower, in percent",
    "kept_blake2b": "the image that is kept for the group: the largest, then the earliest; its own of that one",
    "how": "what told it: pdq, mirrored or embedding; kept of the one that is kept",
    "pdq_distance": "bits by which its PDQ hash differs from the kept one's, mirrored where that is how",
    "vector_distance": "bits, of 256, by which the codes of the two vectors differ",
    "agreement": "share of the blocks in which the two previews agree, without rows that may be captions",
}


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


def from_parquet(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of a Parquet file, all columns or these, read by this thread alone.

    Arrow's own threads may let go of a Python object after the reading has returned; where the process ends meanwhile,
    they abort it, or wait for ever (https://github.com/apache/arrow/issues/34314, 33975).
    """
    with pq.ParquetFile(pa.BufferReader(data), pre_buffer=False) as file:
        return file.read(columns=None if columns is None else list(columns), use_threads=False)


def parquet_metadata(data: bytes) -> dict[str, str]:
    """Return the key-value metadata of a Parquet file, as `to_parquet` wrote it."""
    return key_values(pq.read_metadata(io.BytesIO(data)))


def key_values(footer: pq.FileMetaData) -> dict[str, str]:
    """Return the key-value metadata in the footer of a Parquet file, without Arrow's own."""
    found = footer.metadata or {}
    return {key.decode(): value.decode() for key, value in found.items() if not key.startswith(b"ARROW:")}


def manifest_key(archive: str) -> str:
    """Return the store key of an archive's manifest: what the Internet Archive's metadata said of it."""
    return f"manifests/{archive}.json"
