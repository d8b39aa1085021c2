"""Reading the kept pictures of an archive for models: previews, or originals where a model needs more than they hold.

What is made of them is the models' business; batches are worked on by threads, in order.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from imgmine.decisions import ImageDecision
from imgmine.errors import ImgmineError
from imgmine.images.previews import preview_size
from imgmine.models.preprocessing import UnreadablePicture, read_picture

# Of originals with more pixels than these, one at a time is decoded: it may take a quarter of a GiB.
_MANY_PIXELS = 24_000_000

ReadRange = Callable[[str, int, int], bytes]
"""From a shard's key, an offset and a size to the bytes there. Called from several threads at once."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class PreviewError(ImgmineError):
    """A preview, or an original in its place, that the tables name cannot be read or decoded."""


@dataclass(frozen=True)
class Originals:
    """Where an archive's originals lie, for models that need more than a preview holds.

    `files` is the archive's `files` table; `read` reads from its shards.
    """

    files: pa.Table
    read: ReadRange


class Place(NamedTuple):
    """Where one picture's preview or original lies."""

    blake2b: bytes
    shard: str
    offset: int
    size: int
    original: bool
    pixels: int


class KeptPictures:
    """The pictures of an archive that the gate kept. Threads may decode several at once."""

    def __init__(
        self,
        archive: str,
        images: pa.Table,
        read_preview: ReadRange,
        *,
        originals: Originals | None = None,
        short_side: int = 0,
    ) -> None:
        """`images` is the archive's `images` table; `short_side` the pixels that a model makes use of on a short side.

        Where a preview holds less than that and than the picture has, the original is read. Without `originals`,
        previews serve for all.
        """
        self._archive = archive
        self._read_preview = read_preview
        self._originals = originals
        self._large = Lock()
        self.places = _places(images, originals, short_side)
        """Of each picture, in the order in which the previews lie in their shards."""

    def decode(self, place: Place, least: int | None = None) -> Image.Image:
        """Return an RGB picture; with `least`, a large JPEG at a fraction of its size, both sides no less than that.

        Raises `PreviewError` that names the archive and the image.
        """
        return self.take(place, lambda data: read_picture(data, least))

    def take(self, place: Place, use: Callable[[bytes], _Result]) -> _Result:
        """Return what `use` makes of the encoded picture. Its `UnreadablePicture` becomes a `PreviewError`."""
        if not place.original or self._originals is None:
            return self._taken(place, self._read_preview, use)
        with self._large if place.pixels > _MANY_PIXELS else nullcontext():
            return self._taken(place, self._originals.read, use)

    def _taken(self, place: Place, read: ReadRange, use: Callable[[bytes], _Result]) -> _Result:
        try:
            return use(read(place.shard, place.offset, place.size))
        except UnreadablePicture as error:
            what, again = ("original", "unique_files and images") if place.original else ("preview", "images")
            raise PreviewError(
                f"{self._archive}: the {what} of {place.blake2b.hex()} ({place.shard}, {place.size} bytes from "
                f"{place.offset}) is damaged: {error}. Materialize this archive's {again} again."
            ) from error


def wants_original(width: int, height: int, short_side: int) -> bool:
    """Return whether the preview of a picture of this size holds less than `short_side`, and than the picture has."""
    return min(preview_size(width, height)) < min(short_side, width, height)


def _places(images: pa.Table, originals: Originals | None, short_side: int) -> list[Place]:
    columns = ["blake2b", "preview_shard", "preview_offset", "preview_size", "width", "height"]
    kept = (
        images.filter(pc.equal(images["decision"], ImageDecision.KEPT.value))
        .select(columns)
        .sort_by([("preview_shard", "ascending"), ("preview_offset", "ascending")])
    )
    rows = list(zip(*(column.to_pylist() for column in kept.columns), strict=True))
    wanted = {row[0] for row in rows if originals is not None and wants_original(row[4], row[5], short_side)}
    where = {} if originals is None or not wanted else _in_shards(originals.files, wanted)
    places = []
    for key, shard, offset, size, width, height in rows:
        at = where.get(key, (shard, offset, size))
        places.append(Place(key, at[0], at[1], at[2], key in where, (width or 0) * (height or 0)))
    return places


def _in_shards(files: pa.Table, wanted: set[bytes]) -> dict[bytes, tuple[str, int, int]]:
    places = zip(*(files[name].to_pylist() for name in ("blake2b", "shard", "shard_offset", "size")), strict=True)
    return {key: (shard, offset, size) for key, shard, offset, size in places if key in wanted}


def batches(items: Iterable[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """Yield the items in lists of `size`, the last one shorter."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch
