"""The kept files of one archive go from the spool into tar shards, each video's still after it; `files` comes of it.

Which files are kept was decided before; how a still is made is `imgmine.images.stills`' business.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from imgmine.archives.spool import Spool
from imgmine.images.decoder_pool import DecoderPool, StillRequest
from imgmine.images.media_types import extension
from imgmine.store.shards import Member, Shard, ShardWriter
from imgmine.store.tables import FILES

_STILL_TYPE = "image/png"
_FROM_RECORD = ("media_id", "url", "captured_at", "warc_file", "warc_offset", "warc_length")


class KeptFile(NamedTuple):
    """A file and the record that it is from: `record` is the row of the ledger."""

    blake2b: bytes
    media_type: str
    record: int
    last_modified: datetime | None

    @property
    def is_video(self) -> bool:
        return self.media_type.startswith("video/")


class VideoWithoutStill(NamedTuple):
    """A video of which no frame could be decoded, and why."""

    video: KeptFile
    reason: str


@dataclass(frozen=True, slots=True)
class Packed:
    """`files`, sorted by BLAKE2b; the shards they are in; the videos without a still.

    `shared_stills` counts the stills that were equal, byte for byte, to a file or a still that was there already.
    """

    files: pa.Table
    shards: list[Shard]
    without_still: list[VideoWithoutStill]
    shared_stills: int


class _PackedFile(NamedTuple):
    blake2b: bytes
    size: int
    media_type: str
    member: Member
    origin: KeptFile
    frame_time: float | None


def pack_files(
    archive: str,
    kept: Sequence[KeptFile],
    records: pa.Table,
    spool: Spool,
    folder: Path,
    *,
    shard_bytes: int,
    decoders: DecoderPool,
) -> Packed:
    """Write the kept files, in the order given, into shards in `folder`, under keys `files/<archive>/...`.

    A still's row says what its video's record says, and names its video. A still whose bytes are those of another file
    of the archive is that file: a kept file keeps its own row, and of several videos with the same still (a black
    frame) the first one has it.
    """
    packed: list[_PackedFile] = []
    without_still: list[VideoWithoutStill] = []
    shared_stills = 0
    present = {file.blake2b for file in kept}
    spool.flush()
    stills = decoders.stills(_still_requests(kept, spool))
    with spool.path.open("rb") as payloads, ShardWriter(folder, f"files/{archive}", shard_bytes) as shards:
        for file in kept:
            place = spool.find(file.blake2b)
            payloads.seek(place.offset)
            member = shards.add_from(_member_name(file.blake2b, file.media_type), payloads, place.size)
            packed.append(_PackedFile(file.blake2b, place.size, file.media_type, member, file, None))
            if not file.is_video:
                continue
            still = next(stills)
            if still.png is None:
                without_still.append(VideoWithoutStill(file, still.detail or "no reason given"))
                continue
            digest = blake2b(still.png, digest_size=32).digest()
            if digest in present:
                shared_stills += 1
                continue
            present.add(digest)
            member = shards.add(_member_name(digest, _STILL_TYPE), still.png)
            packed.append(_PackedFile(digest, len(still.png), _STILL_TYPE, member, file, still.frame_time))
    return Packed(_files_table(packed, records, shards.shards), shards.shards, without_still, shared_stills)


def _still_requests(kept: Sequence[KeptFile], spool: Spool) -> Iterator[StillRequest]:
    for file in kept:
        if file.is_video:
            place = spool.find(file.blake2b)
            yield StillRequest(spool.path, place.offset, place.size, file.blake2b)


def _member_name(digest: bytes, media_type: str) -> str:
    return f"{digest.hex()}.{extension(media_type)}"


def _files_table(packed: list[_PackedFile], records: pa.Table, shards: Sequence[Shard]) -> pa.Table:
    packed = sorted(packed, key=lambda file: file.blake2b)
    origins = records.select(_FROM_RECORD).take(pa.array([file.origin.record for file in packed], pa.int64()))
    own = {
        "blake2b": [file.blake2b for file in packed],
        "size": [file.size for file in packed],
        "media_type": [file.media_type for file in packed],
        "extension": [extension(file.media_type) for file in packed],
        "last_modified": [file.origin.last_modified for file in packed],
        "shard": [shards[file.member.shard].key for file in packed],
        "shard_offset": [file.member.offset for file in packed],
        "video_blake2b": [None if file.blake2b == file.origin.blake2b else file.origin.blake2b for file in packed],
        "frame_time": [file.frame_time for file in packed],
    }
    columns = [pa.array(own[field.name], field.type) if field.name in own else origins[field.name] for field in FILES]
    return pa.table(columns, schema=FILES)
