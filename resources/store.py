"""The store of tables, shards and previews: a local folder, or S3."""

from pathlib import Path

import dagster as dg

from imgmine.store.base import Store
from imgmine.store.opening import open_store
from imgmine.store.shards import SHARD_BYTES


class StoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`url` is a folder or `s3://bucket/prefix`; `scratch` is the folder where stages keep their drafts.

    Originals go into shards of at most `shard_bytes`.
    """

    url: str
    s3_endpoint: str | None
    scratch: str
    shard_bytes: int = SHARD_BYTES

    def open(self) -> Store:
        """Return the store. Credentials are the usual `AWS_*` of the environment."""
        return open_store(self.url, self.s3_endpoint)

    @property
    def scratch_root(self) -> Path:
        """Where stages keep their drafts."""
        return Path(self.scratch)
