"""Results of the gate that an earlier stage has made already: a local file which `images` takes them from.

It only saves work: what is not in it, or is broken, is decoded again, with the same result. When pictures are decoded
ahead is `gate_ahead`'s business.
"""

import hashlib
import json
import os
import struct
import threading
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from imgmine.decisions import ImageDecision
from imgmine.images.decoder_pool import PictureResult
from imgmine.images.gate import Verdict
from imgmine.images.hashes import Hashes

# Of an archive of 14 GiB, previews are 2 to 3 GiB.
MOST_BYTES = 4 << 30

_HEAD = struct.Struct(">32sII")
_CHECK_BYTES = 16


class Judgement(NamedTuple):
    """What the gate made of one picture: its verdict and, where it is kept, its preview (JPEG) and its hashes."""

    verdict: Verdict
    preview: bytes | None
    hashes: Hashes | None

    @classmethod
    def of(cls, result: PictureResult) -> "Judgement":
        """Return what a decoder's result says."""
        return cls(result.verdict, result.preview, result.hashes)


def gated_folder(scratch_root: Path) -> Path:
    """Return the folder with what waits, a file an archive."""
    return scratch_root / "gated"


def gated_file(scratch_root: Path, archive: str) -> Path:
    """Return where an archive's results wait."""
    return gated_folder(scratch_root) / archive


class GatedResults:
    """Results by the BLAKE2b of the picture, in a file that survives a kill. Threads may share it; one process writes.

    `made_by` is a digest of all that results depend on beside the picture: a file that was made by something else
    begins anew. Of one that a killed process left, what is whole is taken over. Beyond `most_bytes`, and where the disk
    refuses, nothing more is kept. Use as a context manager.
    """

    def __init__(self, path: Path, made_by: str, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self._most_bytes = most_bytes
        self._places: dict[bytes, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._end = 0
        self._fd: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._take_over(self._fd, made_by.encode())
        except OSError:  # it only saves work
            self._close()

    def _take_over(self, fd: int, made_by: bytes) -> None:
        size = os.fstat(fd).st_size
        if os.pread(fd, len(made_by), 0) == made_by:
            at = len(made_by)
            while len(head := os.pread(fd, _HEAD.size, at)) == _HEAD.size:
                blake2b, verdict_size, preview_size = _HEAD.unpack(head)
                length = _HEAD.size + verdict_size + preview_size + _CHECK_BYTES
                if at + length > size:
                    break
                self._places[blake2b] = at, length
                at += length
            os.ftruncate(fd, at)
        else:
            os.ftruncate(fd, 0)
            at = os.pwrite(fd, made_by, 0)
        self._end = at

    def __contains__(self, blake2b: bytes) -> bool:
        return blake2b in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, blake2b: bytes, result: PictureResult) -> None:
        """Keep a result, where there is room and it is one that would be the same another time."""
        if not result.is_final:
            return
        verdict = json.dumps([asdict(result.verdict), result.hashes and result.hashes.plain()]).encode()
        preview = result.preview or b""
        record = _HEAD.pack(blake2b, len(verdict), len(preview)) + verdict + preview
        record += _check(record)
        with self._lock:
            if self._fd is None or blake2b in self._places or self._end + len(record) > self._most_bytes:
                return
            try:
                whole = os.pwrite(self._fd, record, self._end) == len(record)
            except OSError:
                whole = False
            if not whole:
                self._most_bytes = 0  # the disk is full: the stage itself will say so, if it is in need of it too
                return
            self._places[blake2b] = self._end, len(record)
            self._end += len(record)

    def find(self, blake2b: bytes) -> Judgement | None:
        """Return the result for a picture; None where it is not here whole."""
        place = self._places.get(blake2b)
        if place is None or self._fd is None:
            return None
        offset, length = place
        try:
            record = os.pread(self._fd, length, offset)
        except OSError:
            return None
        if len(record) != length or _check(record[:-_CHECK_BYTES]) != record[-_CHECK_BYTES:]:
            return None
        found, verdict_size, preview_size = _HEAD.unpack_from(record)
        preview_at = _HEAD.size + verdict_size
        if found != blake2b:
            return None
        verdict, hashes = json.loads(record[_HEAD.size : preview_at])
        decision = ImageDecision(verdict["decision"])
        preview = record[preview_at : preview_at + preview_size]
        verdict = Verdict(**{**verdict, "decision": decision})
        return Judgement(verdict, preview or None, Hashes.from_plain(hashes) if hashes else None)

    def remove(self) -> None:
        """Take the file away: what is in it has been used."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> "GatedResults":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None


def _check(record: bytes) -> bytes:
    return hashlib.blake2b(record, digest_size=_CHECK_BYTES).digest()
