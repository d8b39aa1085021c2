"""The Internet Archive, or a server that answers as it does, and the cache of what was fetched from it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Unpack

import dagster as dg

from imgmine.archives.archive_org import ArchiveOrg, FoundItem
from imgmine.archives.cache import in_use, make_room
from imgmine.archives.download import CONNECTIONS, ProgressCallback, fetch_archive
from imgmine.archives.extract import Extraction, PassOptions
from imgmine.archives.item import Item
from imgmine.archives.retry import RetryPolicy
from imgmine.archives.selection import Selected, extract_selected
from imgmine.archives.selection_plan import FindKnown
from imgmine.archives.streaming import extract_streamed
from imgmine.settings import FetchMode

# A sensor's tick is ended after 60 s, and a person waits for a command: both give up early.
_IMPATIENT = RetryPolicy(attempts=3, longest_wait=5.0, longest_retry_after=10.0)


class ArchiveOrgResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`base_url` is the server, `contact` goes into the User-Agent, `cache` is the folder of fetched WARC files.

    Beyond `cache_bytes`, where that is given, those of archives that were read are removed when others are fetched.

    `mode` says how archives come to be read; with `select_known` the selective one leaves out what earlier archives
    have. A download opens at most `connections` to the server.
    """

    base_url: str
    contact: str | None
    collection: str
    cache: str
    cache_bytes: int | None = None
    mode: FetchMode = FetchMode.CACHE
    select_known: bool = False
    connections: int = CONNECTIONS

    def item(self, archive: str) -> Item:
        """Return the item's metadata, of an item that can be mined. Raises what says why it cannot."""
        item = self._client().item(archive)
        item.require_available()
        return item

    def look_up(self, archive: str) -> Item:
        """Return the item's metadata, whether it can be mined or not. Gives up early where IA does not answer."""
        return self._impatient_client().item(archive)

    def fetch(self, item: Item, progress: ProgressCallback) -> list[Path]:
        """Bring every WARC file of the item into the cache, resumed and checked, and return their paths."""
        with self.in_use(item.identifier):
            return fetch_archive(self._client(), item, Path(self.cache), progress, connections=self.connections)

    def make_room(self, item: Item, may_go: Callable[[str], bool]) -> list[str]:
        """Remove archives that `may_go` allows, as far as the cache's limit asks for it before this one is fetched."""
        if self.cache_bytes is None:
            return []
        folder = self.archive_folder(item.identifier)
        present = sum((folder / file.name).stat().st_size for file in item.warcs if (folder / file.name).is_file())
        with self.in_use(item.identifier):
            return make_room(Path(self.cache), self.cache_bytes, item.warc_bytes - present, may_go)

    def in_use(self, archive: str) -> AbstractContextManager[None]:
        """Keep the archive in the cache meanwhile."""
        return in_use(Path(self.cache), archive)

    def extract_streamed(
        self, item: Item, scratch: Path, on_wrong: Callable[[str], None], **how: Unpack[PassOptions]
    ) -> Extraction:
        """Make the pass over the item's WARC files as they arrive."""
        return extract_streamed(self._client(), item, scratch, on_wrong=on_wrong, **how)

    def extract_selected(
        self,
        item: Item,
        scratch: Path,
        on_wrong: Callable[[str], None],
        find_known: FindKnown | None,
        **how: Unpack[PassOptions],
    ) -> Selected:
        """Make the pass over those records of the item that can be originals, by its CDX, and are not known."""
        return extract_selected(self._client(), item, scratch, on_wrong=on_wrong, find_known=find_known, **how)

    def archive_folder(self, archive: str) -> Path:
        """Return the folder of one archive in the cache."""
        return Path(self.cache) / archive

    def items_since(self, after: FoundItem | None) -> list[FoundItem]:
        """Return the collection's items after this one, by publicdate and identifier."""
        return self._impatient_client().items_since(self.collection, after)

    def item_page(self, archive: str) -> str:
        """Return the address of the item's page, for people."""
        return f"{self.base_url}/details/{archive}"

    def _impatient_client(self) -> ArchiveOrg:
        return ArchiveOrg(self.base_url, self.contact, retry=_IMPATIENT, timeout=10.0)

    def _client(self) -> ArchiveOrg:
        return ArchiveOrg(self.base_url, self.contact)
