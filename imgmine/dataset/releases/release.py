"""What a release consists of, as `releases/<version>/release.json` says: that file makes it exist, and is put last.

How one is made is `making`'s.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imgmine.errors import PersonNeeded
from imgmine.store.base import NotInStore, Store

RELEASES = "releases"
CARD = "README.md"
FORMAT = 1

_VERSION = re.compile(r"v([1-9]\d{0,8})")


class NoSuchRelease(PersonNeeded):
    """There is no release of this version, or none at all."""


class ReleaseRefused(PersonNeeded):
    """A version is there already and was made from something else, or its name is none."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a release: its key in the store, its size in bytes, and its SHA-256 in hexadecimal."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ReleaseShard:
    """A shard: its number, its images, and its files by layout (`webdataset`, `parquet`), `samples` among them."""

    number: int
    images: int
    files: Mapping[str, StoredFile]


@dataclass(frozen=True, slots=True)
class Release:
    """A release as `release.json` says.

    `inputs` has the digest of everything that it was made from, `fingerprint` all of that in one; `dropped` counts, by
    rule, the images that passed the gate and are not in. `documents` are the other files by name. `statistics` are
    told in the card, as it was made; `taken_out` counts images that were taken down since.
    """

    version: str
    name: str
    images: int
    fingerprint: str
    inputs: Mapping[str, Any]
    recipe: str
    former: str | None
    dropped: Mapping[str, int]
    statistics: Mapping[str, Any]
    shards: tuple[ReleaseShard, ...]
    documents: Mapping[str, StoredFile]
    taken_out: int = 0

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(file.size for shard in self.shards for file in shard.files.values())

    def files(self, layout: str) -> list[StoredFile]:
        """Return the shards' files of one layout, in order; none where the release does not have it."""
        return [shard.files[layout] for shard in self.shards if layout in shard.files]


def folder_of(version: str) -> str:
    """Return the prefix of a version's keys. Raises `ReleaseRefused` where the name is none."""
    number_of(version)
    return f"{RELEASES}/{version}"


def release_key(version: str) -> str:
    """Return the key of the file that makes a version exist."""
    return f"{folder_of(version)}/release.json"


def number_of(version: str) -> int:
    """Return the number of a version. Raises `ReleaseRefused`."""
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ReleaseRefused(f"{version!r} is no version: v1, v2 and so on are.")
    return int(found[1])


def list_versions(store: Store) -> list[str]:
    """Return the versions that exist, the first one first."""
    found = [
        key.split("/")[1]
        for key in (stored.key for stored in store.list(f"{RELEASES}/"))
        if key.count("/") == 2 and key.endswith("/release.json")
    ]
    return sorted((version for version in found if _VERSION.fullmatch(version)), key=number_of)


def former_version(store: Store, version: str) -> str | None:
    """Return the version before this one, or None."""
    before = [other for other in list_versions(store) if number_of(other) < number_of(version)]
    return before[-1] if before else None


def next_version(store: Store) -> str:
    """Return the version after all that exist."""
    versions = list_versions(store)
    return f"v{number_of(versions[-1]) + 1 if versions else 1}"


def read_release(store: Store, version: str) -> Release:
    """Read a release. Raises `NoSuchRelease`."""
    try:
        said = json.loads(store.get_bytes(release_key(version)))
    except NotInStore as error:
        there = ", ".join(list_versions(store)) or "none"
        raise NoSuchRelease(f"There is no release {version} in {store.url}; there: {there}.") from error
    return Release(
        version=said["version"],
        name=said["name"],
        images=said["images"],
        fingerprint=said["fingerprint"],
        inputs=said["inputs"],
        recipe=said["recipe"],
        former=said["former"],
        dropped=said["dropped"],
        statistics=said["statistics"],
        shards=tuple(
            ReleaseShard(shard["number"], shard["images"], _files(shard["files"])) for shard in said["shards"]
        ),
        documents=_files(said["documents"]),
        taken_out=said["taken_out"],
    )


def release_json(release: Release) -> bytes:
    """Return the release as the bytes of `release.json`."""
    said = {
        "format": FORMAT,
        "version": release.version,
        "name": release.name,
        "images": release.images,
        "size": release.size,
        "fingerprint": release.fingerprint,
        "former": release.former,
        "taken_out": release.taken_out,
        "dropped": dict(release.dropped),
        "statistics": release.statistics,
        "recipe": release.recipe,
        "inputs": release.inputs,
        "documents": _said(release.documents),
        "shards": [
            {"number": shard.number, "images": shard.images, "files": _said(shard.files)} for shard in release.shards
        ],
    }
    return json.dumps(said, indent=1, ensure_ascii=False).encode() + b"\n"


def _files(said: Mapping[str, Mapping[str, Any]]) -> dict[str, StoredFile]:
    return {name: StoredFile(file["key"], file["size"], file["sha256"]) for name, file in said.items()}


def _said(files: Mapping[str, StoredFile]) -> dict[str, dict[str, Any]]:
    return {name: {"key": file.key, "size": file.size, "sha256": file.sha256} for name, file in sorted(files.items())}
