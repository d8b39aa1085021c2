"""Making a release: from a recipe and what is published to `releases/<version>/` in the store.

Every shard that is in the store is noted in `unfinished/`, so that a run that was killed goes on where it stopped;
`release.json` goes last and makes the release exist; what it does not name is removed after that.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.dataset.releases.card import card
from imgmine.dataset.releases.croissant import croissant
from imgmine.dataset.releases.diff import GONE, Diff, find_diff
from imgmine.dataset.releases.gathering import gather
from imgmine.dataset.releases.inputs import Inputs, read_inputs
from imgmine.dataset.releases.packing import PackedFile, pack, sha256_of
from imgmine.dataset.releases.recipe import Recipe
from imgmine.dataset.releases.release import (
    CARD,
    Release,
    ReleaseRefused,
    ReleaseShard,
    StoredFile,
    folder_of,
    former_version,
    list_versions,
    next_version,
    number_of,
    read_release,
    release_json,
    release_key,
)
from imgmine.dataset.releases.rewriting import put_without, remove_unnamed, take_out
from imgmine.dataset.releases.selection import Chosen, choose
from imgmine.dataset.releases.statistics import count_statistics
from imgmine.dataset.takedown_log import read_log
from imgmine.store.base import Store
from imgmine.store.outbox import Outbox
from imgmine.store.publish import content_digest
from imgmine.store.shards import Shard

_UNFINISHED = "unfinished"
_MOST_SHARDS_A_GROUP = 200
_MOST_ROWS_A_GROUP = 500_000
_MOST_GROUP_BYTES = 256 << 30


@dataclass(frozen=True, slots=True)
class Made:
    """A release, and whether it had to be made; `uncovered` are archives that the dataset does not know yet.

    `mixed` says which tables that the recipe goes by are of several models.
    """

    release: Release
    changed: bool
    uncovered: tuple[str, ...]
    mixed: tuple[str, ...]
    resumed_shards: int
    diff: Diff | None


def version_to_make(store: Store, inputs: Inputs, wanted: str | None = None) -> tuple[str, bool]:
    """Return the version to make of these inputs, and whether it is there already, made from the same.

    It is the one that is wanted; else the last one, where it was made from them; else the next one. Raises
    `ReleaseRefused` where the wanted one was made from other inputs.
    """
    versions = list_versions(store)
    if wanted is not None:
        number_of(wanted)
        if wanted in versions:
            _refuse_other(store, read_release(store, wanted), inputs)
        return wanted, wanted in versions
    if versions and read_release(store, versions[-1]).fingerprint == inputs.fingerprint:
        return versions[-1], True
    return next_version(store), False


def _refuse_other(store: Store, release: Release, inputs: Inputs) -> None:
    """Raise `ReleaseRefused` where the release was made from other inputs."""
    if release.fingerprint != inputs.fingerprint:
        raise ReleaseRefused(
            f"{release.version} is there, and was made from {_other(release, inputs)}. A release never changes: make "
            f"{next_version(store)}."
        )


def make_release(
    store: Store,
    recipe: Recipe,
    version: str | None,
    mirror_folder: Path,
    scratch: Path,
    *,
    memory: str = "1GB",
    group_bytes: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Made:
    """Make a version of the recipe, or see that it is there; without a version, the next one.

    `scratch` is emptied by the caller; pictures of `group_bytes` are gathered there at a time (by default a third of
    what the disk has free): the more, the fewer ranges the mined shards are read in. Neither it nor `memory`, which
    bounds DuckDB, changes any byte. `on_progress(done, total)` counts shards. Raises `ReleaseRefused` where the version
    was made from other inputs, and `InputMissing`, `InputsChanged`, `NothingChosen`, `SourceChanged`.
    """
    inputs = read_inputs(store, mirror_folder, recipe)
    version, is_there = version_to_make(store, inputs, version)
    folder = folder_of(version)
    if is_there:
        release = read_release(store, version)
        remove_unnamed(store, release)
        return Made(release, changed=False, uncovered=inputs.uncovered, mixed=inputs.mixed, resumed_shards=0, diff=None)
    with choose(recipe, inputs, scratch, memory=memory) as chosen:
        inputs.require_unchanged()
        shards, resumed = _make_shards(store, recipe, inputs, chosen, folder, scratch, group_bytes, on_progress)
        statistics = count_statistics(chosen)
        former = former_version(store, version)
        diff = None
        if former is not None:
            diff = find_diff(store, chosen, inputs, recipe, former, version, mirror_folder, scratch)
    release = Release(
        version=version,
        name=recipe.name,
        images=chosen.images,
        fingerprint=inputs.fingerprint,
        inputs=_named_inputs(inputs),
        recipe=recipe.canonical(),
        former=former,
        dropped=chosen.dropped,
        statistics=statistics,
        shards=tuple(shards),
        documents={},
    )
    release = _publish(store, _put_documents(store, release, recipe, diff), scratch)
    return Made(
        release, changed=True, uncovered=inputs.uncovered, mixed=inputs.mixed, resumed_shards=resumed, diff=diff
    )


def _publish(store: Store, release: Release, scratch: Path) -> Release:
    """Put `release.json`, and return the release without what was taken down since its images were chosen.

    The log is read again before that and after it: who adds to it later finds the release, and takes out of that.
    """
    head = release.inputs["takedown_head"]
    log = read_log(store)
    if log.head != head:
        release, _ = put_without(store, release, log.blocked, scratch)
    store.put_bytes(release_key(release.version), release_json(release))
    head, log = log.head, read_log(store)
    if log.head != head:
        release, _ = take_out(store, release, log.blocked, scratch)
    remove_unnamed(store, release)
    return release


def shard_bounds(images: int, shard_images: int) -> list[tuple[int, int]]:
    """Return the first row and the row after the last of each shard: as few as hold `shard_images`, their sizes even.

    They differ by one image at most.
    """
    shards = -(-images // shard_images)
    return [(number * images // shards, (number + 1) * images // shards) for number in range(shards)]


def _other(release: Release, inputs: Inputs) -> str:
    if release.inputs["recipe"] != inputs.recipe_digest:
        return "another recipe"
    if release.inputs["takedown"] != inputs.takedown_digest:
        return "what was there before a take-down, or the undoing of one"
    changed = [
        name
        for name, parts in {**inputs.tables, "dataset": inputs.dataset}.items()
        if release.inputs["tables"].get(name) != dict(parts)
    ]
    return f"other tables ({', '.join(changed)})" if changed else "other versions of the code"


def _named_inputs(inputs: Inputs) -> dict[str, object]:
    return {
        "recipe": inputs.recipe_digest,
        "takedown": inputs.takedown_digest,
        "takedown_head": inputs.takedown.head,
        "code": dict(inputs.code),
        "tables": {**{name: dict(parts) for name, parts in inputs.tables.items()}, "dataset": dict(inputs.dataset)},
    }


def _make_shards(
    store: Store,
    recipe: Recipe,
    inputs: Inputs,
    chosen: Chosen,
    folder: str,
    scratch: Path,
    group_bytes: int | None,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[list[ReleaseShard], int]:
    """Put the shards that are not in the store, and return all, and how many were there."""
    plan = _Plan(chosen.plan)
    bounds = shard_bounds(chosen.images, recipe.shard_images)
    notes = {stored.key for stored in store.list(f"{folder}/{_UNFINISHED}/")}
    done: dict[int, ReleaseShard] = {}
    if group_bytes is None:
        group_bytes = min(shutil.disk_usage(scratch).free // 3, _MOST_GROUP_BYTES)
    resumed = 0
    with Outbox(store) as outbox:
        group: list[_Shard] = []
        for number, (start, stop) in enumerate(bounds):
            rows = plan.rows(start, stop)
            note = f"{folder}/{_UNFINISHED}/{number:05d}-{_digest_of(rows, recipe, inputs.code)}.json"
            noted = _noted(store, note) if note in notes else None
            if noted is not None:
                done[number] = noted
                resumed += 1
            else:
                group.append(_Shard(number, rows, note))
            if group and (number == len(bounds) - 1 or _is_enough(group, group_bytes)):
                for made in _make_group(store, recipe, group, folder, scratch, outbox):
                    done[made.number] = made
                    if on_progress is not None:
                        on_progress(len(done), len(bounds))
                group = []
        outbox.finish()
    return [done[number] for number in range(len(bounds))], resumed


@dataclass(frozen=True, slots=True)
class _Shard:
    """A shard to be made: its number, its rows of the plan, and the key of the note that it is in the store."""

    number: int
    rows: pa.Table
    note: str

    @property
    def size(self) -> int:
        return int(self.rows["source_size"].to_numpy().sum())


def _is_enough(group: Sequence[_Shard], group_bytes: int) -> bool:
    rows = sum(shard.rows.num_rows for shard in group)
    size = sum(shard.size for shard in group)
    # The next one should still have room.
    return (
        len(group) >= _MOST_SHARDS_A_GROUP
        or rows + group[-1].rows.num_rows > _MOST_ROWS_A_GROUP
        or size + group[-1].size > group_bytes
    )


def _make_group(
    store: Store, recipe: Recipe, group: Sequence[_Shard], folder: str, scratch: Path, outbox: Outbox
) -> Iterator[ReleaseShard]:
    """Gather and pack some shards, and hand them to the outbox, each followed by the note that it is there."""
    gathered = gather(store, recipe, [shard.rows for shard in group], scratch)
    for shard, pictures in zip(group, gathered, strict=True):
        with pictures:
            packed = pack(shard.number, shard.rows, pictures, recipe.layouts, folder, scratch / "packed")
        made = ReleaseShard(shard.number, shard.rows.num_rows, {name: _stored(file) for name, file in packed.items()})
        for file in packed.values():
            outbox.send(file.file)
        note = scratch / "packed" / f"{shard.number:05d}.json"
        note.write_bytes(_note(made))
        outbox.send(Shard(shard.note, note, note.stat().st_size))
        yield made


def _stored(packed: PackedFile) -> StoredFile:
    return StoredFile(packed.file.key, packed.file.size, packed.sha256)


def _digest_of(rows: pa.Table, recipe: Recipe, code: Mapping[str, str]) -> str:
    """Return a digest of all that decides a shard's bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows.combine_chunks(), sink, compression="none", use_dictionary=False)
    how = (recipe.content.value, recipe.short_side, [layout.value for layout in recipe.layouts], sorted(code.items()))
    return content_digest(sink.getvalue().to_pybytes() + repr(how).encode())


