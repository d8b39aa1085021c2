"""Which archives there are, how much of each was mined, and which comes first.

The order of archives is decided here and nowhere else; what follows from it (who owns a file) is `ownership`'s.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from imgmine.archives.item import Item, read_manifest
from imgmine.store.base import Store
from imgmine.store.tables import TIME

MANIFESTS = "manifests"

ARCHIVES = pa.schema(
    [
        pa.field("archive", pa.string(), nullable=False),
        pa.field("publicdate", TIME),
        pa.field("item_size", pa.int64()),
        pa.field("warc_files", pa.int32()),
        pa.field("warc_bytes", pa.int64()),
        pa.field("files", pa.int64()),
        pa.field("owned", pa.int64()),
        pa.field("files_digest", pa.string()),
    ]
)

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive as its manifest describes it; sizes are in bytes. None is what the manifest, if any, does not say."""

    identifier: str
    publicdate: datetime | None = None
    item_size: int | None = None
    warc_files: int | None = None
    warc_bytes: int | None = None

    @property
    def precedence(self) -> tuple[datetime, str]:
        """What archives are ordered by: the earlier publicdate, then the identifier; without a date comes last."""
        return (self.publicdate or _NEVER, self.identifier)


def described_by(item: Item) -> Archive:
    """Return the archive that a manifest describes."""
    sizes = [file.size for file in item.warcs]
    return Archive(
        identifier=item.identifier,
        publicdate=item.publicdate,
        item_size=item.item_size,
        warc_files=len(sizes),
        warc_bytes=None if None in sizes else sum(size for size in sizes if size is not None),
    )


def read_archives(store: Store, mirror_folder: Path, others: Collection[str] = ()) -> list[Archive]:
    """Return every archive with a manifest, and `others` that have none, the first in precedence first."""
    folder = store.mirror(MANIFESTS, ".json", mirror_folder)
    found = [described_by(read_manifest(path.read_bytes())) for path in sorted(folder.glob("*.json"))]
    named = {archive.identifier for archive in found}
    found += [Archive(identifier) for identifier in set(others) - named]
    return sorted(found, key=lambda archive: archive.precedence)


def named_ownership(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files, beside the published table of archives, that say who owns what: a whole table, and changes.

    `metadata` is the archives table's. A row of the changes is true instead of the whole's. Empty where there is none.
    """
    return tuple(filter(None, metadata.get("ownership", "").split("\n")))
