"""The stage `images`: one archive's files through the gate, and the previews of those that passed into shards.

What is kept is decided in `gate`, where it runs in `decoder_pool`; publishing is the caller's.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

import PIL
import pyarrow as pa
import pyarrow.compute as pc

from imgmine.decisions import ImageDecision
from imgmine.images.decoder_pool import DecoderPool, PictureRequest
from imgmine.images.decoding import Decoding
from imgmine.images.gated import GatedResults, Judgement, gated_file
from imgmine.images.pdq_index import PdqIndex
from imgmine.store.publish import fingerprint
from imgmine.store.shards import SHARD_BYTES, Member, Shard, ShardWriter
from imgmine.store.tables import IMAGES

CODE_VERSION = "4"


def code_version(decoding: Decoding) -> str:
    """Return the version of what makes the outputs: outputs of two versions are not alike."""
    return CODE_VERSION if decoding is Decoding.EXACT else f"{CODE_VERSION}-{decoding}"


@dataclass(frozen=True, slots=True)
class GatedArchive:
    """The stage's outputs: the table `images`, sorted by `blake2b`, and the shards of previews as local files."""

    images: pa.Table
    shards: list[Shard]


def open_gated(scratch_root: Path, archive: str, decoders: DecoderPool) -> GatedResults:
    """Open what is known already of an archive's pictures: the stage before may have had them judged as it read them.

    It is `<scratch_root>/gated/<archive>`, and the caller's to remove once its results are published.
    """
    made_by = fingerprint(
        code_version=CODE_VERSION,
        pillow=PIL.__version__,
        resizer=version("cykooz-resizer"),  # it makes the previews' pixels
        **decoders.params,
    )
    return GatedResults(gated_file(scratch_root, archive), made_by)


def gate_archive(
    archive: str,
    files: pa.Table,
    local_shard: Callable[[str], Path],
    scratch: Path,
    *,
    decoders: DecoderPool,
    gated: GatedResults | None = None,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int, int], None] | None = None,
    blocked: PdqIndex | None = None,
) -> GatedArchive:
    """Judge every picture of an archive and make the previews of those that are kept.

    `images` gets one row for each row of `files` whose media type is a picture's, stills among them. A video has none:
    its still stands for it. Pictures whose results are in `gated` are not decoded again. `local_shard` returns a local
    file for a shard that `files` names; it is called once for each that is needed. Shards of previews are made in
    `scratch`, each of at most `shard_bytes`. `progress(done, total)` is told the pictures judged so far. What is near
    to a hash that is `blocked` has that decision, its PDQ hash, and nothing else. The outputs are the same, byte for
    byte, whatever the number of workers and whatever is in `gated`. Raises `DecoderError`, and what `local_shard`
    raises.
    """
    pictures = files.filter(pc.starts_with(files["media_type"], "image/"))
    # In the order of their bytes, so that the shards are read from end to end.
    pictures = pictures.sort_by([("shard", "ascending"), ("shard_offset", "ascending")])
    rows: list[dict[str, object]] = []
    members: list[Member | None] = []
    with ShardWriter(scratch, f"previews/{archive}", shard_bytes) as writer:
        judgements = _judgements(pictures, cache(local_shard), decoders, gated)
        for digest, judgement in zip(pictures["blake2b"].to_pylist(), judgements, strict=True):
            row, preview = _row(judgement, blocked)
            members.append(None if preview is None else writer.add(f"{digest.hex()}.jpg", preview))
            rows.append({"blake2b": digest, **row})
            if progress is not None:
                progress(len(rows), pictures.num_rows)
    for row, member in zip(rows, members, strict=True):
        if member is not None:
            row |= {"preview_shard": writer.shards[member.shard].key, "preview_offset": member.offset}
    return GatedArchive(pa.Table.from_pylist(rows, schema=IMAGES).sort_by("blake2b"), writer.shards)


def _row(judgement: Judgement, blocked: PdqIndex | None) -> tuple[dict[str, object], bytes | None]:
    """Return the columns that are known of a picture, and its preview where it has one."""
    verdict, preview, hashes = judgement
    if hashes is None:
        return asdict(verdict), preview
    row = {"pdq": hashes.pdq.hash, "pdq_quality": hashes.pdq.quality}
    near = blocked.nearest(hashes.pdq) if blocked is not None else None
    if near is not None:
        detail = f"pdq:{near.hash.hex()} differs in {near.bits} bits"
        verdict = replace(verdict, decision=ImageDecision.BLOCKED, detail=detail, exif_copyright=None)
        return {**asdict(verdict), **row}, None
    return {**asdict(verdict), **row, "dhash": hashes.dhash, "preview_size": preview and len(preview)}, preview


def _judgements(
    pictures: pa.Table, local_shard: Callable[[str], Path], decoders: DecoderPool, gated: GatedResults | None
) -> Iterator[Judgement]:
    """Yield what the gate makes of each picture, in order."""
    digests = pictures["blake2b"].to_pylist()
    unknown = pa.array([gated is None or digest not in gated for digest in digests], pa.bool_())
    decoded = decoders.pictures(_requests(pictures.filter(unknown), local_shard))
    for row, (digest, is_unknown) in enumerate(zip(digests, unknown.to_pylist(), strict=True)):
        if gated is None or is_unknown:
            yield Judgement.of(next(decoded))
            continue
        found = gated.find(digest)
        if found is None:  # its bytes are broken
            [result] = decoders.pictures(_requests(pictures.slice(row, 1), local_shard))
            found = Judgement.of(result)
        yield found


def _requests(pictures: pa.Table, local_shard: Callable[[str], Path]) -> Iterator[PictureRequest]:
    places = (pictures[name].to_pylist() for name in ("shard", "shard_offset", "size"))
    for shard, offset, size in zip(*places, strict=True):
        yield PictureRequest(local_shard(shard), offset, size)
