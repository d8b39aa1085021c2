"""The store of tables, shards and previews: a local folder, or S3."""

from pathlib import Path

import dagster as dg

from imgmine.store.base import Store
from imgmine.store.opening import open_store


class StoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`url` is a folder or `s3://bucket/prefix`; `scratch` is where stages keep their drafts.

    `mirror` is where tables of a store that is not local are kept for readers that need files.
    """

    url: str
    s3_endpoint: str | None
    scratch: str
    mirror: str

    def open(self) -> Store:
        return open_store(self.url, self.s3_endpoint)

    @property
    def scratch_root(self) -> Path:
        return Path(self.scratch)

    @property
    def mirror_folder(self) -> Path:
        return Path(self.mirror)
