"""How near the vectors of a model with weights of 8 bits are to its own, by the type of the weights.

    python bench/quantize.py                   EfficientNet-Lite0, CLIP ViT-B/32's and B/16's architectures

QInt8 overflows on x86 processors without VNNI, so what this processor has is printed. CLIP's weights are random, of
seed 0. The pictures are previews of 32 photographs that come with imgmine.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from random_weights.clip_onnx import ARCHITECTURES, make_model

from imgmine.models.cards import ModelError, find_model, load_card
from imgmine.models.quantizing import Weights, best_weights, quantize_model

MODELS = ("efficientnet-lite0", "clip-vit-b-32", "clip-vit-b-16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help="names or model folders")
    arguments = parser.parse_args()
    print(f"`imgmine models quantize` takes {best_weights()} on this processor\n")
    print("| model | weights | cosine to 32 bits: median | 1st percentile | least | MB | MB before |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for name in arguments.models:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / name if name in ARCHITECTURES else find_model(name)
            if name in ARCHITECTURES:
                make_model(name, folder)
            for weights in Weights:
                try:
                    made = quantize_model(load_card(folder), Path(scratch) / "models", weights)
                except ModelError as error:
                    print(f"| {name} | {weights} | refused: {error} | | | | |", flush=True)
                    break
                least, first, median = np.percentile(made.cosines, [0, 1, 50])
                sizes = f"{made.bytes_after / 1e6:.0f} | {made.bytes_before / 1e6:.0f}"
                print(f"| {name} | {weights} | {median:.4f} | {first:.4f} | {least:.4f} | {sizes} |", flush=True)


if __name__ == "__main__":
    main()
