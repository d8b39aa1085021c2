"""What embedding from previews costs: the cosine between a picture's vector from its preview and from its original.

    python bench/previews.py --variants 300

Originals are the photographs that come with imgmine (up to 896 pixels a side) and variants of them as the demo cuts
them, with a sensor's grain, of 640 to 1,920 pixels. Each is embedded from its pixels and from a JPEG of each short side
and quality. EfficientNet-Lite0 is the real model. CLIP's has random weights (seed 0): its cosines say how far the two
inputs are apart for such a network, no more. Real weights are measured by naming a model's folder. Seed 0.
"""

import argparse
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image
from random_weights.clip_onnx import ARCHITECTURES, make_model

from imgmine.demo.photographs import photograph_size, reference_photographs, take_photograph
from imgmine.images import previews
from imgmine.models.embedder import Embedder, load_embedder

EMBEDDED = "efficientnet-lite0"


def originals(variants: int, seed: int) -> Iterator[Image.Image]:
    for path in reference_photographs():
        with Image.open(path) as picture:
            yield picture.convert("RGB")
    rng = Random(seed)
    for _ in range(variants):
        yield take_photograph(rng, photograph_size(rng, rng.choice([2.0, 3.0])), grain=True)


def preview(picture: Image.Image, short_side: int, quality: int) -> Image.Image:
    """The picture as it comes back from a preview of this size and quality, made as `imgmine.images.previews` does."""
    before, previews.SHORT_SIDE = previews.SHORT_SIDE, short_side
    try:
        small = previews.reduced(picture)
    finally:
        previews.SHORT_SIDE = before
    out = io.BytesIO()
    small.save(out, "JPEG", quality=quality)
    return Image.open(out)


def measure(name: str, embedder: Embedder, kinds: list[tuple[int, int]], variants: int, seed: int) -> None:
    cosines: dict[tuple[int, int], list[float]] = {kind: [] for kind in kinds}
    for picture in originals(variants, seed):
        shown = [preview(picture, *kind) for kind in kinds]
        whole, *small = embedder.embed_pictures([picture, *shown])
        for kind, vector in zip(kinds, small, strict=True):
            cosines[kind].append(float(whole @ vector))
    for (short_side, quality), found in cosines.items():
        least, first, median = np.percentile(found, [0, 1, 50])
        print(f"| {name} | {short_side} px, q{quality} | {median:.4f} | {first:.4f} | {least:.4f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "models", nargs="*", default=[EMBEDDED, "clip-vit-b-32", "clip-vit-b-16"], help="names or model folders"
    )
    parser.add_argument("--variants", type=int, default=300, help="pictures besides the 79 photographs")
    parser.add_argument("--short-side", type=int, nargs="+", default=[previews.SHORT_SIDE])
    parser.add_argument("--quality", type=int, nargs="+", default=[previews.QUALITY, 75, 95])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    kinds = [(short_side, quality) for short_side in arguments.short_side for quality in arguments.quality]
    print(f"{len(reference_photographs()) + arguments.variants} photographs\n")
    print("| model | preview | median cosine | 1st percentile | least |\n|---|---|---|---|---|")
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            if model in ARCHITECTURES:
                make_model(model, Path(folder))
            embedder = load_embedder(folder if model in ARCHITECTURES else model)
            name = f"{model}, random weights" if model in ARCHITECTURES else model
            measure(name, embedder, kinds, arguments.variants, arguments.seed)


if __name__ == "__main__":
    main()
