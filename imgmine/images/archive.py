"""The stage `images`: one archive's files through the gate, and the previews of those that passed into shards.

What is kept is decided in `gate`, where it runs in `decoder_pool`; publishing is the caller's.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from imgmine.images.decoder_pool import DecoderPool, PictureRequest
from imgmine.store.shards import Member, Shard, ShardWriter
from imgmine.store.tables import IMAGES

CODE_VERSION = "1"


@dataclass(frozen=True, slots=True)
class GatedArchive:
    """The stage's outputs: the table `images`, sorted by `blake2b`, and the shards of previews as local files."""

    images: pa.Table
    shards: list[Shard]


def gate_archive(
    archive: str,
    files: pa.Table,
    shard_paths: Mapping[str, Path],
    scratch: Path,
    *,
    decoders: DecoderPool,
    shard_bytes: int = 1 << 30,
    progress: Callable[[int, int], None] | None = None,
) -> GatedArchive:
    """Judge every picture of an archive and make the previews of those that are kept.

    `images` gets one row for each row of `files` whose media type is a picture's, stills among them. A video has none:
    its still stands for it. `shard_paths` has a local file for each shard that `files` names; shards of previews are
    made in `scratch`, each of at most `shard_bytes`. `progress(done, total)` is told the pictures judged so far. The
    outputs are the same, byte for byte, whatever the number of workers. Raises `DecoderError`.
    """
    pictures = files.filter(pc.starts_with(files["media_type"], "image/"))
    # In the order of their bytes, so that the shards are read from end to end.
    pictures = pictures.sort_by([("shard", "ascending"), ("shard_offset", "ascending")])
    rows: list[dict[str, object]] = []
    members: list[Member | None] = []
    with ShardWriter(scratch, f"previews/{archive}", shard_bytes) as writer:
        results = decoders.pictures(_requests(pictures, shard_paths))
        for digest, result in zip(pictures["blake2b"].to_pylist(), results, strict=True):
            preview = result.preview
            members.append(None if preview is None else writer.add(f"{digest.hex()}.jpg", preview))
            size = None if preview is None else len(preview)
            rows.append({"blake2b": digest, **asdict(result.verdict), "preview_size": size, "dhash": result.dhash})
            if progress is not None:
                progress(len(rows), pictures.num_rows)
    for row, member in zip(rows, members, strict=True):
        if member is not None:
            row |= {"preview_shard": writer.shards[member.shard].key, "preview_offset": member.offset}
    return GatedArchive(pa.Table.from_pylist(rows, schema=IMAGES).sort_by("blake2b"), writer.shards)


def _requests(pictures: pa.Table, shard_paths: Mapping[str, Path]) -> Iterator[PictureRequest]:
    places = (pictures[name].to_pylist() for name in ("shard", "shard_offset", "size"))
    for shard, offset, size in zip(*places, strict=True):
        yield PictureRequest(shard_paths[shard], offset, size)
