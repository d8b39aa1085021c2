"""The floor: the sum of what no miner can leave out, in C libraries called on bytes whose places are known beforehand.

Bare zstandard for each frame, BLAKE2b for each body that ours hashes, libjpeg-turbo (simplejpeg) for each JPEG whose
pixels the gate must see and Pillow's decoder for other formats, the reduction to 448 pixels that `imgmine` makes,
libjpeg-turbo for the preview, and plain writes. Nothing is parsed, chosen, checked or isolated; no tables, no tar
headers, no perceptual hash.
"""

import io
import json
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import zstandard
from PIL import Image
from stages import Stages, job

from imgmine.images.previews import QUALITY, reduced
from imgmine.images.stills import NoStill, still


class _Lane:
    """One of the processes: every n-th frame, from its bytes to its preview."""

    def __init__(self, task: dict[str, Any], lane: int) -> None:
        self.cpu: defaultdict[str, float] = defaultdict(float)
        self.images = 0
        self._task = task
        self._lane = lane

    def run(self) -> None:
        dictionary = bytes.fromhex(self._task["dictionary"])
        decoder = zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(dictionary))
        source = os.open(self._task["warc"], os.O_RDONLY)
        folder = Path(self._task["scratch"])
        with (folder / f"bodies.{self._lane}").open("wb") as bodies, (folder / f"small.{self._lane}").open("wb") as out:
            for offset, length, size, body in self._task["frames"][self._lane :: self._task["lanes"]]:
                with self._at("zstd"):
                    record = decoder.decompress(os.pread(source, length, offset), max_output_size=size)
                if body is None:
                    continue
                view = memoryview(record)[body["start"] : body["start"] + body["size"]]
                with self._at("BLAKE2b"):
                    digest = blake2b(view, digest_size=32).digest()
                if body["keep"]:
                    with self._at("write"):
                        bodies.write(view)
                if body["decode"]:
                    preview = self._preview(view, digest, body["media_type"])
                    with self._at("write"):
                        out.write(preview)
        os.close(source)

    def _preview(self, body: memoryview, digest: bytes, media_type: str) -> bytes:
        payload: bytes | memoryview = body
        if media_type.startswith("video/"):
            with self._at("video frame"):
                try:
                    payload = still(io.BytesIO(body), digest).png
                except NoStill:
                    return b""
        try:
            if media_type == "image/jpeg":
                with self._at("decode JPEG"):
                    # RGBX could be handed to Pillow without a copy, but its resize then takes more than the copy.
                    picture = Image.fromarray(simplejpeg.decode_jpeg(payload, "RGB", strict=False))
            else:
                with self._at("decode others"):
                    picture = Image.open(io.BytesIO(payload))
                    picture.load()
        except Exception:  # damaged on purpose
            return b""
        with self._at("resize"):
            small = np.asarray(reduced(picture))
        with self._at("encode"):
            preview: bytes = simplejpeg.encode_jpeg(small, QUALITY, "RGB", "420")
        self.images += 1
        return preview

    @contextmanager
    def _at(self, name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.cpu[name] += time.process_time() - began


def _run(task: dict[str, Any], lane: int, answers: Connection) -> None:
    worker = _Lane(task, lane)
    worker.run()
    answers.send((worker.images, worker.cpu))


def main() -> None:
    """Run the lanes side by side."""
    task = job()
    task |= json.loads(Path(task["plan"]).read_text())
    stages = Stages()
    images, cpu = 0, defaultdict[str, float](float)
    with stages.stage("all"):
        pipes = []
        for lane in range(task["lanes"]):
            receiver, sender = multiprocessing.Pipe(duplex=False)
            process = multiprocessing.get_context("fork").Process(target=_run, args=(task, lane, sender))
            process.start()
            sender.close()
            pipes.append((process, receiver))
        for process, receiver in pipes:
            done, parts = receiver.recv()
            process.join()
            images += done
            for name, seconds in parts.items():
                cpu[name] += seconds
    stages.cpu = cpu
    stages.report(images)


if __name__ == "__main__":
    main()
