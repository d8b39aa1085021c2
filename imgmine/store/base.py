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


class StoreRefused(StoreError):
    """What asking again cannot help: wrong credentials, no permission, no such bucket, a name that is taken."""


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


PENDING = ".pending-"
"""How the names of drafts begin, wherever a store keeps some: no part of a key begins so."""


def check_key(key: str) -> str:
    """Return the key, or raise `ValueError` where it would leave the store or is not in normal form."""
    if not all(_is_name(part) for part in key.split("/")):
        raise ValueError(f"not a store key: {key!r}")
    return key


def check_prefix(prefix: str) -> str:
    """Return the prefix, or raise `ValueError` where no key can begin with it."""
    *folders, beginning = prefix.split("/")
    if not all(_is_name(part) for part in folders) or (beginning not in ("", ".", "..") and not _is_name(beginning)):
        raise ValueError(f"no store key begins so: {prefix!r}")
    return prefix


def check_range(offset: int, size: int) -> None:
    """Raise `ValueError` where this is no range of bytes."""
    if offset < 0 or size < 0:
        raise ValueError(f"not a range of bytes: {size} from {offset}")


def _is_name(part: str) -> bool:
    plain = part.isprintable() and "\\" not in part
    return plain and part not in ("", ".", "..") and not part.startswith(PENDING)


class Store(ABC):
    """Objects under keys. Every put is atomic: a reader sees the former object or the new one, never a part.

    No key may be a folder of another (`a` and `a/b`): a local folder cannot hold both. A store may be used by any
    number of threads and processes at once; of two puts under one key, one wins whole. Methods raise `StoreError`
    where the store fails them, and `ValueError` where a key is none.
    """

    url: str

    @abstractmethod
    def put_file(self, key: str, source: Path) -> None:
        """Publish a copy of a local file under the key."""

    @abstractmethod
    def put_bytes(self, key: str, data: bytes) -> None:
        """Publish the bytes under the key."""

    @abstractmethod
    def put_new(self, key: str, data: bytes) -> bool:
        """Publish the bytes under the key unless something is there; return whether it was done.

        Of several who do so at once, one is told True. Where an answer of a server was lost, it may be told to none:
        read what is there, if it must be known whose it is.
        """

    @abstractmethod
    def get_bytes(self, key: str) -> bytes:
        """Return the whole object. Raises `NotInStore`."""

    @abstractmethod
    def get_range(self, key: str, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on (fewer where the object ends earlier).

        Raises `NotInStore`, and `ValueError` where the offset or the size is negative.
        """

    @abstractmethod
    def local_copy(self, key: str, folder: Path) -> Path:
        """Return a local file with the object's bytes: the object itself where it is local, else a copy in `folder`.

        A copy is fetched anew each time and appears whole; its folder is the caller's to clear. The file must not be
        written to. Raises `NotInStore`.
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
    def mirror_path(self, prefix: str, folder: Path) -> Path:
        """Return the folder that `mirror` would return, as it is now, be it there or not."""

    @abstractmethod
    def mirror(self, prefix: str, suffix: str, folder: Path) -> Path:
        """Return a local folder that holds `<prefix>/*<suffix>` as it is now.

        The store's own folder where it is local; else `folder/<prefix>`, brought up to date by fetching only what
        changed and removing what is gone. The folder is there even where nothing is in it. For readers (DuckDB) that
        need files.
        """

    @abstractmethod
    def check(self) -> None:
        """Raise `StoreError`, with what to do, where the store cannot be read and written."""

    def abandoned(self, *, remove: bool = False) -> Iterator[str]:
        """Yield the addresses of drafts that killed processes left, which are no objects; with `remove`, they go.

        None where the store itself clears them away: of uploads in parts to S3, a bucket's lifecycle rule does.
        """
        yield from ()

    def uri(self, key: str) -> str:
        """Return an address of the object for people: a path, or `s3://bucket/key`."""
        return f"{self.url}/{key}"
