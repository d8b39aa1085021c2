"""Near-duplicates: what is found of planted copies, beside pHash, PDQ and vectors alone; and what a million cost.

python bench/near_duplicates.py [--seed 0]                  copies of the demo's photographs, precision and recall
python bench/near_duplicates.py --images 1000000            sketches and codes of so many, random, with planted pairs

The first runs the whole stage over a store that it makes, with the embedded model. The second runs all but the pixels,
whose cost a pair the first one tells. With --faiss, faiss-cpu is measured on the same codes, if it is installed.
"""

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from imgmine.dataset import near_duplicates as stage
from imgmine.dataset.candidates import CandidateSpool
from imgmine.dataset.near_items import gather
from imgmine.dataset.near_pairs import CODE, Measure, find_pairs
from imgmine.dataset.sketches import LEAST_QUALITY, SKETCH
from imgmine.demo import copies, screens_drawn
from imgmine.demo.photographs import reference_photographs
from imgmine.images.hashes import pdq
from imgmine.images.previews import preview_jpeg, reduced
from imgmine.models.embedder import load_embedder
from imgmine.models.vectors import embeddings_table
from imgmine.store.local import LocalStore
from imgmine.store.publish import publish
from imgmine.store.tables import IMAGES, Provenance

ARCHIVES = 3


@dataclass
class Picture:
    """A picture of the set; those of one `truth` are copies of each other."""

    truth: str
    kind: str
    picture: Image.Image


