"""Which store an address means: the one place that knows both kinds.

Where the address comes from is in `imgmine.settings`.
"""

from pathlib import Path

from imgmine.settings import Settings
from imgmine.store.base import Store
from imgmine.store.local import LocalStore


def open_store(url: str, s3_endpoint: str | None = None) -> Store:
    """Return the store at a folder or at `s3://bucket/prefix`; nothing is asked of it yet (see `Store.check`).

    `s3_endpoint` is None for AWS; credentials are the usual `AWS_*` of the environment.
    """
    if not url.startswith("s3://"):
        return LocalStore(Path(url))
    from imgmine.store.s3 import S3Store  # boto3 takes a while to load, and a local store needs none of it

    bucket, _, prefix = url.removeprefix("s3://").strip("/").partition("/")
    return S3Store(bucket, prefix, s3_endpoint)


def store_of(settings: Settings) -> Store:
    """Return the store that the settings name."""
    return open_store(settings.store, settings.s3_endpoint)
