"""Reading the pictures of some shards of a release out of the shards in which they were mined.

A release is shuffled, so each of its shards wants a few pictures of nearly every mined shard. Here many are served at
once: for as many shards as the scratch disk holds, each mined shard is read once, from front to back, by ranges, and
each picture goes to the file of the shard that wants it. How they are packed is `packing`'s.
"""

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from cykooz_resizer import Resizer
from PIL import Image

from imgmine.cores import usable_cores
from imgmine.dataset.releases.recipe import Content, Recipe
from imgmine.errors import ImgmineError
from imgmine.images.previews import BICUBIC, QUALITY
from imgmine.in_order import in_order
from imgmine.store.base import NotInStore, Store

_GAP = 64 << 10
_READ = 8 << 20
_READS_AT_ONCE = 8
_ROWS_AT_ONCE = 4096


class SourceChanged(ImgmineError):
    """A mined shard is not there any more, or does not hold what the tables say."""


class Picture(NamedTuple):
    """A picture as the release has it: its bytes, and its size in pixels, None where it is the original's."""

    data: bytes
    width: int | None
    height: int | None


class _Wanted(NamedTuple):
    """A picture in a mined shard, and where it goes: the place of the shard in the group, and the row in that."""

    offset: int
    size: int
    blake2b: str
    shard: int
    row: int


@dataclass(frozen=True, slots=True)
class _Read:
    """A range of a mined shard with what is wanted of it, in order of offset."""

    key: str
    start: int
    size: int
    wanted: tuple[_Wanted, ...]


class GatheredShard:
    """The pictures of one shard of the release, in a local file, each to be had by its row."""

    def __init__(self, path: Path, rows: int) -> None:
        self._path = path
        self._stream: BinaryIO = path.open("w+b")
        self._places = np.zeros((rows, 2), np.int64)
        self._pixels = np.full((rows, 2), -1, np.int32)
        self._end = 0
        self._is_flushed = True

    def put(self, row: int, picture: Picture) -> None:
        """Keep a picture."""
        self._stream.write(picture.data)
        self._is_flushed = False
        self._places[row] = self._end, len(picture.data)
        if picture.width is not None and picture.height is not None:
            self._pixels[row] = picture.width, picture.height
        self._end += len(picture.data)

    def picture(self, row: int) -> Picture:
        """Return a picture that was kept."""
        if not self._is_flushed:
            self._stream.flush()
            self._is_flushed = True
        offset, size = self._places[row].tolist()
        width, height = self._pixels[row].tolist()
        data = os.pread(self._stream.fileno(), size, offset)
        return Picture(data, width if width >= 0 else None, height if height >= 0 else None)

    def __enter__(self) -> "GatheredShard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._path.unlink(missing_ok=True)


def gather(store: Store, recipe: Recipe, shards: Sequence[pa.Table], folder: Path) -> list[GatheredShard]:
    """Return the pictures of each of the shards, given by their rows of the plan; `folder` is the caller's to clear.

    Originals are checked against their BLAKE2b. At most some 100 MB are in memory, beside some 300 bytes a row. Raises
    `SourceChanged`.
    """
    gathered = [GatheredShard(folder / f"{place}.pictures", rows.num_rows) for place, rows in enumerate(shards)]
    make = _maker(recipe)
    threads = max(_READS_AT_ONCE, usable_cores())
    for found in in_order(lambda read: _fetch(store, read, make), _reads(shards), threads, _READS_AT_ONCE):
        for wanted, picture in found:
            gathered[wanted.shard].put(wanted.row, picture)
    return gathered


def _reads(shards: Sequence[pa.Table]) -> Iterator[_Read]:
    """Yield ranges of all mined shards, each shard from front to back; what lies close together is one range."""
    parts = [
        table.select(["source_shard", "source_offset", "source_size", "blake2b"])
        .append_column("place", pa.array(np.full(table.num_rows, place)))
        .append_column("row", pa.array(np.arange(table.num_rows)))
        for place, table in enumerate(shards)
    ]
    ordered = pa.concat_tables(parts).sort_by([("source_shard", "ascending"), ("source_offset", "ascending")])
    current: list[_Wanted] = []
    key = ""
    for batch in ordered.to_batches(max_chunksize=_ROWS_AT_ONCE):
        for source, offset, size, digest, place, row in zip(*(column.to_pylist() for column in batch), strict=True):
            wanted = _Wanted(offset, size, digest, place, row)
            if current and (source != key or not _is_near(current, wanted)):
                yield _range(key, current)
                current = []
            key = source
            current.append(wanted)
    if current:
        yield _range(key, current)


def _is_near(current: Sequence[_Wanted], wanted: _Wanted) -> bool:
    end = current[-1].offset + current[-1].size
    return wanted.offset - end <= _GAP and wanted.offset + wanted.size - current[0].offset <= _READ


def _range(key: str, wanted: Sequence[_Wanted]) -> _Read:
    start = wanted[0].offset
    return _Read(key, start, wanted[-1].offset + wanted[-1].size - start, tuple(wanted))


def _fetch(store: Store, read: _Read, make: Callable[[bytes, _Wanted], Picture]) -> list[tuple[_Wanted, Picture]]:
    try:
        data = store.get_range(read.key, read.start, read.size)
    except NotInStore as error:
        raise SourceChanged(
            f"{store.uri(read.key)} is not there any more: its archive was mined again. Make the release again."
        ) from error
    if len(data) < read.size:
        raise SourceChanged(
            f"{store.uri(read.key)} ends {read.size - len(data)} bytes before what the tables name. "
            "Run its archive again."
        )
    found = []
    for wanted in read.wanted:
        start = wanted.offset - read.start
        try:
            found.append((wanted, make(data[start : start + wanted.size], wanted)))
        except (_WrongBytes, OSError, ValueError) as error:
            raise SourceChanged(
                f"{store.uri(read.key)}, byte {wanted.offset}: not the picture {wanted.blake2b} that the tables name "
                f"({error}). Run its archive again."
            ) from error
    return found


class _WrongBytes(Exception):
    """Not what its name says."""


def _maker(recipe: Recipe) -> Callable[[bytes, _Wanted], Picture]:
    """Return what makes the release's picture of the mined bytes; threads may share it."""
    short_side = recipe.short_side
    if recipe.content is Content.ORIGINALS:
        return _original
    if short_side is None:
        return lambda data, _: _preview(data, None)
    return lambda data, _: _preview(data, short_side)


def _original(data: bytes, wanted: _Wanted) -> Picture:
    if hashlib.blake2b(data, digest_size=32).hexdigest() != wanted.blake2b:
        raise _WrongBytes("other bytes are there")
    return Picture(data, None, None)


def _preview(data: bytes, short_side: int | None) -> Picture:
    """Return the preview, with `short_side` pixels on its shorter side where it has more; then it is encoded anew."""
    # Previews are our own JPEGs: no other reader is asked.
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as preview:
        short = min(preview.size)
        if short_side is None or short <= short_side:
            return Picture(data, *preview.size)
        width, height = (max(1, (side * short_side * 2 + short) // (2 * short)) for side in preview.size)
        small = Image.new("RGB", (width, height))
        Resizer().resize_pil(preview.convert("RGB"), small, BICUBIC)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=QUALITY)
    return Picture(out.getvalue(), width, height)