def planted(seed: int, most: int) -> Iterator[Picture]:
    rng = random.Random(seed)
    photographs = []
    for path in sorted(rng.sample(reference_photographs(), most)):
        with Image.open(path) as image:
            photographs.append((path.stem, image.convert("RGB")))
    for name, photograph in photographs:
        yield Picture(name, "the photograph", photograph)
        yield from (Picture(name, kind, changed(photograph, rng)) for kind, changed in CHANGES.items())
    for name, photograph in photographs:
        width, height = photograph.size
        for number, left in enumerate((0, width * 38 // 100)):
            beside = photograph.crop((left, 0, left + width * 62 // 100, height * 62 // 100))
            yield Picture(f"{name} crop {number}", "neighbouring crops", beside)
        for number in range(2):
            other = copies.another_of_a_series(photograph, rng.choice(photographs)[1], rng)
            yield Picture(f"{name} series {number}", "a series", copies.recompressed(other, 85))
    yield from screens(rng)
    yield from blank(seed)


CHANGES: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "recompressed, quality 30": lambda picture, rng: copies.recompressed(picture, 30),
    "recompressed, quality 60": lambda picture, rng: copies.recompressed(picture, 60),
    "recompressed, quality 90": lambda picture, rng: copies.recompressed(picture, 90),
    "resized to 0.3": lambda picture, rng: copies.recompressed(copies.resized(picture, 0.3), 85),
    "resized to 0.5": lambda picture, rng: copies.recompressed(copies.resized(picture, 0.5), 85),
    "resized to 2": lambda picture, rng: copies.recompressed(copies.resized(picture, 2.0), 85),
    "2% cropped": lambda picture, rng: copies.recompressed(copies.cropped(picture, 0.02, rng), 85),
    "5% cropped": lambda picture, rng: copies.recompressed(copies.cropped(picture, 0.05, rng), 85),
    "10% cropped": lambda picture, rng: copies.recompressed(copies.cropped(picture, 0.1, rng), 85),
    "mirrored": lambda picture, rng: copies.recompressed(copies.mirrored(picture), 80),
    "mirrored, 5% cropped": lambda picture, rng: copies.recompressed(
        copies.mirrored(copies.cropped(picture, 0.05, rng)), 80
    ),
    "text across it": lambda picture, rng: copies.recompressed(copies.captioned(picture, rng), 85),
    "under a caption of 12%": lambda picture, rng: copies.recompressed(copies.under_a_caption(picture, 0.12, rng), 85),
    "under a caption of 20%": lambda picture, rng: copies.recompressed(copies.under_a_caption(picture, 0.2, rng), 85),
}


def screens(rng: random.Random) -> Iterator[Picture]:
    """Screens of the same layout with other words, and drawn ones of one kind."""
    for layout, head in enumerate([(30, 60, 120), (20, 20, 20), (160, 40, 40), (40, 120, 60)]):
        for number in range(8):
            page = Image.new("RGB", (600, 800), "white")
            pen = ImageDraw.Draw(page)
            pen.rectangle((0, 0, 600, 60), fill=head)
            pen.text((20, 15), "The name of the site", "white", screens_drawn.font(26))
            for line in range(14):
                text = screens_drawn.sentence(rng, 8)
                pen.text((30, 80 + line * (36 + 4 * layout)), text, "black", screens_drawn.font(16 + layout))
            yield Picture(f"layout {layout} {number}", "screens of one layout", page)
    for draw in (screens_drawn.draw_game, screens_drawn.draw_chat, screens_drawn.draw_text_page):
        for number in range(12):
            screen = draw(rng, (640, 480)).convert("RGB")
            yield Picture(f"{draw.__name__} {number}", "screens of one kind", screen)


def blank(seed: int) -> Iterator[Picture]:
    noise = np.random.default_rng(seed)
    for number in range(40):
        colour = (255, 255, 255) if number % 2 else tuple(noise.integers(0, 256, 3).tolist())
        pixels = colour + noise.normal(0, 1.5 * (number % 3), (400, 500, 3))
        picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        if number % 4 == 3:
            ImageDraw.Draw(picture).text((200, 180), str(number), "black", screens_drawn.font(30))
        yield Picture(f"blank {number}", "blank or nearly", picture)


@dataclass
class Known:
    """What is known of the pictures, in their order."""

    truth: list[str]
    kind: list[str]
    digests: list[bytes]
    pixels: list[int]
    pdq: np.ndarray
    quality: np.ndarray
    phash: np.ndarray
    vectors: np.ndarray


def fill(store: LocalStore, seed: int, most: int) -> Known:
    """Publish the set as archives, and return what is known of it."""
    embedder = load_embedder("efficientnet-lite0")
    truth, kind, previews, phashes = [], [], [], []
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(planted(seed, most)):
        small = reduced(one.picture)
        preview, hashed = preview_jpeg(small), pdq(small, one.picture.size)
        previews.append(preview)
        phashes.append(phash(small))
        truth.append(one.truth)
        kind.append(one.kind)
        rows.append(
            {
                "blake2b": random.Random(f"{seed} {number}").randbytes(32),
                "width": one.picture.width,
                "height": one.picture.height,
                "mode": "RGB",
                "format": "JPEG",
                "decision": "kept",
                "preview_shard": f"previews/archive_{number % ARCHIVES}/00000.tar",
                "preview_size": len(preview),
                "pdq": hashed.hash,
                "pdq_quality": hashed.quality,
            }
        )
    vectors = np.concatenate(list(embedder.embed(previews)))
    for archive in range(ARCHIVES):
        name, mine = f"archive_{archive}", range(archive, len(rows), ARCHIVES)
        offsets = np.cumsum([0, *(len(previews[number]) for number in mine)])
        for number, offset in zip(mine, offsets[:-1].tolist(), strict=True):
            rows[number]["preview_offset"] = offset
        store.put_bytes(f"previews/{name}/00000.tar", b"".join(previews[number] for number in mine))
        table = pa.Table.from_pylist([rows[number] for number in mine], IMAGES).sort_by("blake2b")
        publish(store, name, {"images": table}, Provenance("images", "bench", str(seed)))
        embedded = embeddings_table([rows[number]["blake2b"] for number in mine], vectors[list(mine)])
        about = {"model": embedder.version}
        publish(store, name, {"embeddings": embedded}, Provenance("embeddings", "bench", str(seed)), extra=about)
    return Known(
        truth,
        kind,
        [row["blake2b"] for row in rows],
        [row["width"] * row["height"] for row in rows],
        np.array([list(row["pdq"]) for row in rows], np.uint8),
        np.array([row["pdq_quality"] for row in rows]),
        np.array(phashes, np.uint64),
        vectors,
    )


def phash(picture: Image.Image) -> int:
    """Return the 64-bit pHash, as the package imagehash makes it: 8 × 8 of the cosines of 32 × 32, by their median."""
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS), np.float32)
    waves = cv2.dct(grey)[:8, :8].ravel()
    return int.from_bytes(np.packbits(waves > np.median(waves)).tobytes(), "big")


def found_by_stage(store: LocalStore, folder: Path, known: Known) -> tuple[np.ndarray, str]:
    """Return for each picture the number of the one that is kept for it, and a line on the costs."""
    embedder = load_embedder("efficientnet-lite0")
    scratch = folder / "scratch"
    scratch.mkdir()

    def usual() -> np.ndarray:
        return np.concatenate(list(embedder.embed(path.read_bytes() for path in reference_photographs())))

    before = time.process_time()
    summary = stage.publish_near_duplicates(
        store, folder / "mirror", scratch, embedder=embedder.version, usual_vectors=usual
    )
    spent = time.process_time() - before
    number = {digest: place for place, digest in enumerate(known.digests)}
    kept = np.arange(len(known.digests))
    for row in pq.read_table(store.local_copy(stage.NEAR_DUPLICATES_KEY, scratch)).to_pylist():
        kept[number[row["blake2b"]]] = number[row["kept_blake2b"]]
    costs = (
        f"{summary.images} of {len(kept)} pictures compared (the others: PDQ quality below {LEAST_QUALITY}), "
        f"{summary.judged} pairs laid beside each other; {spent:.1f} CPU s in all, {1000 * spent / summary.judged:.0f} "
        f"ms a pair. {summary.groups} groups, {summary.dropped} not kept: {dict(summary.by_how)}"
    )
    return kept, costs


def quality(seed: int, photographs: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = LocalStore(folder / "store")
        known = fill(store, seed, photographs)
        kept, costs = found_by_stage(store, folder, known)
    count = len(kept)
    names, truths = np.unique(known.truth, return_inverse=True)
    one, other = np.triu_indices(count, 1)
    same = truths[one] == truths[other]
    print(f"{count} pictures, {len(names)} of them different, {same.sum()} pairs of copies. {costs}\n")
    turned = known.pdq ^ np.uint8(0x55)
    pdq_apart = np.bitwise_count(known.pdq[one] ^ known.pdq[other]).sum(axis=1)
    either = np.minimum(pdq_apart, np.bitwise_count(known.pdq[one] ^ turned[other]).sum(axis=1))
    distances = {
        "pHash alone": np.bitwise_count(known.phash[one] ^ known.phash[other]).astype(float),
        "PDQ alone": pdq_apart.astype(float),
        "PDQ and mirrored PDQ": either.astype(float),
        "vectors alone": 1 - (known.vectors @ known.vectors.T)[one, other],
    }
    found = {"ours": kept[one] == kept[other]}
    print("| | threshold | precision | recall | F1 |\n|---|---|---|---|---|")
    print(row_of("ours", "", found["ours"], same))
    for name, apart in distances.items():
        threshold = best_threshold(apart, same)
        found[name] = apart <= threshold
        shown = f"cosine {1 - threshold:.3f}" if name.startswith("vectors") else f"{threshold:.0f} bits"
        print(row_of(name, shown, found[name], same))
        if name.startswith("PDQ"):
            print(row_of(name, "31 bits", apart <= 31, same))
    by_kind(known, found, one, other, same)


def row_of(name: str, threshold: str, found: np.ndarray, same: np.ndarray) -> str:
    hits = int((found & same).sum())
    precision, recall = hits / max(1, int(found.sum())), hits / int(same.sum())
    return f"| {name} | {threshold} | {precision:.3f} | {recall:.3f} | {2 * hits / (found.sum() + same.sum()):.3f} |"


def best_threshold(apart: np.ndarray, same: np.ndarray) -> float:
    """Return the distance up to which calling pairs copies gives the best F1."""
    order = np.argsort(apart, kind="stable")
    ranked, hits = apart[order], np.cumsum(same[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + same.sum())
    last_of_value = np.append(ranked[1:] != ranked[:-1], True)
    return float(ranked[np.argmax(np.where(last_of_value, f1, 0))])


def by_kind(known: Known, found: dict[str, np.ndarray], one: np.ndarray, other: np.ndarray, same: np.ndarray) -> None:
    """Print what share of each kind's copies is a pair with the photograph, and which wrong pairs there are."""
    kinds = np.array(known.kind)
    print(f"\n| found with the photograph | n | {' | '.join(found)} |\n|---|---|{'---|' * len(found)}")
    for kind in CHANGES:
        pairs = same & (kinds[one] == "the photograph") & (kinds[other] == kind)
        shares = [f"{hits[pairs].mean():.1%}" for hits in found.values()]
        print(f"| {kind} | {pairs.sum()} | {' | '.join(shares)} |")
    print(f"\n| wrong pairs | possible | {' | '.join(found)} |\n|---|---|{'---|' * len(found)}")
    different = list(dict.fromkeys(kind for kind in known.kind if kind not in CHANGES and kind != "the photograph"))
    group = np.array([kind if kind in different else "photographs" for kind in known.kind])
    for kind in ["photographs", *different]:
        pairs = (
            ~same
            & ((group[one] == kind) | (group[other] == kind))
            & ((group[one] == group[other]) | (kind != "photographs"))
        )
        print(f"| {kind} | {pairs.sum()} | {' | '.join(str(int(hits[pairs].sum())) for hits in found.values())} |")


def scale(count: int, seed: int, topics: int, part_rows: int, with_faiss: bool) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        print(f"{count:,} images, {topics:,} topics, seed {seed}\n")
        print("| step | CPU s | µs an image | peak MiB | |\n|---|---|---|---|---|", flush=True)
        for measure, rates in (
            (stage.PDQ_MEASURE, (0.04, 0.08, 0.1, 0.12)),
            (stage.VECTOR_MEASURE, (0.08, 0.12, 0.16, 0.2)),
        ):
            codes, planted_pairs = write_codes(folder, count, seed, topics, measure, rates)
            spool = CandidateSpool(folder / f"{measure.name} spool", stage.MOST_CANDIDATES)
            before = time.process_time()
            for pairs in find_pairs(codes, measure, folder, most=stage.MOST_CANDIDATES, part_rows=part_rows):
                spool.add(pairs)
            hit, total, every = recall(spool, planted_pairs)
            spent = time.process_time() - before
            shares = ", ".join(f"{bits} bits {hit[bits] / total[bits]:.1%}" for bits in sorted(total))
            wrong = every - sum(hit.values())
            print(line(f"pairs of {measure.name}", spent, count, f"{shares}; {wrong:,} others"), flush=True)
            if with_faiss:
                beside_faiss(codes, planted_pairs, measure)
        sketches = folder / "sketches"
        holdings = write_sketches(sketches, count, seed)
        scratch = folder / "gathered"
        scratch.mkdir()
        before = time.process_time()
        items = gather(sketches, holdings, (), scratch)
        spent = time.process_time() - before
        print(line("put in order of precedence", spent, count, f"{len(items):,} distinct of {len(holdings)} archives"))


def line(step: str, spent: float, count: int, told: str) -> str:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"| {step} | {spent:.1f} | {1e6 * spent / count:.1f} | {peak:.0f} | {told} |"


def write_codes(
    folder: Path, count: int, seed: int, topics: int, measure: Measure, rates: tuple[float, ...]
) -> tuple[Path, np.ndarray]:
    """Write random codes; one in 20 is an earlier one with a share of its bits changed, by one of the rates.

    Codes are 30% of the bits away from their topic's: two of a topic differ in 108 bits, two of others in 128. Return
    the file and the planted pairs that are within the radius: later, earlier, and how many bits were to differ.
    """
    rng = np.random.default_rng(seed)
    chunk = min(1 << 18, count // 4)
    middles = rng.integers(0, 256, (topics, 32), np.uint8)
    path = folder / f"{measure.name}.codes"
    pairs = []
    with path.open("wb") as out:
        former = np.empty((0, 32), np.uint8)
        for start in range(0, count, chunk):
            size = min(chunk, count - start)
            codes = middles[rng.integers(0, topics, size)] ^ changes(rng, np.full(size, 0.3))
            if len(former):
                again = rng.choice(size, size // 20, replace=False)
                source = rng.choice(len(former), len(again), replace=False)
                rate = rng.choice(rates, len(again))
                changed = changes(rng, rate)
                codes[again] = former[source] ^ changed
                within = np.bitwise_count(changed).sum(axis=1) <= measure.radius
                ranks = np.stack([start + again, start - len(former) + source, np.rint(rate * 256).astype(np.intp)], 1)
                pairs.append(ranks[within])
            rows = np.empty(size, CODE)
            rows["rank"] = np.arange(start, start + size)
            rows["words"] = codes.view("<u8")
            out.write(rows.data)
            former = codes
    return path, np.concatenate(pairs)


def changes(rng: np.random.Generator, rates: np.ndarray) -> np.ndarray:
    """Return as many codes, in each of which a bit is set with the rate's probability."""
    thresholds = np.rint(rates * 65536).astype(np.uint16)[:, None]
    return np.packbits(rng.integers(0, 65536, (len(rates), 256), np.uint16) < thresholds, axis=1)


def recall(spool: CandidateSpool, planted_pairs: np.ndarray) -> tuple[dict[int, int], dict[int, int], int]:
    """Return, by bits, how many planted pairs are among the candidates and how many there are; and all candidates."""
    asked = (planted_pairs[:, 0].astype(np.uint64) << np.uint64(32)) | planted_pairs[:, 1].astype(np.uint64)
    hit = {int(bits): 0 for bits in np.unique(planted_pairs[:, 2])}
    total = {bits: int((planted_pairs[:, 2] == bits).sum()) for bits in hit}
    every = 0
    for pairs in spool.by_image(1 << 18):
        names = (pairs["later"].astype(np.uint64) << np.uint64(32)) | pairs["earlier"].astype(np.uint64)
        every += len(names)
        there = np.isin(asked, names)
        for bits in total:
            hit[bits] += int((there & (planted_pairs[:, 2] == bits)).sum())
    return hit, total, every


def beside_faiss(codes: Path, planted_pairs: np.ndarray, measure: Measure) -> None:
    try:
        import faiss
    except ImportError:
        return
    faiss.omp_set_num_threads(1)
    rows = np.fromfile(codes, CODE)
    vectors = np.ascontiguousarray(rows["words"]).view(np.uint8)
    quantizer = faiss.IndexBinaryFlat(256)
    lists = max(64, 1 << int(np.log2(len(rows)) / 2 + 2))
    index = faiss.IndexBinaryIVF(quantizer, 256, lists)
    before = time.process_time()
    index.train(vectors[:: max(1, len(rows) // (lists * 40))])
    index.add(vectors)
    for probes in (1, 8):
        index.nprobe = probes
        trained = time.process_time() - before if probes == 1 else 0.0
        started = time.process_time()
        hits = dict.fromkeys(np.unique(planted_pairs[:, 2]).tolist(), 0)
        near = index.search(vectors, 1 + stage.MOST_CANDIDATES)[1]
        spent = time.process_time() - started + trained
        there = (near[planted_pairs[:, 0]] == planted_pairs[:, 1][:, None]).any(axis=1)
        for bits in hits:
            hits[bits] = there[planted_pairs[:, 2] == bits].mean()
        shares = ", ".join(f"{bits} bits {share:.1%}" for bits, share in hits.items())
        print(line(f"faiss, {lists} lists, {probes} probed, as they are", spent, len(rows), shares))


def write_sketches(folder: Path, count: int, seed: int, archives: int = 64, repeats: float = 0.1) -> dict[str, int]:
    """Write sketches of so many images over 64 archives; a tenth of an archive's files is in the first one too."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    first = None
    for archive in range(archives):
        size = count // archives
        digests = rng.integers(0, 256, (size, 32), np.uint8)
        if first is not None:
            digests[: int(size * repeats)] = first[: int(size * repeats)]
        first = digests if first is None else first
        columns = [digests, rng.integers(0, 256, (size, 32), np.uint8), rng.integers(0, 256, (size, 32), np.uint8)]
        fixed = [
            pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), size, [None, pa.py_buffer(column.tobytes())])
            for column in columns
        ]
        shard = pa.array(np.full(size, f"previews/archive_{archive:03d}/00000-{'0' * 32}.tar"))
        offsets = pa.array(np.arange(size) * 80_000)
        sizes = pa.array(rng.integers(40_000, 120_000, size))
        pixels = pa.array(rng.integers(1 << 14, 1 << 24, size))
        table = pa.table([fixed[0], pixels, fixed[1], fixed[2], shard, offsets, sizes], schema=SKETCH)
        pq.write_table(table, folder / f"archive_{archive:03d}.parquet", compression="zstd")
    return {f"archive_{archive:03d}": archive for archive in range(archives)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photographs", type=int, default=79, help="how many of the demo's are copied")
    parser.add_argument("--images", type=int, help="how many images to make codes and sketches of")
    parser.add_argument("--topics", type=int, default=1000, help="that random codes are gathered around")
    parser.add_argument("--part-rows", type=int, default=1 << 20, help="codes that are in memory at once")
    parser.add_argument("--faiss", action="store_true", help="measure faiss-cpu's binary IVF on the same codes")
    options = parser.parse_args()
    if options.images:
        scale(options.images, options.seed, options.topics, options.part_rows, options.faiss)
    else:
        quality(options.seed, options.photographs)


if __name__ == "__main__":
    main()
