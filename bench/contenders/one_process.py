"""warcio and Pillow in one process, as one would write it in an afternoon: nothing on disk but what it makes.

The best original of each id is chosen by the item's CDX; then each record is read through a zstandard stream, hashed,
judged, resized and written. No ledger, no perceptual hash, no isolation.
"""

import gzip
import hashlib
import io
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import cv2
import zstandard
from by_url import Originals
from PIL import Image
from stages import Stages, job
from warcio.archiveiterator import ArchiveIterator

_SIDE, _LEAST, _QUALITY = 448, 128, 90


def main() -> None:
    """Read the archive once."""
    task = job()
    scratch = Path(task["scratch"])
    stages = Stages()
    images = 0
    seen = set()
    originals = Originals()
    dictionary = zstandard.ZstdCompressionDict(bytes.fromhex(task["dictionary"]))
    decoder = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=1 << 31)
    with (
        stages.stage("all"),
        Path(task["warc"]).open("rb") as stream,
        decoder.stream_reader(stream, read_across_frames=True) as reader,
        tarfile.open(scratch / "files.tar", "w") as files,
        tarfile.open(scratch / "previews.tar", "w") as previews,
    ):
        best = listed(Path(task["cdx"]))
        for record in ArchiveIterator(io.BufferedReader(reader, 1 << 16)):
            if record.rec_type != "response" or not originals.wanted(record) or originals.name not in best:
                continue
            body = record.content_stream().read()
            digest = hashlib.blake2b(body, digest_size=32).hexdigest()
            if not body or digest in seen:
                continue
            seen.add(digest)
            add(files, digest + Path(originals.name).suffix, body)
            preview = preview_of(body, Path(originals.name).suffix)
            if preview is not None:
                add(previews, f"{digest}.jpg", preview)
                images += 1
    stages.report(images)


def listed(cdx: Path) -> set[str]:
    """Return the path part of the URL of each id's best original."""
    originals = Originals()
    with gzip.open(cdx, "rt") as lines:
        next(lines)
        for line in lines:
            _, _, url, _, status, *_ = line.split(" ")
            if originals.offered(url, status):
                originals.add(Path(originals.name))
    return set(map(str, Originals.best(originals.found)))


def preview_of(body: bytes, suffix: str) -> bytes | None:
    """Return the 448-pixel JPEG of a picture that passes, None for others."""
    try:
        picture = frame_of(body) if suffix in {".mp4", ".webm"} else Image.open(io.BytesIO(body))
        picture.load()
        if picture.mode != "RGB" or min(picture.size) < _LEAST:
            return None
        scale = min(1.0, _SIDE / min(picture.size))
        small = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    except Exception:  # Pillow's readers raise nearly every type
        return None
    out = io.BytesIO()
    small.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def frame_of(video: bytes) -> Any:
    """Return the middle frame of a video. Raises `ValueError` where there is none."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(video)
        file.flush()
        capture = cv2.VideoCapture(file.name)
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // 2)
        done, frame = capture.read()
    if not done:
        raise ValueError("no frame")
    return Image.fromarray(frame[:, :, ::-1].copy())


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main()
