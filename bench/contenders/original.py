"""The way of the original script: decompress to disk, warcio to files, hash, choose, Pillow, tar, one after the other.

One process, one step over all files before the next. It makes no previews and no perceptual hashes, keeps no ledger,
and takes a frame of a video at random. Of the formats Pillow reads, all are opened.
"""

import hashlib
import random
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import cv2
from by_url import Originals
from PIL import Image
from stages import Stages, job
from warcio.archiveiterator import ArchiveIterator


def main() -> None:
    """Run the steps."""
    task = job()
    scratch = Path(task["scratch"])
    stages = Stages()
    with stages.stage("decompress to disk"):
        decompress(task, scratch / "archive.warc")
    with stages.stage("warcio to files"):
        unpacked = unpack(scratch / "archive.warc", scratch / "media")
    with stages.stage("hash, choose"):
        files = unique(unpacked)
    with stages.stage("stills"):
        files = [picture for path in files if (picture := as_picture(path)) is not None]
    with stages.stage("Pillow"):
        accepted = [path for path in files if passes(path)]
    with stages.stage("tar"), tarfile.open(scratch / "accepted.tar", "w") as tar:
        for path in accepted:
            tar.add(path, path.name)
    stages.report(len(accepted))


def decompress(task: dict[str, Any], out: Path) -> None:
    dictionary = out.with_name("dictionary")
    dictionary.write_bytes(bytes.fromhex(task["dictionary"]))
    with out.open("wb") as stream:
        subprocess.run(
            ["zstd", "-d", "-c", "--long=31", "-D", str(dictionary), task["warc"]],
            stdout=stream,
            stderr=subprocess.DEVNULL,
            check=True,
        )


def unpack(warc: Path, folder: Path) -> list[tuple[Path, str]]:
    """Write each original's body into a file; return the files and their media ids."""
    folder.mkdir()
    originals = Originals()
    with warc.open("rb") as stream:
        for record in ArchiveIterator(stream):
            if record.rec_type != "response" or not originals.wanted(record):
                continue
            body = record.content_stream().read()
            if body:
                path = folder / f"{len(originals.found):06d}{Path(originals.name).suffix}"
                path.write_bytes(body)
                originals.add(path)
    return originals.found


def unique(files: list[tuple[Path, str]]) -> list[Path]:
    """Hash each file by reading it again; keep one of each, of the best format of its id."""
    best = Originals.best(files)
    seen = set()
    kept = []
    for path in best:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=32)).digest()
        if digest not in seen:
            seen.add(digest)
            kept.append(path)
    return kept


def as_picture(path: Path) -> Path | None:
    """Return the file itself, or of a video a random frame as PNG."""
    if path.suffix not in {".mp4", ".webm"}:
        return path
    video = cv2.VideoCapture(str(path))
    video.set(cv2.CAP_PROP_POS_FRAMES, random.randrange(max(1, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))))
    done, frame = video.read()
    if not done:
        return None
    cv2.imwrite(str(path.with_suffix(".png")), frame)
    return path.with_suffix(".png")


def passes(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            picture.verify()
        with Image.open(path) as picture:
            picture.load()
            return picture.mode == "RGB" and min(picture.size) >= 128
    except Exception:  # Pillow's readers raise nearly every type
        return False


if __name__ == "__main__":
    main()
