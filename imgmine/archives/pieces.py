"""What a WARC file comes apart into before any record is read: pieces of verified content, and damage.

Finding them is `zstd_frames`' and `gzip_members`'; making records of them is `warc`'s.
"""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of the file, as stored, that no record could be made of.

    Attributes:
        offset: where they begin, in the (compressed) file.
        length: how many they are; 0 where the file ends before something that should have followed.
        reason: what is wrong with them, for a person.
    """

    offset: int
    length: int
    reason: str


class Piece(NamedTuple):
    """One zstd frame or gzip member that decoded whole.

    Attributes:
        offset: where it begins in the compressed file.
        end: where the next one begins.
        content: what it decoded to, its checksum verified where it has one.
    """

    offset: int
    end: int
    content: bytes | bytearray
