"""The originals of one archive go from the spool into tar shards, each video's still behind it; `files` comes of it.

Shards are made, and sent to the store, while the archive is still being read; one that has a file too many in the end
is made again. What shares a shard is `shard_groups`' rule; which files are kept, the caller's.
"""

import queue
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import pyarrow as pa

from imgmine.archives.ahead import Ahead
from imgmine.archives.blocked import Blocklist
from imgmine.archives.imgur import BestOriginals, Candidate
from imgmine.archives.list_hashes import ListHashes, hash_for_lists, some_hashes
from imgmine.archives.shard_groups import Original, PackedFile, ShardGroups, StillFile, members_of
from imgmine.archives.spool import Spool
from imgmine.images.decoder_pool import PictureRequest, StillRequest, StillResult
from imgmine.images.gate_ahead import GateAhead
from imgmine.images.media_types import extension
from imgmine.store.outbox import OutboxLeft
from imgmine.store.shards import Shard, ShardWriter
from imgmine.store.tables import FILES

_FROM_RECORD = ("media_id", "url", "captured_at", "warc_file", "warc_offset", "warc_length")
# A shard is made once the reader is this part of one past it: the URLs of an id were fetched close to each other, so by
# then nearly every better original is known.
_LAG = 1 / 16
_POLL_S = 0.2


class KeptFile(NamedTuple):
    """A file and the record that it is from: `record` is the row of the ledger."""

    blake2b: bytes
    record: int
    last_modified: datetime | None


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


class _MadeShard(NamedTuple):
    members: tuple[PackedFile, ...]
    offsets: list[int]
    shard: Shard


