"""A store with a few small archives, written row by row: what the tests of `imgmine.dataset` read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from imgmine.archives.item import Item, ItemFile, manifest_bytes
from imgmine.decisions import ImageDecision, RecordDecision, ScoreDecision, WatermarkDecision
from imgmine.store.base import Store
from imgmine.store.publish import publish
from imgmine.store.tables import ANOMALY_SCORES, FILES, IMAGES, RECORDS, WATERMARK_SCORES, Provenance, embeddings_schema

STAGES = ("records", "files", "images", "embeddings", "anomaly_scores", "watermark_scores")
CAPTURED = datetime(2023, 5, 1, tzinfo=UTC)
HASHED = {RecordDecision.KEPT, RecordDecision.DUPLICATE, RecordDecision.LESSER_COPY}


@dataclass(frozen=True)
class Entry:
    """One record, and what becomes of its payload, which is `payload` in ASCII."""

    payload: str
    decision: RecordDecision = RecordDecision.KEPT
    media_type: str = "image/jpeg"
    gate: ImageDecision = ImageDecision.KEPT
    percentile: float = 50.0
    watermark: float = 0.25
    url: str = ""
    media_id: str | None = None
    size: tuple[int, int] = (640, 480)

    @property
    def digest(self) -> bytes:
        return digest(self.payload)

    @property
    def still(self) -> bytes:
        return digest(f"still of {self.payload}")


def digest(payload: str) -> bytes:
    return hashlib.blake2b(payload.encode(), digest_size=32).digest()


def list_hashes(payload: str) -> dict[str, bytes]:
    return {name: hashlib.new(name, payload.encode()).digest() for name in ("md5", "sha1", "sha256")}


def put_manifest(store: Store, archive: str, publicdate: datetime | None) -> None:
    warc = ItemFile(f"{archive}.warc.zst", "Web ARChive ZST", 1000, None, None, None, None, private=False)
    item = Item(archive, publicdate, None, 1234, dark=False, restricted=False, files=(warc,))
    store.put_bytes(f"manifests/{archive}.json", manifest_bytes(item))


def tables_of(archive: str, entries: Sequence[Entry]) -> dict[str, pa.Table]:
    """Return the tables of an archive that follow from the entries."""
    records, files, images = [], [], []
    for number, entry in enumerate(entries):
        where = {"warc_file": f"{archive}.warc.zst", "warc_offset": 1000 * number, "warc_length": 900}
        url = entry.url or f"https://i.imgur.com/{entry.payload}.jpg"
        captured_at = CAPTURED + timedelta(seconds=number)
        records.append(
            {
                **where,
                "archive": archive,
                "record_id": f"urn:uuid:{number:08d}",
                "record_type": "response",
                "url": url,
                "captured_at": captured_at,
                "http_status": 200,
                "served_type": entry.media_type,
                "declared_length": len(entry.payload),
                "body_length": len(entry.payload),
                "media_id": entry.media_id,
                "decision": entry.decision.value,
                "blake2b": entry.digest if entry.decision in HASHED else None,
            }
        )
        if entry.decision is not RecordDecision.KEPT:
            continue
        file = {
            **where,
            "blake2b": entry.digest,
            **list_hashes(entry.payload),
            "size": len(entry.payload),
            "media_type": entry.media_type,
            "extension": entry.media_type.rpartition("/")[2],
            "url": url,
            "captured_at": captured_at,
            "shard": f"files/{archive}/00000-abc.tar",
            "shard_offset": 512,
        }
        files.append(file)
        judged = entry.digest
        if entry.media_type.startswith("video/"):
            judged = entry.still
            files.append(
                {
                    **file,
                    **list_hashes(f"still of {entry.payload}"),
                    "blake2b": judged,
                    "media_type": "image/png",
                    "video_blake2b": entry.digest,
                    "frame_time": 1.5,
                }
            )
        images.append(
            {
                "blake2b": judged,
                "width": entry.size[0],
                "height": entry.size[1],
                "mode": "RGB",
                "format": "JPEG",
                "frames": 1,
                "decision": entry.gate.value,
                "detail": None if entry.gate is ImageDecision.KEPT else f"because of {entry.gate}",
                "preview_shard": f"previews/{archive}/00000-def.tar",
                "preview_offset": 512,
                "preview_size": 99,
                "dhash": 2**63 + 5,
                "pdq": judged[::-1],
                "pdq_quality": 100,
            }
        )
    kept = [image["blake2b"] for image in images if image["decision"] == "kept"]
    percentiles = {entry.still: entry.percentile for entry in entries}
    percentiles |= {entry.digest: entry.percentile for entry in entries}
    embeddings = [{"blake2b": name, "embedding": [1.0, 0.0]} for name in kept]
    scores = [_score(name, percentiles[name]) for name in kept]
    marks = {name: entry.watermark for entry in entries for name in (entry.digest, entry.still)}
    return {
        "records": pa.Table.from_pylist(records, RECORDS),
        "files": _sorted(files, FILES),
        "images": _sorted(images, IMAGES),
        "embeddings": _sorted(embeddings, embeddings_schema(2)),
        "anomaly_scores": _sorted(scores, ANOMALY_SCORES),
        "watermark_scores": _sorted([_watermark(name, marks[name]) for name in kept], WATERMARK_SCORES),
    }


def put_archive(
    store: Store,
    archive: str,
    entries: Sequence[Entry],
    publicdate: datetime | None = CAPTURED,
    stages: Sequence[str] = STAGES,
) -> None:
    """Publish the manifest and the tables of these stages."""
    put_manifest(store, archive, publicdate)
    tables = tables_of(archive, entries)
    publish(store, archive, {name: tables[name] for name in stages}, Provenance("test", "1", "0"))


def _score(blake2b: bytes, percentile: float) -> dict[str, Any]:
    decision = ScoreDecision.KEPT if percentile >= 5 else ScoreDecision.ANOMALOUS
    return {"blake2b": blake2b, "log_likelihood": 10 * percentile, "percentile": percentile, "decision": decision.value}


def _watermark(blake2b: bytes, probability: float) -> dict[str, Any]:
    decision = WatermarkDecision.KEPT if probability < 0.5 else WatermarkDecision.WATERMARKED
    return {"blake2b": blake2b, "probability": probability, "decision": decision.value}


def _sorted(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(sorted(rows, key=lambda row: row["blake2b"]), schema)
