"""What a release costs: choosing among many images, and reading and packing the chosen ones.

Choosing runs on synthetic tables of archives of 24,734 images without pictures; packing on mined shards of synthetic
pictures (noise, 1,000 a shard), whose ranges are counted. Memory is the process's most, by the kernel.
"""

import argparse
import hashlib
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml

from imgmine.archives.item import Item, manifest_bytes
from imgmine.dataset.publishing import publish_dataset
from imgmine.dataset.releases.inputs import read_inputs
from imgmine.dataset.releases.making import make_release
from imgmine.dataset.releases.recipe import Recipe, parse_recipe
from imgmine.dataset.releases.selection import choose
from imgmine.store.local import LocalStore
from imgmine.store.publish import publish
from imgmine.store.shards import ShardWriter
from imgmine.store.tables import ANOMALY_SCORES, FILES, IMAGES, NSFW_SCORES, Provenance

AN_ARCHIVE = 24_734
A_SHARD = 1_000
START = datetime(2023, 5, 1, tzinfo=UTC)


class CountingStore(LocalStore):
    """Counts the ranges that are read of each mined shard."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.ranges: Counter[str] = Counter()

    def get_range(self, key: str, offset: int, size: int) -> bytes:
        self.ranges[key] += 1
        return super().get_range(key, offset, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--choose", type=int, nargs="*", default=[250_000, 1_000_000], help="images to choose among")
    parser.add_argument("--pack", type=int, default=8_000, help="images to pack; 0 for none")
    parser.add_argument("--memory", default="1GB", help="what DuckDB may use")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"Seed {arguments.seed}.\n")
    if arguments.choose:
        print(
            "| images | digests, s | choosing, s | CPU, s | chosen | scratch, bytes an image | most memory so far, MB |"
        )
        print("|---:|---:|---:|---:|---:|---:|---:|")
    for images in arguments.choose:
        bench_choose(images, arguments.memory, arguments.seed)
    if arguments.pack:
        print("\n| content | gathered at a time | images a second of CPU | MB a second of CPU | ranges a mined shard |")
        print("|---|---|---:|---:|---:|")
        bench_pack(arguments.pack, arguments.seed)


def bench_choose(images: int, memory: str, seed: int) -> None:
    with _folder() as folder:
        store = LocalStore(folder / "store")
        rng = np.random.default_rng(seed)
        for number in range(-(-images // AN_ARCHIVE)):
            _put_tables(store, f"archive{number:05d}", min(AN_ARCHIVE, images - number * AN_ARCHIVE), number, rng)
        _own(store, folder)
        recipe = _recipe(select={"percentile_at_least": 5, "nsfw_below": 0.5}, holdout={"share": 0.01})
        scratch = folder / "scratch"
        scratch.mkdir()
        started = time.perf_counter()
        inputs = read_inputs(store, folder / "mirror", recipe)
        digests, cpu = time.perf_counter() - started, time.process_time()
        started = time.perf_counter()
        with choose(recipe, inputs, scratch, memory=memory) as chosen:
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            used = sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file())
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
            print(
                f"| {images:,} | {digests:.1f} | {seconds:.1f} | {cpu:.1f} | {chosen.images:,} | {used / images:.0f} "
                f"| {most:.0f} |"
            )


def bench_pack(images: int, seed: int) -> None:
    with _folder() as folder:
        store = CountingStore(folder / "store")
        rng = np.random.default_rng(seed)
        for number in range(-(-images // (2 * A_SHARD))):
            _put_pictures(store, f"archive{number:05d}", min(2 * A_SHARD, images - 2 * number * A_SHARD), folder, rng)
        _own(store, folder)
        for content, group in (("originals", None), ("originals", 1), ("previews", None)):
            recipe = _recipe(content=content, shard_images=A_SHARD, layouts=["webdataset", "parquet"])
            shutil.rmtree(store.root / "releases", ignore_errors=True)
            store.ranges.clear()
            scratch = folder / "scratch"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            cpu = time.process_time()
            release = make_release(store, recipe, None, folder / "mirror", scratch, group_bytes=group).release
            cpu = time.process_time() - cpu
            ranges = [count for key, count in store.ranges.items() if key.startswith(("files/", "previews/"))]
            print(
                f"| {content} | {'all shards' if group is None else 'one shard'} | {release.images / cpu:,.0f} "
                f"| {release.size / cpu / 1e6:.0f} | {sum(ranges) / len(ranges):.0f} |"
            )


def _put_tables(store: LocalStore, archive: str, rows: int, number: int, rng: np.random.Generator) -> None:
    digests = np.sort(rng.integers(0, 256, (rows, 32), np.uint8).view("S32").ravel())
    names = [bytes(digest).ljust(32, b"\0") for digest in digests]
    _put_manifest(store, archive, number)
    files = [
        {
            **_file(name, archive, row),
            "size": 200_000,
            "shard": f"files/{archive}/{row // 5000:05d}-{'0' * 32}.tar",
            "shard_offset": 512 + 200_000 * (row % 5000),
            **{hashed: rng.bytes(length) for hashed, length in (("md5", 16), ("sha1", 20), ("sha256", 32))},
        }
        for row, name in enumerate(names)
    ]
    images = [_image(name, archive, 80_000 * row, 80_000) for row, name in enumerate(names)]
    _publish(store, archive, names, files, images, rng)


def _put_pictures(store: LocalStore, archive: str, rows: int, folder: Path, rng: np.random.Generator) -> None:
    payloads = {
        hashlib.blake2b(data, digest_size=32).digest(): data for data in (rng.bytes(60_000) for _ in range(rows))
    }
    names = sorted(payloads)
    _put_manifest(store, archive, 0)
    files, images = [], []
    with ShardWriter(folder / "draft", f"files/{archive}", A_SHARD * 61_000) as writer:
        members = [writer.add(f"{name.hex()}.jpg", payloads[name]) for name in names]
    preview = _preview()
    with ShardWriter(folder / "draft-previews", f"previews/{archive}", 1 << 30) as previews:
        places = [previews.add(f"{name.hex()}.jpg", preview) for name in names]
    for shard in (*writer.shards, *previews.shards):
        store.put_file(shard.key, shard.path)
    for row, (name, member, place) in enumerate(zip(names, members, places, strict=True)):
        where = {"size": 60_000, "shard": writer.shards[member.shard].key, "shard_offset": member.offset}
        hashes = {hashed: hashlib.new(hashed, payloads[name]).digest() for hashed in ("md5", "sha1", "sha256")}
        files.append({**_file(name, archive, row), **where, **hashes})
        image = _image(name, archive, place.offset, len(preview))
        images.append({**image, "preview_shard": previews.shards[place.shard].key})
    _publish(store, archive, names, files, images, rng)


def _preview() -> bytes:
    from PIL import Image

    from imgmine.images.previews import preview_jpeg

    coarse = np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8)
    return preview_jpeg(Image.fromarray(coarse).resize((598, 448)))


def _file(name: bytes, archive: str, row: int) -> dict[str, object]:
    return {
        "blake2b": name,
        "media_type": "image/jpeg",
        "extension": "jpg",
        "media_id": name.hex()[:7],
        "url": f"https://i.imgur.com/{name.hex()[:7]}.jpg",
        "captured_at": START + timedelta(seconds=row),
        "last_modified": START - timedelta(seconds=row),
        "warc_file": f"{archive}.megawarc.warc.zst",
        "warc_offset": 200_000 * row,
        "warc_length": 200_500,
    }


def _image(name: bytes, archive: str, offset: int, size: int) -> dict[str, object]:
    return {
        "blake2b": name,
        "width": 640,
        "height": 480,
        "mode": "RGB",
        "format": "JPEG",
        "frames": 1,
        "decision": "kept",
        "preview_shard": f"previews/{archive}/00000-{'0' * 32}.tar",
        "preview_offset": offset,
        "preview_size": size,
        "dhash": 1,
    }


def _publish(
    store: LocalStore,
    archive: str,
    names: list[bytes],
    files: list[dict[str, object]],
    images: list[dict[str, object]],
    rng: np.random.Generator,
) -> None:
    chances = rng.random((len(names), 2)).tolist()
    scores = [
        {"blake2b": name, "log_likelihood": 1.0, "percentile": 100 * chance, "decision": "kept"}
        for name, (chance, _) in zip(names, chances, strict=True)
    ]
    nsfw = [
        {"blake2b": name, "probability": chance**4, "decision": "shown"}
        for name, (_, chance) in zip(names, chances, strict=True)
    ]
    for table, rows, schema in (
        ("files", files, FILES),
        ("images", images, IMAGES),
        ("anomaly_scores", scores, ANOMALY_SCORES),
        ("nsfw_scores", nsfw, NSFW_SCORES),
    ):
        publish(store, archive, {table: pa.Table.from_pylist(rows, schema)}, Provenance("bench", "1", "0"))


def _put_manifest(store: LocalStore, archive: str, number: int) -> None:
    item = Item(archive, START + timedelta(days=number), None, 1, dark=False, restricted=False, files=())
    store.put_bytes(f"manifests/{archive}.json", manifest_bytes(item))


def _own(store: LocalStore, folder: Path) -> None:
    scratch = folder / "own"
    scratch.mkdir()
    publish_dataset(store, folder / "mirror", scratch)


def _recipe(**said: object) -> Recipe:
    return parse_recipe(yaml.safe_dump({"name": "bench", "description": "Bench.", "licence": "None.", **said}), "bench")


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-release-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
