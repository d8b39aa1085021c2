"""The Internet Archive, or a server that answers as it does, and the cache of what was fetched from it."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import dagster as dg

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.download import fetch_archive
from imgmine.archives.item import Item


class ArchiveOrgResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`base_url` is the server, `contact` goes into the User-Agent, `cache` is the folder of fetched WARC files."""

    base_url: str
    contact: str | None
    collection: str
    cache: str

    def client(self) -> ArchiveOrg:
        return ArchiveOrg(self.base_url, contact=self.contact)

    def item(self, archive: str) -> Item:
        """Return the item's metadata. Raises what `ArchiveOrg.item` raises."""
        return self.client().item(archive)

    def fetch(self, item: Item, progress: Callable[..., None]) -> list[Path]:
        """Bring every WARC file of the item into the cache, resumed and checked, and return their paths."""
        return fetch_archive(self.client(), item, Path(self.cache), progress)

    def items_since(self, since: tuple[datetime, str] | None) -> Iterator[tuple[str, datetime]]:
        """Yield identifier and publicdate of the collection's items after the cursor, oldest first."""
        return self.client().items_since(self.collection, since)
