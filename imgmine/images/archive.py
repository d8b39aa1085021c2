"""The stage `images`: one archive's files through the gate, and the previews of those that passed into shards.

What is kept is decided in `gate`, where it runs in `decoder_pool`; publishing is the caller's.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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
    pictures = pictures_of(files)
    total = pictures.num_rows
    columns: dict[str, list[object]] = {name: [] for name in IMAGES.names}
    members: list[Member | None] = []
    with ShardWriter(scratch, f"previews/{archive}", shard_bytes) as writer:
        results = decoders.pictures(requests_for(pictures, shard_paths))
        for done, (digest, result) in enumerate(zip(pictures["blake2b"].to_pylist(), results, strict=True), 1):
            preview = result.preview
            members.append(None if preview is None else writer.add(f"{digest.hex()}.jpg", preview))
            row = {
                "blake2b": digest,
                "width": result.verdict.width,
                "height": result.verdict.height,
                "mode": result.verdict.mode,
                "format": result.verdict.format,
                "frames": result.verdict.frames,
                "decision": result.verdict.decision.value,
                "detail": result.verdict.detail,
                "preview_size": None if preview is None else len(preview),
                "dhash": result.dhash,
                "exif_copyright": result.verdict.exif_copyright,
            }
            for name, value in row.items():
                columns[name].append(value)
            if progress is not None:
                progress(done, total)
    columns["preview_shard"] = [member and writer.shards[member.shard].key for member in members]
    columns["preview_offset"] = [member and member.offset for member in members]
    return GatedArchive(pa.table(columns, schema=IMAGES).sort_by("blake2b"), writer.shards)


def pictures_of(files: pa.Table) -> pa.Table:
    """Return the rows of `files` that are pictures, in the order in which their bytes lie in the shards."""
    pictures = files.filter(pc.starts_with(files["media_type"], "image/"))
    return pictures.sort_by([("shard", "ascending"), ("shard_offset", "ascending")])


def requests_for(files: pa.Table, shard_paths: Mapping[str, Path]) -> Iterator[PictureRequest]:
    """Yield a request for each row of `files`."""
    rows = files.select(["shard", "shard_offset", "size"])
    for shard, offset, size in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        yield PictureRequest(shard_paths[shard], offset, size)
