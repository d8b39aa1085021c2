"""Contact sheets of an archive's kept and dropped pictures, from what is in the store."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from imgmine.decisions import ImageDecision
from imgmine.images.contact_sheet import contact_sheet
from imgmine.store.base import Store
from imgmine_assets.shown import picture

_PICTURES = 24


def kept_sheet(store: Store, images: pa.Table) -> dg.MetadataValue:  # type: ignore[type-arg]
    """The first images by BLAKE2b, which is as good as a sample drawn at random, and the same on every run."""
    kept = images.filter(pc.equal(images["decision"], ImageDecision.KEPT.value)).slice(0, _PICTURES)
    return _sheet([(_preview(store, row), f"{row['width']}×{row['height']}") for row in kept.to_pylist()], "kept")


def dropped_sheet(store: Store, images: pa.Table) -> dg.MetadataValue:  # type: ignore[type-arg]
    """The first dropped files by BLAKE2b, each with the reason; a blank cell where nothing decodes."""
    dropped = images.filter(pc.not_equal(images["decision"], ImageDecision.KEPT.value)).slice(0, _PICTURES)
    return _sheet([(_preview(store, row), str(row["decision"])) for row in dropped.to_pylist()], "dropped")


def _preview(store: Store, row: Mapping[str, Any]) -> bytes | None:
    if row["preview_shard"] is None:
        return None
    return store.get_range(row["preview_shard"], row["preview_offset"], row["preview_size"])


def _sheet(cells: list[tuple[bytes | None, str]], what: str) -> dg.MetadataValue:  # type: ignore[type-arg]
    if not cells:
        return dg.MetadataValue.md(f"No file was {what}.")
    return picture(contact_sheet(cells), "image/jpeg", f"{what} pictures")
