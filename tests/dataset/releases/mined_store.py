"""A store with archives of small real pictures in real shards, and everything that a release is chosen by."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from PIL import Image

from imgmine.dataset.publishing import publish_dataset
from imgmine.dataset.releases.making import Made, make_release
from imgmine.dataset.releases.recipe import Recipe, parse_recipe
from imgmine.images.previews import preview_jpeg, reduced
from imgmine.store.base import Store
from imgmine.store.publish import publish
from imgmine.store.shards import ShardWriter
from imgmine.store.tables import (
    ANOMALY_SCORES,
    CATEGORIES,
    FILES,
    IMAGES,
    NSFW_SCORES,
    PROBE_SCORES,
    WATERMARK_SCORES,
    Provenance,
)
from tests.dataset.small_store import CAPTURED, put_manifest

EARLY, MIDDLE, LATE = "early", "middle", "late"
PUBLICDATES = {EARLY: CAPTURED, MIDDLE: CAPTURED + timedelta(days=1), LATE: CAPTURED + timedelta(days=2)}
_MADE = Provenance("test", "1", "0")
_SCORES = {
    "anomaly_scores": ANOMALY_SCORES,
    "nsfw_scores": NSFW_SCORES,
    "watermark_scores": WATERMARK_SCORES,
    "probe_scores": PROBE_SCORES,
    "categories": CATEGORIES,
}


@dataclass(frozen=True)
class Pic:
    """A picture, told from others by its seed, and what is said of it."""

    seed: int
    size: tuple[int, int] = (160, 130)
    kind: str = "JPEG"
    percentile: float | None = 50.0
    nsfw: float = 0.01
    watermark: float = 0.1
    good: float = 0.9
    category: str = "photographs"
    video: bytes | None = None
    gate: str = "kept"
    url: str | None = None
    payload: bytes = field(init=False)
    preview: bytes = field(init=False)

    def __post_init__(self) -> None:
        coarse = np.random.default_rng(self.seed).integers(0, 256, (6, 8, 3), np.uint8)
        picture = Image.fromarray(coarse).resize(self.size)
        out = io.BytesIO()
        picture.save(out, self.kind)
        object.__setattr__(self, "payload", out.getvalue())
        object.__setattr__(self, "preview", preview_jpeg(reduced(picture)))

    @property
    def digest(self) -> bytes:
        return hashlib.blake2b(self.payload, digest_size=32).digest()

    @property
    def name(self) -> str:
        return self.digest.hex()


def put_archive(store: Store, archive: str, pictures: Sequence[Pic], scratch: Path) -> None:
    """Publish an archive of these pictures: its manifest, shards and tables."""
    put_manifest(store, archive, PUBLICDATES[archive])
    shards: dict[str, ShardWriter] = {}
    places: dict[str, list[tuple[int, int]]] = {}
    for prefix in ("files", "previews"):
        # Two shards at least, so that a release has to read more than one.
        with ShardWriter(scratch / archive / prefix, f"{prefix}/{archive}", 60_000) as writer:
            members = [
                writer.add(f"{pic.name}.jpg", pic.payload if prefix == "files" else pic.preview) for pic in pictures
            ]
        shards[prefix] = writer
        places[prefix] = [(member.shard, member.offset) for member in members]
    files, images = [], []
    scores: dict[str, list[dict[str, Any]]] = {name: [] for name in _SCORES}
    for number, pic in enumerate(pictures):
        shard, offset = places["files"][number]
        files.append(
            {
                "blake2b": pic.digest,
                **{name: hashlib.new(name, pic.payload).digest() for name in ("md5", "sha1", "sha256")},
                "size": len(pic.payload),
                "media_type": f"image/{pic.kind.lower()}",
                "extension": {"JPEG": "jpg"}.get(pic.kind, pic.kind.lower()),
                "media_id": f"id{pic.seed}",
                "url": pic.url or f"https://i.imgur.com/id{pic.seed}.jpg",
                "captured_at": CAPTURED + timedelta(minutes=number),
                "warc_file": f"{archive}.warc.zst",
                "warc_offset": 1000 * number,
                "warc_length": 900,
                "shard": shards["files"].shards[shard].key,
                "shard_offset": offset,
                "video_blake2b": pic.video,
                "frame_time": None if pic.video is None else 1.5,
            }
        )
        shard, offset = places["previews"][number]
        images.append(
            {
                "blake2b": pic.digest,
                "width": pic.size[0],
                "height": pic.size[1],
                "mode": "RGB",
                "format": pic.kind,
                "frames": 1,
                "decision": pic.gate,
                "preview_shard": shards["previews"].shards[shard].key,
                "preview_offset": offset,
                "preview_size": len(pic.preview),
                "dhash": pic.seed,
            }
        )
        if pic.gate == "kept":
            for name, row in _scores(pic).items():
                scores[name].append({"blake2b": pic.digest, **row})
    _publish(store, archive, "files", files, FILES, shards["files"])
    _publish(store, archive, "images", images, IMAGES, shards["previews"])
    for name, schema in _SCORES.items():
        publish(store, archive, {name: _table(scores[name], schema)}, _MADE)


def _scores(pic: Pic) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {
        "nsfw_scores": {"probability": pic.nsfw, "decision": "shown"},
        "watermark_scores": {"probability": pic.watermark, "decision": "kept"},
        "probe_scores": {"label": "good", "probability": pic.good, "decision": "yes"},
        "categories": {"category": pic.category, "probability": 0.8, "source": "zero_shot", "decision": "named"},
    }
    if pic.percentile is not None:
        found["anomaly_scores"] = {"log_likelihood": 1.0, "percentile": pic.percentile, "decision": "kept"}
    return found


def _publish(
    store: Store, archive: str, name: str, rows: list[dict[str, Any]], schema: pa.Schema, writer: ShardWriter
) -> None:
    prefix = "files" if name == "files" else "previews"
    publish(store, archive, {name: _table(rows, schema)}, _MADE, writer.shards, prefix)


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(sorted(rows, key=lambda row: row["blake2b"]), schema)


def own(store: Store, folder: Path) -> None:
    """Say which archive owns each file, as the asset `dataset` does."""
    scratch = folder / "own"
    scratch.mkdir(parents=True, exist_ok=True)
    publish_dataset(store, folder / "mirror", scratch)


def recipe_of(**said: Any) -> Recipe:
    """Return a recipe that says this, and little else."""
    content = {"name": "small", "description": "Small.", "licence": "None.", "shard_images": 4, **said}
    return parse_recipe(yaml.safe_dump(content), "recipe.yaml")


def make(store: Store, recipe: Recipe, folder: Path, version: str | None = None, **how: Any) -> Made:
    """Make a release in a scratch folder of its own."""
    scratch = folder / f"scratch-{len(list(folder.glob('scratch-*')))}"
    scratch.mkdir(parents=True)
    return make_release(store, recipe, version, folder / "mirror", scratch, **how)


def contents(store: Store, prefix: str = "") -> dict[str, bytes]:
    """Return every object below the prefix."""
    return {stored.key: store.get_bytes(stored.key) for stored in store.list(prefix)}
