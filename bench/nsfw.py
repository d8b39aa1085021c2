"""NSFW scores: what scoring previews changes, how many harmless pictures are hidden, and the speed.

python bench/nsfw.py --seed 0       over the demo's photographs, memes, damaged and drawn pictures
"""

import argparse
import io
import time
from collections import Counter, defaultdict

import numpy as np
from anomaly import make_pictures

from imgmine.images.previews import preview_jpeg, reduced
from imgmine.images.thumbnails import thumbnail
from imgmine.models.nsfw import NsfwModel

THRESHOLDS = (0.2, 0.5, 0.8)
THUMBNAILS = (128, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=8, help="of all but photographs, one in so many")
    options = parser.parse_args()
    model = NsfwModel(threads=1)
    found: dict[str, list[list[float]]] = defaultdict(list)
    spent = 0.0
    seen: Counter[str] = Counter()
    for kind, _, picture in make_pictures(options.seed, 0):
        seen[kind] += 1
        if kind != "good" and seen[kind] % options.every:
            continue
        original = io.BytesIO()
        picture.convert("RGB").save(original, "PNG")
        preview = preview_jpeg(reduced(picture.convert("RGB")))
        began = time.process_time()
        by_preview = model.probability(preview)
        spent += time.process_time() - began
        thumbnails = [thumbnail(original.getvalue(), side) or b"" for side in THUMBNAILS]
        found[kind].append([model.probability(original.getvalue()), by_preview, *map(model.probability, thumbnails)])
    everything = np.array([row for rows in found.values() for row in rows])
    print(
        f"Seed {options.seed}, {len(everything)} pictures, {1000 * spent / len(everything):.1f} ms of CPU a preview\n"
    )
    print("| scored | off from the original: median | 99% | most | decided otherwise at 0.2, 0.5, 0.8 |")
    print("|---|---:|---:|---:|---|")
    for column, name in enumerate(["preview", *(f"thumbnail of {side}" for side in THUMBNAILS)], 1):
        off = np.quantile(np.abs(everything[:, column] - everything[:, 0]), [0.5, 0.99, 1])
        other = [int(((everything[:, column] >= t) != (everything[:, 0] >= t)).sum()) for t in THRESHOLDS]
        print(f"| {name} | {off[0]:.4f} | {off[1]:.3f} | {off[2]:.3f} | {', '.join(map(str, other))} |")
    print("\n| harmless pictures | n | hidden at 0.2 | at 0.5 | at 0.8 | highest |")
    print("|---|---:|---:|---:|---:|---:|")
    for kind, rows in found.items():
        scores = np.array(rows)[:, 1]
        hidden = " | ".join(f"{(scores >= threshold).mean():.1%}" for threshold in THRESHOLDS)
        print(f"| {kind} | {len(rows)} | {hidden} | {scores.max():.2f} |")


if __name__ == "__main__":
    main()
