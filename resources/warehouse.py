"""The warehouse: the one DuckDB file over all published tables, always written as a private copy and then published."""

from collections.abc import Collection
from pathlib import Path

import dagster as dg

from imgmine.archives.item import Item
from imgmine.dataset.known_files import KnownFiles, known_before
from imgmine.dataset.publishing import DatasetSummary, publish_dataset
from imgmine.dataset.takedown.listings import hidden_in
from imgmine.dataset.takedown_log import read_log
from imgmine.dataset.warehouse import build_warehouse, checkout_warehouse, hide_blocked, place_views, publish_warehouse
from imgmine.store.base import Store


class WarehouseResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`mirror` is the folder where tables of a store that is not local are kept, since DuckDB reads files."""

    mirror: str

    def own(self, store: Store, scratch: Path, known: Collection[str]) -> DatasetSummary:
        """Publish which archive owns each file. `known` are all archives, mined or not."""
        return publish_dataset(store, Path(self.mirror), scratch, known=known)

    def known_before(self, store: Store, item: Item) -> KnownFiles:
        """Return the files of the archives that come before this one."""
        return known_before(store, Path(self.mirror), item)

    def build(self, store: Store, scratch: Path) -> Path:
        """Return a warehouse in `scratch` over what is published now."""
        return build_warehouse(store, Path(self.mirror), scratch)

    def checkout(self, store: Store, scratch: Path) -> Path:
        """Return a private copy of the published warehouse, whose views are over the store as it lies now."""
        path = checkout_warehouse(store, scratch)
        place_views(store, self.mirror_folder, path)
        return path

    def publish(self, store: Store, path: Path) -> None:
        """Publish a private copy in place of the former warehouse."""
        publish_warehouse(store, path)
        if hidden_in(path) != read_log(store).blocked:  # something was taken down since it was built
            hide_blocked(store, self.mirror_folder, path.parent)

    @property
    def mirror_folder(self) -> Path:
        """Where the tables of a store that is not local are kept."""
        return Path(self.mirror)
