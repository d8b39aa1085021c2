"""Models with CLIP's operators and the shipped cards' ends, but few and narrow layers, and random weights."""

from pathlib import Path

from bench.random_weights.clip_onnx import Architecture, Tower, make_model

SMALL = Architecture(224, 32, Tower(64, 2, 4, 512), Tower(32, 2, 4, 512))


def small_clip(folder: Path, *, name: str = "clip-vit-b-32", text: bool = False, seed: int = 0) -> Path:
    make_model(name, folder, text=text, seed=seed, architecture=SMALL)
    return folder
