"""Which originals of an archive share a shard, and which of them are in it at last. Pure rules, no files.

The parting is a function of the order of the records alone, so that a shard can be made while the rest is still read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from imgmine.store.shards import END_BYTES, member_size

STILL_TYPE = "image/png"


class StillFile(NamedTuple):
    """A video's still as a file."""

    blake2b: bytes
    size: int
    frame_time: float | None


@dataclass(eq=False, slots=True)
class Original:
    """A distinct file that may be kept, as it was first seen.

    `media_ids` are those that it was the best original of when it was seen. Of a video, either `still` or
    `no_still_because` is set once the decoders have answered.
    """

    blake2b: bytes
    media_type: str
    size: int
    media_ids: list[str] = field(default_factory=list)
    still: StillFile | None = None
    no_still_because: str | None = None

    @property
    def is_video(self) -> bool:
        return self.media_type.startswith("video/")

    @property
    def awaits_still(self) -> bool:
        return self.is_video and self.still is None and self.no_still_because is None

    @property
    def size_in_shard(self) -> int:
        """The bytes that it takes with its still, which always lies behind it."""
        return member_size(self.size) + (member_size(self.still.size) if self.still is not None else 0)


class PackedFile(NamedTuple):
    """A file that is in a shard: an original, or the still of one."""

    blake2b: bytes
    size: int
    media_type: str
    original: Original
    frame_time: float | None


class ShardGroups:
    """Parts originals, in the order in which they come, into groups that each fit a shard of `limit` bytes.

    A group ends before it would pass the limit, with all its originals and their stills counted, whether they are kept
    in the end or not. An original that passes the limit by itself, or with its still, is a group of its own.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self.bytes = 0
        self.groups: list[list[Original]] = []

    def add(self, original: Original) -> bool:
        """Add an original, whose still is known; return whether a group ended before it."""
        size = original.size_in_shard
        begins = not self.groups or self._size + size + END_BYTES > self._limit
        if begins:
            self.groups.append([])
            self._size = 0
        self.groups[-1].append(original)
        self._size += size
        self.bytes += size
        return begins and len(self.groups) > 1


def members_of(
    group: Sequence[Original], is_kept: Callable[[bytes], bool], stills: set[bytes]
) -> tuple[PackedFile, ...]:
    """Return what a group's shard holds: the originals that are kept, each video's still behind it.

    A still whose bytes are those of a kept file, or of the still of an earlier video (`stills`, which is added to), is
    that file.
    """
    members: list[PackedFile] = []
    for original in group:
        if not is_kept(original.blake2b):
            continue
        members.append(PackedFile(original.blake2b, original.size, original.media_type, original, None))
        still = original.still
        if still is not None and not is_kept(still.blake2b) and still.blake2b not in stills:
            stills.add(still.blake2b)
            members.append(PackedFile(still.blake2b, still.size, STILL_TYPE, original, still.frame_time))
    return tuple(members)