class Packer:
    """Takes an archive's candidates as they are read, and packs those that are kept.

    Without `ahead`, shards are made at the end and left in `folder`. With it, they are made in a thread of its own and
    handed to its outbox. The tables and the shards are the same. Use as a context manager; when it is left by an error,
    all that was asked of others is withdrawn.
    """

    def __init__(
        self,
        archive: str,
        spool: Spool,
        folder: Path,
        best: BestOriginals,
        gate: GateAhead,
        ahead: Ahead | None,
        shard_bytes: int,
        blocked: Blocklist,
        blocked_with_video: Blocklist | None,
    ) -> None:
        self._prefix = f"files/{archive}"
        self._spool = spool
        self._folder = folder
        self._best = best
        self._gate = gate
        self._outbox = ahead.outbox if ahead is not None else None
        self._lag = int(shard_bytes * _LAG)
        self._originals: dict[bytes, Original] = {}
        self._blocked = blocked
        self._blocked_with_video = blocked if blocked_with_video is None else blocked_with_video
        self._blocked_videos: dict[bytes, str] = {}
        self._known_hashes: dict[bytes, Mapping[str, bytes]] = {}
        self._list_hashes: dict[bytes, ListHashes] = {}
        self._groups = ShardGroups(shard_bytes)
        self._ends: list[int] = []
        self._drafts: dict[int, _MadeShard] = {}
        self._drafted_stills: set[bytes] = set()
        self._made: dict[str, tuple[int, _MadeShard]] = {}
        self._coming: queue.SimpleQueue[Original | None] = queue.SimpleQueue()
        self._still_made = threading.Condition()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="packer", daemon=True)

    def take(self, candidate: Candidate, payload: bytes | memoryview, known: Mapping[str, bytes]) -> None:
        """Take a candidate that none seen so far beats, with those of its list hashes that are known.

        Raises what went wrong in other threads, and `OSError`.
        """
        self._check()
        original = self._originals.get(candidate.blake2b)
        if original is None:
            place = self._spool.add(candidate.blake2b, payload)
            original = Original(candidate.blake2b, candidate.media_type, place.size)
            self._originals[candidate.blake2b] = original
            if known:
                self._known_hashes[candidate.blake2b] = known
            self._coming.put(original)
            if original.is_video:
                request = StillRequest(self._spool.path, *place, candidate.blake2b)
                self._gate.add_video(request, lambda result: self._take_still(original, result))
            elif candidate.media_type.startswith("image/"):
                self._gate.add_picture(candidate.blake2b, PictureRequest(self._spool.path, *place))
        if candidate.media_id not in original.media_ids:
            original.media_ids.append(candidate.media_id)

    def _take_still(self, video: Original, result: StillResult) -> None:
        still: StillFile | None = None
        reason: str | None = result.detail or "no reason given"
        if result.png is not None:
            digest = blake2b(result.png, digest_size=32).digest()
            known = some_hashes(result.png, self._blocked.byte_kinds)
            blocked_by = self._blocked.find({"blake2b": digest, **known})
            if blocked_by is not None:
                by_its_still = self._blocked_with_video.find({"blake2b": digest, **known})
                if by_its_still is not None:
                    self._blocked_videos[video.blake2b] = by_its_still
                reason = f"it is blocked by {blocked_by}"
            else:
                place = self._spool.add(digest, result.png)
                self._gate.add_picture(digest, PictureRequest(self._spool.path, *place), wait=False)
                still, reason = StillFile(digest, place.size, result.frame_time), None
        with self._still_made:
            video.still, video.no_still_because = still, reason
            self._still_made.notify_all()

    def _check(self) -> None:
        self._gate.check()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while (original := self._coming.get()) is not None:
                self._hash(original.blake2b)
                self._wait_for_still(original)
                if original.still is not None:
                    self._hash(original.still.blake2b)
                before = self._groups.bytes
                if self._groups.add(original):
                    self._ends.append(before)
                if self._outbox is not None:
                    self._draft()
        except OutboxLeft:
            pass
        except BaseException as error:  # told to the thread that reads
            self._failure = error

    def _hash(self, digest: bytes) -> None:
        # Not by the thread that reads, which everything else waits for.
        if digest not in self._list_hashes:
            place = self._spool.find(digest)
            with self._spool.path.open("rb") as payloads:
                payloads.seek(place.offset)
                known = self._known_hashes.pop(digest, {})
                self._list_hashes[digest] = hash_for_lists(payloads, place.size, known)

    def _wait_for_still(self, original: Original) -> None:
        with self._still_made:
            while original.awaits_still:
                self._gate.check()
                self._raise_if_stopped()
                self._still_made.wait(_POLL_S)

    def _raise_if_stopped(self) -> None:
        if self._stop.is_set():
            raise OutboxLeft

    def _draft(self) -> None:
        """Make and send the shards that the reader is far enough past."""
        assert self._outbox is not None
        while len(self._drafts) < len(self._ends):
            number = len(self._drafts)
            if self._groups.bytes - self._ends[number] < self._lag:
                return
            members = members_of(self._groups.groups[number], self._seems_kept, self._drafted_stills)
            if not members:
                # All are beaten. It takes its place, so that the next one comes.
                self._drafts[number] = _MadeShard((), [], Shard("", self._folder, 0))
                continue
            self._drafts[number] = self._write(number, members, self._folder / "early")
            self._outbox.send(self._drafts[number].shard, self._stop)

    def _seems_kept(self, digest: bytes) -> bool:
        original = self._originals.get(digest)
        return (
            original is not None
            and digest not in self._blocked_videos
            and any(not self._best.is_beaten(media_id, original.media_type) for media_id in list(original.media_ids))
        )

    def _write(self, number: int, members: tuple[PackedFile, ...], folder: Path) -> _MadeShard:
        offsets = []
        with (
            self._spool.path.open("rb") as payloads,
            ShardWriter(folder, self._prefix, limit=sys.maxsize, first=number) as writer,
        ):
            for file in members:
                self._raise_if_stopped()
                place = self._spool.find(file.blake2b)
                payloads.seek(place.offset)
                name = f"{file.blake2b.hex()}.{extension(file.media_type)}"
                offsets.append(writer.add_from(name, payloads, place.size).offset)
        return _MadeShard(members, offsets, writer.shards[0])

    def finish_stills(self) -> Mapping[bytes, str]:
        """Return once every still was made: the videos that are blocked, because of their stills, and by what."""
        self._coming.put(None)
        self._thread.join()
        self._check()
        return self._blocked_videos

    def finish(self, kept: Sequence[KeptFile], records: pa.Table) -> Packed:
        """Pack the files kept, given in the order of their records, and return once every shard is made, and sent.

        `finish_stills` comes first.
        A still's row says what its video's record says, and names its video. A still whose bytes are those of another
        file of the archive is that file: a kept file keeps its own row, and of several videos with the same still (a
        black frame) the first one has it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        by_digest = {file.blake2b: file for file in kept}
        stills: set[bytes] = set()
        made = []
        for number, group in enumerate(self._groups.groups):
            members = members_of(group, by_digest.__contains__, stills)
            draft = self._drafts.pop(number, None)
            if draft is not None and draft.members != members and self._outbox is not None:
                self._outbox.recall(draft.shard)
            if not members:
                continue
            if draft is None or draft.members != members:
                draft = self._write(number, members, self._folder)
                if self._outbox is not None:
                    self._outbox.send(draft.shard)
            made.append(draft)
            self._made[draft.shard.key] = number, draft
        videos = [original for original in self._originals.values() if original.is_video]
        videos = [video for video in videos if video.blake2b in by_digest]
        without_still = [
            VideoWithoutStill(by_digest[video.blake2b], video.no_still_because)
            for video in videos
            if video.no_still_because is not None
        ]
        return Packed(
            _files_table(made, by_digest, self._list_hashes, records),
            [shard.shard for shard in made],
            without_still,
            len(videos) - len(without_still) - len(stills),
        )

    def remake(self, shard: Shard) -> None:
        """Write the local file of a shard again, as long as the spool is there."""
        number, made = self._made[shard.key]
        self._write(number, made.members, shard.path.parent)

    def __enter__(self) -> "Packer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            return
        self._stop.set()
        self._coming.put(None)
        self._thread.join()
        if self._outbox is not None:
            self._outbox.forget()
        if issubclass(kind, Exception):  # else the whole process is to end, and at once
            self._gate.forget()


def _files_table(
    made: list[_MadeShard],
    kept: Mapping[bytes, KeptFile],
    list_hashes: Mapping[bytes, ListHashes],
    records: pa.Table,
) -> pa.Table:
    places = [
        (file, offset, shard.shard.key)
        for shard in made
        for file, offset in zip(shard.members, shard.offsets, strict=True)
    ]
    places.sort(key=lambda place: place[0].blake2b)
    files = [file for file, _, _ in places]
    origins = [kept[file.original.blake2b] for file in files]
    from_records = records.select(_FROM_RECORD).take(pa.array([origin.record for origin in origins], pa.int64()))
    own = {
        "blake2b": [file.blake2b for file in files],
        **{name: [getattr(list_hashes[file.blake2b], name) for file in files] for name in ListHashes._fields},
        "size": [file.size for file in files],
        "media_type": [file.media_type for file in files],
        "extension": [extension(file.media_type) for file in files],
        "last_modified": [origin.last_modified for origin in origins],
        "shard": [shard for _, _, shard in places],
        "shard_offset": [offset for _, offset, _ in places],
        "video_blake2b": [None if file.blake2b == file.original.blake2b else file.original.blake2b for file in files],
        "frame_time": [file.frame_time for file in files],
    }
    columns = [
        pa.array(own[field.name], field.type) if field.name in own else from_records[field.name] for field in FILES
    ]
    return pa.table(columns, schema=FILES)