def _note(shard: ReleaseShard) -> bytes:
    files = {name: [file.key, file.size, file.sha256] for name, file in shard.files.items()}
    return json.dumps({"number": shard.number, "images": shard.images, "files": files}).encode()


def _noted(store: Store, key: str) -> ReleaseShard | None:
    """Return the shard of a note, where all of it is in the store."""
    said = json.loads(store.get_bytes(key))
    shard = ReleaseShard(
        said["number"], said["images"], {name: StoredFile(*file) for name, file in said["files"].items()}
    )
    for file in shard.files.values():
        stored = store.stat(file.key)
        if stored is None or stored.size != file.size:
            return None
    return shard


class _Plan:
    """The plan's rows by number, for who asks in order."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        self._group = -1
        self._start = 0
        self._rows: pa.Table = self._file.schema_arrow.empty_table()

    def rows(self, start: int, stop: int) -> pa.Table:
        """Return the rows from `start` to before `stop`; no earlier ones can be asked for after that."""
        found = [self._rows.slice(max(0, start - self._start), max(0, stop - start))]
        while self._start + self._rows.num_rows < stop:
            self._start += self._rows.num_rows
            self._group += 1
            self._rows = self._file.read_row_group(self._group)
            first = max(0, start - self._start)
            found.append(self._rows.slice(first, max(0, stop - self._start - first)))
        return pa.concat_tables(found)


def _put_documents(store: Store, release: Release, recipe: Recipe, diff: Diff | None) -> Release:
    """Put what tells of the release, and return it with that named."""
    documents = {}
    texts = {"recipe.yaml": release.recipe.encode()}
    if diff is not None:
        texts |= {"diff.json": diff.as_json(), "diff.md": diff.as_text().encode()}
        for name, path in (("diff.parquet", diff.rows), (GONE, diff.gone)):
            assert path is not None
            key = f"{folder_of(release.version)}/{name}"
            store.put_file(key, path)
            documents[name] = StoredFile(key, path.stat().st_size, sha256_of(path))
    texts["croissant.json"] = croissant(release, recipe)
    texts[CARD] = card(release, recipe, diff).encode()
    for name, data in texts.items():
        key = f"{folder_of(release.version)}/{name}"
        store.put_bytes(key, data)
        documents[name] = StoredFile(key, len(data), hashlib.sha256(data).hexdigest())
    return replace(release, documents=documents)
