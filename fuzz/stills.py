"""The still extractor, in the worker process that it has in a run: a picture or a reason, within time and memory.

FFmpeg is native code: where it kills or hangs its worker that is counted, since it costs that file alone.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
from collections import Counter
from functools import cache
from io import BytesIO
from pathlib import Path

from PIL import Image

from fuzz.target import Target, promise
from imgmine.images.decoder_pool import DecoderPool, StillRequest, StillResult
from tests.images.clips import SHAPES, tiny_clip

_CPU_LIMIT_S = 20.0
_PATIENCE_S = 120.0
_CLIPS = Path(__file__).parents[1] / "tests/images/data"
_REASONS = (
    "not readable as a video",
    "no frame of the video can be decoded",
    "needs more memory than a decoder may have",
    "the decoder process died",
    "not decoded in",
    "no answer within",
)
_outcomes: Counter[str] = Counter()


@cache
def _pool() -> DecoderPool:
    pool = DecoderPool(1, cpu_s=_CPU_LIMIT_S, patience_s=_PATIENCE_S)
    atexit.register(pool.__exit__, None, None, None)
    return pool


@cache
def _file() -> Path:
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-stills-", dir=memory if os.access(memory, os.W_OK) else None))
    atexit.register(shutil.rmtree, folder)
    return folder / "case"


def _seeds() -> list[bytes]:
    """Return tiny clips of each container; the first byte chooses the frame."""
    clips = [tiny_clip(container, codec, 4) for container, codec in SHAPES]
    made = [bytes((frame,)) + clip for clip in clips for frame in (0, 1, 3)]
    return made + [b"\2" + (_CLIPS / name).read_bytes() for name in ("b_frames.mp4", "vp9.webm", "vp8.webm")]


def _still(case: bytes) -> StillResult:
    _file().write_bytes(case[1:])
    chosen = case[0].to_bytes(8, "big") + hashlib.blake2b(case, digest_size=24).digest()
    (result,) = _pool().stills([StillRequest(_file(), 0, len(case) - 1, chosen)])
    return result


def _keep(case: bytes) -> None:
    """Save a case that kills FFmpeg: it breaks no promise of ours, but whoever wants to mend it needs it."""
    kept = Path(".fuzz/killed")
    kept.mkdir(parents=True, exist_ok=True)
    (kept / hashlib.blake2b(case, digest_size=8).hexdigest()).write_bytes(case[1:])


def _check(case: bytes) -> None:
    if not case:
        return
    result = _still(case)
    if result.png is None:
        reason = result.detail or ""
        promise(reason.startswith(_REASONS) or "pixels, over" in reason, f"no reason that we know: {reason!r}")
        promise(result.frame_time is None, "no time without a picture")
        if reason.startswith("the decoder process died"):
            _keep(case)
        _outcomes[next((known for known in _REASONS if reason.startswith(known)), "too many pixels")] += 1
        return
    _outcomes["a still"] += 1
    promise(result.frame_time is not None and result.frame_time >= 0, "a still has its time")
    with Image.open(BytesIO(result.png), formats=("PNG",)) as picture:
        picture.load()
        promise(picture.mode == "RGB", "a still is RGB")
    if case[-1] % 16 == 0:
        promise(_still(case) == result, "the same video gives the same still")


def _summary() -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in _outcomes.most_common())


TARGET = Target(
    "stills",
    _seeds,
    _check,
    tokens=(
        b"moov",
        b"mdat",
        b"stsz",
        b"stco",
        b"stts",
        b"stsc",
        b"ctts",
        b"elst",
        b"\x1f\x43\xb6\x75",
        b"\xa3",
        b"\xff" * 8,
    ),
    longest=40_000,
    guided=False,
    summary=_summary,
)
