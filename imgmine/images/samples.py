"""A few kept and dropped pictures of an archive, for a person to see what the gate did.

A sample depends on the rows alone: the first by BLAKE2b, which is as good as drawn by lot.
"""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from imgmine.decisions import ImageDecision
from imgmine.images.decoder_pool import DecoderPool, PictureRequest
from imgmine.store.tables import DIGEST

Sample = tuple[bytes | None, str]
"""A small picture, or None where there is none, and its caption."""

ReadMember = Callable[[str, int, int], bytes]
"""From a shard's key, an offset and a size to the bytes."""

# No smaller: what is safe to show is told from it, and of 128 pixels wrongly (by up to 0.7).
_THUMBNAIL = 256
_LARGEST_SHOWN = 32 << 20


def kept_samples(images: pa.Table, read: ReadMember, count: int = 40) -> list[Sample]:
    """Return up to `count` previews of kept pictures, each with its size in pixels as caption."""
    kept = images.filter(pc.equal(images["decision"], ImageDecision.KEPT.value)).slice(0, count)
    return [
        (
            read(row["preview_shard"], row["preview_offset"], row["preview_size"]),
            f"{row['width']} x {row['height']}",
        )
        for row in kept.to_pylist()
    ]


def captioned_samples(images: pa.Table, captions: Mapping[bytes, str], read: ReadMember) -> list[Sample]:
    """Return the previews of these pictures, by BLAKE2b, in the order of their captions."""
    chosen = images.filter(pc.is_in(images["blake2b"], pa.array(captions, DIGEST)))
    place_of = {row["blake2b"]: row for row in chosen.to_pylist()}
    return [
        (read(place["preview_shard"], place["preview_offset"], place["preview_size"]), caption)
        for digest, caption in captions.items()
        if (place := place_of.get(digest)) is not None
    ]


def dropped_samples(
    images: pa.Table, files: pa.Table, read: ReadMember, scratch: Path, *, decoders: DecoderPool, count: int = 40
) -> list[Sample]:
    """Return up to `count` dropped pictures, each reason by turns, with the reason as caption.

    The picture is a thumbnail of the original, or None where it does not decode or is very large. Originals are put
    into `scratch`, since the decoders read files. What is blocked is not among them.
    """
    unseen = pa.array([ImageDecision.KEPT, ImageDecision.BLOCKED], pa.string())
    chosen = _by_turns(images.filter(pc.invert(pc.is_in(images["decision"], unseen))), count)
    places = files.filter(pc.is_in(files["blake2b"], pa.array([row["blake2b"] for row in chosen], DIGEST)))
    place_of = {row["blake2b"]: row for row in places.to_pylist()}
    path = scratch / "dropped"
    requests: list[PictureRequest] = []
    with path.open("wb") as originals:
        for row in chosen:
            place = place_of[row["blake2b"]]
            small = place["size"] <= _LARGEST_SHOWN
            payload = read(place["shard"], place["shard_offset"], place["size"]) if small else b""
            requests.append(PictureRequest(path, originals.tell(), len(payload)))
            originals.write(payload)
    thumbnails = list(decoders.thumbnails(requests, _THUMBNAIL))
    path.unlink()
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
            return f"size {row['width']} x {row['height']}"
        case decision:
            return str(decision)
