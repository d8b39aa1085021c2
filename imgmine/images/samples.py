"""A few kept and dropped pictures of an archive, for a person to see what the gate did.

A sample depends on the rows alone: the first by BLAKE2b, which is as good as drawn by lot.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from imgmine.decisions import ImageDecision
from imgmine.images.archive import GatedArchive, requests_for
from imgmine.images.decoder_pool import DecoderPool
from imgmine.store.tables import DIGEST

_THUMBNAIL = 128


def kept_samples(gated: GatedArchive, count: int = 40) -> list[tuple[bytes | None, str]]:
    """Return up to `count` previews of kept pictures, each with its size in pixels as caption."""
    paths = {shard.key: shard.path for shard in gated.shards}
    kept = gated.images.filter(pc.equal(gated.images["decision"], ImageDecision.KEPT.value)).slice(0, count)
    samples: list[tuple[bytes | None, str]] = []
    for row in kept.to_pylist():
        with paths[row["preview_shard"]].open("rb") as shard:
            shard.seek(row["preview_offset"])
            samples.append((shard.read(row["preview_size"]), f"{row['width']} × {row['height']}"))
    return samples


def dropped_samples(
    gated: GatedArchive,
    files: pa.Table,
    shard_paths: Mapping[str, Path],
    *,
    decoders: DecoderPool,
    count: int = 40,
) -> list[tuple[bytes | None, str]]:
    """Return up to `count` dropped pictures, each reason by turns, with the reason as caption.

    The picture is a thumbnail of the original, or None where it does not decode.
    """
    chosen = _by_turns(gated.images.filter(pc.not_equal(gated.images["decision"], ImageDecision.KEPT.value)), count)
    places = files.filter(pc.is_in(files["blake2b"], pa.array([row["blake2b"] for row in chosen], DIGEST)))
    requests = dict(zip(places["blake2b"].to_pylist(), requests_for(places, shard_paths), strict=True))
    thumbnails = decoders.thumbnails((requests[row["blake2b"]] for row in chosen), _THUMBNAIL)
    return [(thumbnail, _reason(row)) for thumbnail, row in zip(thumbnails, chosen, strict=True)]


def _by_turns(dropped: pa.Table, count: int) -> list[dict[str, Any]]:
    reasons: dict[str, list[dict[str, Any]]] = {}
    for row in dropped.to_pylist():
        reasons.setdefault(row["decision"], []).append(row)
    turns = itertools.zip_longest(*(reasons[decision] for decision in sorted(reasons)))
    return [row for turn in turns for row in turn if row is not None][:count]


def _reason(row: dict[str, Any]) -> str:
    match row["decision"]:
        case ImageDecision.MODE:
            return f"mode {row['mode']}"
        case ImageDecision.SIZE:
            return f"size {row['width']} × {row['height']}"
        case decision:
            return str(decision)
