"""Taking images out of a release that exists: the shards that hold them are packed again without them.

A release never changes otherwise. What is to be taken out is the log of take-downs' business.
"""

import hashlib
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.dataset.releases.card import corrected_card
from imgmine.dataset.releases.exports import pictures_of
from imgmine.dataset.releases.gathering import GatheredShard, Picture
from imgmine.dataset.releases.packing import SAMPLES_FILE, pack
from imgmine.dataset.releases.recipe import Layout
from imgmine.dataset.releases.release import (
    CARD,
    Release,
    ReleaseShard,
    StoredFile,
    folder_of,
    release_json,
    release_key,
)
from imgmine.store.base import Store
from imgmine.store.publish import put_shard


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A shard as it was and as it is; None where no image is left in it. `taken` are the digests that are out."""

    before: ReleaseShard
    after: ReleaseShard | None
    taken: tuple[str, ...]


def shards_with(store: Store, release: Release, blocked: Collection[bytes], scratch: Path) -> dict[int, set[str]]:
    """Return the numbers of the shards that hold one of the files, or a still of one, and which (hexadecimal)."""
    names = {digest.hex() for digest in blocked}
    found: dict[int, set[str]] = {}
    for shard in release.shards:
        path = store.local_copy(shard.files[SAMPLES_FILE].key, scratch / "copies")
        table = pq.read_table(path, columns=["blake2b", "still_of"])
        held = {
            blake2b
            for blake2b, still_of in zip(*(column.to_pylist() for column in table.columns), strict=True)
            if blake2b in names or still_of in names
        }
        if held:
            found[shard.number] = held
        shutil.rmtree(scratch / "copies", ignore_errors=True)
    return found


def take_out(
    store: Store, release: Release, blocked: Collection[bytes], scratch: Path
) -> tuple[Release, list[Rewritten]]:
    """Put the release's affected shards again without these files, its card, then `release.json`; former shards go.

    Killed at any point, it can be run again: until `release.json` is put, the release is as it was. Returns the release
    as it is now, and what was rewritten.
    """
    now, rewritten = put_without(store, release, blocked, scratch)
    if rewritten:
        store.put_bytes(release_key(release.version), release_json(now))
    remove_unnamed(store, now)
    return now, rewritten


def put_without(
    store: Store, release: Release, blocked: Collection[bytes], scratch: Path
) -> tuple[Release, list[Rewritten]]:
    """Put the release's affected shards again without these files, and its card, beside what is there.

    The shards are as they would be had the images never been in them. Returns the release that names the new ones, of
    which `release.json` says nothing yet, and what was rewritten.
    """
    affected = shards_with(store, release, blocked, scratch)
    rewritten: list[Rewritten] = []
    for shard in release.shards:
        if shard.number in affected:
            taken = affected[shard.number]
            after = _without(store, release, shard, taken, scratch)
            rewritten.append(Rewritten(shard, after, tuple(sorted(taken))))
    changes = {change.before.number: change.after for change in rewritten}
    shards = [changes.get(shard.number, shard) for shard in release.shards]
    now = replace(
        release,
        shards=tuple(shard for shard in shards if shard is not None),
        images=sum(shard.images for shard in shards if shard is not None),
        taken_out=release.taken_out + sum(len(change.taken) for change in rewritten),
    )
    return _with_corrected_card(store, now) if rewritten else now, rewritten


def _with_corrected_card(store: Store, release: Release) -> Release:
    key = release.documents[CARD].key
    data = corrected_card(store.get_bytes(key).decode(), release).encode()
    store.put_bytes(key, data)
    document = StoredFile(key, len(data), hashlib.sha256(data).hexdigest())
    return replace(release, documents={**release.documents, CARD: document})


def remove_unnamed(store: Store, release: Release) -> None:
    """Remove what is in the release's folder and the release does not name: notes, and what a killed run has left."""
    named = {release_key(release.version), *(file.key for file in release.documents.values())}
    named |= {file.key for shard in release.shards for file in shard.files.values()}
    for stored in list(store.list(f"{folder_of(release.version)}/")):
        if stored.key not in named:
            store.delete(stored.key)


def _without(
    store: Store, release: Release, shard: ReleaseShard, taken: Collection[str], scratch: Path
) -> ReleaseShard | None:
    """Put the shard's files again without these images, under their own names, and return it."""
    folder = scratch / "rewritten"
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Mapping[str, object]] = []
    gathered = GatheredShard(folder / f"{shard.number}.pictures", shard.images)
    with gathered:
        for row, name, data in pictures_of(store, shard, scratch / "copies"):
            if row["blake2b"] not in taken:
                gathered.put(len(rows), Picture(data, row["width"], row["height"]))
                rows.append({**row, "extension": name.rpartition(".")[2]})
        if not rows:
            return None
        layouts = [layout for layout in Layout if layout in shard.files]
        packed = pack(shard.number, pa.Table.from_pylist(rows), gathered, layouts, folder_of(release.version), folder)
    for file in packed.values():
        put_shard(store, file.file)
        file.file.path.unlink()
    files = {name: StoredFile(file.file.key, file.file.size, file.sha256) for name, file in packed.items()}
    return ReleaseShard(shard.number, len(rows), files)
