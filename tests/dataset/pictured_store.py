"""A store with archives of real pictures: `images`, previews and `embeddings`, for what compares pictures."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import numpy as np
import pyarrow as pa
from PIL import Image

from imgmine.decisions import ImageDecision
from imgmine.images.hashes import pdq
from imgmine.images.previews import preview_jpeg, reduced
from imgmine.models.embedder import Embedder, load_embedder
from imgmine.models.vectors import embeddings_table
from imgmine.store.base import Store
from imgmine.store.publish import publish
from imgmine.store.tables import IMAGES, Provenance
from tests.dataset.small_store import put_manifest


@dataclass(frozen=True, repr=False)
class Pictured:
    """A picture and all that is known of it before archives are compared."""

    blake2b: bytes
    size: tuple[int, int]
    preview: bytes
    pdq: bytes
    quality: int
    vector: np.ndarray


@lru_cache(maxsize=1)
def embedder() -> Embedder:
    return load_embedder("efficientnet-lite0", threads=1)


def pictured(picture: Image.Image) -> Pictured:
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1)
    small = reduced(picture)
    preview = preview_jpeg(small)
    hashed = pdq(small, picture.size)
    return Pictured(
        hashlib.blake2b(out.getvalue(), digest_size=32).digest(),
        picture.size,
        preview,
        hashed.hash,
        hashed.quality,
        embedder().embed_batch([preview])[0],
    )


def put_pictures(
    store: Store,
    archive: str,
    pictures: Mapping[str, Pictured],
    publicdate: datetime | None,
    decisions: Mapping[str, ImageDecision] | None = None,
) -> None:
    """Publish the manifest, the previews and both tables of an archive with these pictures."""
    put_manifest(store, archive, publicdate)
    shard = f"previews/{archive}/00000-abc.tar"
    rows, offset = [], 0
    for name, one in pictures.items():
        decision = (decisions or {}).get(name, ImageDecision.KEPT)
        rows.append(
            {
                "blake2b": one.blake2b,
                "width": one.size[0],
                "height": one.size[1],
                "mode": "RGB",
                "format": "PNG",
                "decision": decision.value,
                "preview_shard": shard,
                "preview_offset": offset,
                "preview_size": len(one.preview),
                "pdq": one.pdq,
                "pdq_quality": one.quality,
            }
        )
        offset += len(one.preview)
    store.put_bytes(shard, b"".join(one.preview for one in pictures.values()))
    inputs = hashlib.blake2b(repr((archive, sorted(pictures), decisions)).encode(), digest_size=16).hexdigest()
    images = pa.Table.from_pylist(sorted(rows, key=lambda row: row["blake2b"]), IMAGES)
    publish(store, archive, {"images": images}, Provenance("images", "test", inputs))
    kept = [one for name, one in pictures.items() if (decisions or {}).get(name) in (None, ImageDecision.KEPT)]
    vectors = embeddings_table([one.blake2b for one in kept], np.array([one.vector for one in kept]))
    provenance = Provenance("embeddings", "test", inputs)
    publish(store, archive, {"embeddings": vectors}, provenance, extra={"model": embedder().version})
