"""How fast the `embeddings` stage is beside onnxruntime alone on ready-made batches, and how much memory it takes.

    python bench/embed.py                      EfficientNet-Lite0, CLIP ViT-B/32's and B/16's architectures
    python bench/embed.py MODEL --provider cuda

onnxruntime alone runs the same model on the same number of threads: once as its own threads share each batch, once in
as many workers of one thread each, which is how the stage runs it on a processor; of some batches the best counts.
Rounds alternate, and each figure is the best round's. The stage reads JPEG previews, decodes, resizes, embeds and makes
the table. CLIP's weights are random, of seed 0. Memory is the peak of a process that runs the asset, Dagster and all.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from random_weights.clip_onnx import ARCHITECTURES, make_model

from imgmine.models.checking import sample_previews
from imgmine.models.embedder import Embedder, embed_archive, load_embedder
from imgmine.models.providers import Provider, available_providers, open_session
from imgmine.store.tables import IMAGES

BATCHES = (2, 4, 16)
MODELS = ("efficientnet-lite0", "clip-vit-b-32", "clip-vit-b-16")


class Best:
    """The best wall and CPU seconds of some rounds."""

    def __init__(self) -> None:
        self.wall = self.cpu = float("inf")

    def time(self, work: Callable[[], object]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        self.wall = min(self.wall, time.perf_counter() - wall)
        self.cpu = min(self.cpu, time.process_time() - cpu)


def archive_of(previews: list[bytes]) -> tuple[pa.Table, bytes]:
    """An `images` table over previews that lie one behind the other in a shard."""
    rows, shard = [], bytearray()
    for number, preview in enumerate(previews):
        place = {"preview_shard": "shard", "preview_offset": len(shard), "preview_size": len(preview)}
        rows.append({"blake2b": number.to_bytes(32, "big"), "decision": "kept", "width": 640, "height": 480, **place})
        shard += preview
    return pa.Table.from_pylist(rows, schema=IMAGES), bytes(shard)


def alone(embedder: Embedder, inputs: np.ndarray, threads: int) -> dict[str, Callable[[], object]]:
    """onnxruntime on ready-made batches, by what it is called."""
    card = embedder.card
    ways: dict[str, Callable[[], object]] = {}
    own, _ = open_session(card.model_path, [embedder.provider], threads=threads)
    single, _ = open_session(card.model_path, [embedder.provider])

    def run(session: Any, batch: int, workers: int) -> None:
        parts = [inputs[start : start + batch] for start in range(0, len(inputs), batch)]
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda part: session.run([card.output], {card.input: part}), parts))

    for batch in BATCHES:
        ways[f"its own threads, batch {batch}"] = partial(run, own, batch, 1)
        if embedder.provider is Provider.CPU:
            ways[f"a worker a thread, batch {batch}"] = partial(run, single, batch, threads)
    return ways


def speed(name: str, model: str, images: int, rounds: int, threads: int, provider: Provider) -> None:
    embedder = load_embedder(model, threads=threads, providers=[provider])
    previews = (sample_previews(images) * (images // 64 + 1))[:images]
    table, shard = archive_of(previews)
    size = embedder.card.size
    inputs = np.random.default_rng(0).standard_normal((images, 3, size, size), np.float32)
    ways = {**alone(embedder, inputs, threads)}
    ways["ours"] = lambda: embed_archive("archive", table, lambda key, at, many: shard[at : at + many], embedder)
    best = {way: Best() for way in ways}
    for _ in range(rounds):
        for way, work in ways.items():
            best[way].time(work)
    ours = best.pop("ours")
    for kind in ("its own threads", "a worker a thread"):
        if not (of_kind := {way: found for way, found in best.items() if way.startswith(kind)}):
            continue
        way, found = min(of_kind.items(), key=lambda item: item[1].wall)
        leanest = min(other.cpu for other in of_kind.values())
        print(
            f"| {name} | {way} | {images / found.wall:.1f} | {images / ours.wall:.1f} | {found.wall / ours.wall:.2f} | "
            f"{images / leanest:.1f} | {images / ours.cpu:.1f} | {leanest / ours.cpu:.2f} |",
            flush=True,
        )


def memory(names: list[str], folders: dict[str, str]) -> None:
    """Mine a small archive as far as its images, then run `embeddings` in a process for each model."""
    print("\n| the asset `embeddings` | peak MiB | images | seconds |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as home:
        step(home, "images", "efficientnet-lite0")
        for name in names:
            shown = step(home, "embeddings", folders.get(name, name))
            print(f"| {name} | {shown} |", flush=True)


def step(home: str, asset: str, model: str) -> str:
    environ = {**os.environ, "IMGMINE_HOME": home, "IMGMINE_EMBEDDER": model}
    command = [sys.executable, "-W", "ignore", __file__, "--step", asset]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.strip().splitlines()[-1]


def run_step(asset: str) -> None:
    """In a process of its own: run the graph up to an asset, and print the peak of memory."""
    import dagster as dg

    from imgmine.demo.archives import make_archives
    from imgmine.demo.exchanges import Kind
    from imgmine.demo.server import serve
    from imgmine.settings import load_settings
    from imgmine_assets.definitions import build_defs
    from imgmine_assets.partitions import add_archives

    settings = load_settings()
    root = settings.home / "archive.org"
    if asset == "images":
        make_archives(root, kinds=[Kind.MAY_3], records=300)
    chosen = ["raw_archives", "unique_files", "images"] if asset == "images" else [asset]
    archive = min(path.parent.name for path in root.glob("*/item.json"))
    started = time.monotonic()
    with serve(root) as server, dg.instance_for_test(temp_dir=str(settings.home)) as instance:
        environ = {"IMGMINE_HOME": str(settings.home), "IMGMINE_ARCHIVE_ORG": server.url}
        defs = build_defs(settings=load_settings({**os.environ, **environ}))
        add_archives(instance, [archive])
        done = defs.resolve_job_def("mine_archive").execute_in_process(
            instance=instance,
            partition_key=archive,
            asset_selection=[dg.AssetKey(name) for name in chosen],
            run_config={"loggers": {"console": {}}},
        )
    assert done.success
    rows = pq.read_metadata(settings.home / "store" / asset / f"{archive}.parquet").num_rows
    print(f"{_peak_mib():.0f} | {rows} | {time.monotonic() - started:.1f}")


def _peak_mib() -> float:
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help="names or model folders")
    parser.add_argument("--images", type=int, default=64, help="images a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--provider", type=Provider, default=available_providers()[0], choices=list(Provider))
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        run_step(arguments.step)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folders = {}
        for name in arguments.models:
            if name in ARCHITECTURES:
                folders[name] = str(Path(scratch) / name)
                make_model(name, Path(folders[name]))
        if not arguments.no_speed:
            print(f"{arguments.provider}, {arguments.threads} threads; images a second\n")
            print("| model | onnxruntime alone | it | ours | ratio | it, a CPU s | ours, a CPU s | ratio |")
            print("|---|---|---|---|---|---|---|---|")
            for name in arguments.models:
                speed(
                    name,
                    folders.get(name, name),
                    arguments.images,
                    arguments.rounds,
                    arguments.threads,
                    arguments.provider,
                )
        if not arguments.no_memory:
            memory(arguments.models, folders)


if __name__ == "__main__":
    main()
