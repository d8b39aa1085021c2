"""Where every column of the published tables comes from, as the columns that it is made of: one list for all stages.

What a column means is in `imgmine.store.tables`; which columns a report's SQL reads is told by its SQL.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

_Columns = dict[str, Sequence[str]]

# What the Internet Archive has. It is no table; names in capitals are fields of WARC records and HTTP responses.
WARC = "warc"

_PLACE = {"warc_file": ["warc.name"], "warc_offset": ["warc.offset"], "warc_length": ["warc.length"]}
_PAYLOAD = ["warc.payload"]
_BYTES = ["files.shard", "files.shard_offset", "files.size"]
_PREVIEW = ["images.preview_shard", "images.preview_offset", "images.preview_size"]
_SAID_OF_IT = ["records.decision", "records.url", "records.media_id"]


def _judged(of: str, by: Sequence[str], *columns: str) -> _Columns:
    """Columns that a model fills from `by`, for each row of another table."""
    return {"blake2b": [f"{of}.blake2b"], **dict.fromkeys(columns, by)}


# Table to column to the columns, as `table.column`, that its values are made of; empty where it is the archive's name,
# or what the stage itself counts.
COLUMN_ORIGINS: Mapping[str, Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        "records": {
            "archive": [],
            **_PLACE,
            "record_id": ["warc.WARC-Record-ID"],
            "record_type": ["warc.WARC-Type"],
            "url": ["warc.WARC-Target-URI"],
            "captured_at": ["warc.WARC-Date"],
            "http_status": ["warc.status"],
            "served_type": ["warc.Content-Type"],
            "declared_length": ["warc.Content-Length"],
            "body_length": _PAYLOAD,
            "media_id": ["warc.WARC-Target-URI"],
            "decision": ["warc.WARC-Type", "warc.WARC-Target-URI", "warc.status", "warc.Content-Length", *_PAYLOAD],
            "blake2b": _PAYLOAD,
            "known_as": ["files.sha1", "files.blake2b"],
            "blocked_by": _PAYLOAD,
        },
        "files": {
            "blake2b": ["records.blake2b"],
            **dict.fromkeys(["md5", "sha1", "sha256", "size", "media_type", "extension"], _PAYLOAD),
            **{column: [f"records.{column}"] for column in ("media_id", "url", "captured_at")},
            "last_modified": ["warc.Last-Modified"],
            **{column: [f"records.{column}"] for column in _PLACE},
            "shard": [*_SAID_OF_IT, *_PAYLOAD],
            "shard_offset": [*_SAID_OF_IT, *_PAYLOAD],
            "video_blake2b": ["records.blake2b"],
            "frame_time": _PAYLOAD,
        },
        "images": {
            "blake2b": ["files.blake2b"],
            **dict.fromkeys(["width", "height", "mode", "format", "frames", "decision", "detail"], _BYTES),
            **dict.fromkeys(["preview_shard", "preview_offset", "preview_size", "dhash"], _BYTES),
            **dict.fromkeys(["pdq", "pdq_quality", "exif_copyright"], _BYTES),
        },
        "embeddings": _judged("images", _PREVIEW, "embedding"),
        "anomaly_scores": _judged("embeddings", ["embeddings.embedding"], "log_likelihood", "percentile", "decision"),
        "watermark_scores": _judged("embeddings", ["embeddings.embedding", *_PREVIEW], "probability", "decision"),
        "nsfw_scores": _judged("images", _PREVIEW, "probability", "decision"),
        "probe_scores": {
            **_judged("embeddings", ["embeddings.embedding", "labels.value"], "probability", "decision"),
            "label": ["labels.label"],
        },
        "categories": _judged("embeddings", ["embeddings.embedding"], "category", "probability", "source", "decision"),
        "ownership": {
            "blake2b": ["files.blake2b"],
            "archive": ["files.blake2b", "archives.publicdate"],
            "copies": ["files.blake2b"],
        },
        "archives": {
            "archive": [],
            **{name: [f"warc.{name}"] for name in ("publicdate", "item_size", "warc_files", "warc_bytes")},
            "files": ["files.blake2b"],
            "owned": ["ownership.archive"],
            "files_digest": ["files.blake2b"],
        },
        "near_duplicates": {
            "blake2b": ["images.blake2b"],
            "kept_blake2b": ["images.blake2b", "images.width", "images.height", "archives.publicdate"],
            "how": ["images.pdq", "embeddings.embedding", *_PREVIEW],
            "pdq_distance": ["images.pdq"],
            "vector_distance": ["embeddings.embedding"],
            "agreement": _PREVIEW,
        },
        "funnel": {
            "archive": [],
            "stage": [],
            "decision": [
                "records.decision",
                "files.media_type",
                "files.video_blake2b",
                "images.decision",
                "anomaly_scores.decision",
            ],
            "n": [],
        },
    }
)
