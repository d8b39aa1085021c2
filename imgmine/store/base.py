"""What a store can do, whether it is a local folder or an S3 bucket.

A store maps keys (`images/<archive>.parquet`) to immutable byte strings. What the bytes mean is not known here.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imgmine.errors import ImgmineError


class StoreError(ImgmineError):
    """The store could not do what was asked of it: no access, no space, not reachable."""


class NotInStore(StoreError):
    """There is no object of this key."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"{uri} is not in the store. Materialize the asset that publishes it first.")
        self.uri = uri


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: its key, its size in bytes, and a tag that changes whenever its content does."""

    key: str
    size: int
    tag: str


def check_key(key: str) -> str:
    """Return the key, or raise `ValueError` where it would leave the store or is not in normal form."""
    parts = key.split("/")
    if not key or any(part in ("", ".", "..") for part in parts) or "\\" in key or "\0" in key:
        raise ValueError(f"not a store key: {key!r}")
    return key


class Store(ABC):
    """Objects under keys. Every put is atomic: a reader sees the former object or the new one, never a part."""

    url: str

    @abstractmethod
    def put_file(self, key: str, source: Path) -> None:
        """Publish a copy of a local file under the key."""

    @abstractmethod
    def put_bytes(self, key: str, data: bytes) -> None:
        """Publish the bytes under the key."""

    @abstractmethod
    def get_bytes(self, key: str) -> bytes:
        """Return the whole object. Raises `NotInStore`."""

    @abstractmethod
    def get_range(self, key: str, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on (fewer where the object ends earlier). Raises `NotInStore`."""

    @abstractmethod
    def local_copy(self, key: str, folder: Path) -> Path:
        """Return a local file with the object's bytes: the object itself where it is local, else a copy in `folder`.

        Raises `NotInStore`. The file must not be written to.
        """

    @abstractmethod
    def stat(self, key: str) -> StoredObject | None:
        """Return what is under the key, or None."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every object whose key starts with the prefix, in order of key."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object; nothing happens where there is none."""

    @abstractmethod
    def mirror(self, prefix: str, suffix: str, folder: Path) -> Path:
        """Return a local folder that holds `<prefix>/*<suffix>` as it is now.

        The store's own folder where it is local; else `folder/<prefix>`, brought up to date by fetching only what
        changed and removing what is gone. For readers (DuckDB) that need files.
        """

    @abstractmethod
    def check(self) -> None:
        """Raise `StoreError`, with what to do, where the store cannot be read and written."""

    def uri(self, key: str) -> str:
        """Return an address of the object for people: a path, or `s3://bucket/key`."""
        return f"{self.url}/{key}"
