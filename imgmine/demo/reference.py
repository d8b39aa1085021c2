"""The demo's reference: a folder of good images, all of them photographs, for the anomaly model to learn from.

They are cut from the same photographs as the demo's archives, but elsewhere; drawn pictures are not among them.
"""

from pathlib import Path
from random import Random

from imgmine.demo.photographs import photograph_size, take_photograph

REFERENCE_IMAGES = 400


def make_reference(folder: Path, seed: int = 0, count: int = REFERENCE_IMAGES) -> None:
    """Write `count` JPEG photographs into the folder, which is made. The same seed gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = Random(f"reference {seed}")
    for number in range(count):
        photograph = take_photograph(rng, photograph_size(rng, 1.0), grain=False)
        photograph.save(folder / f"{number:04d}.jpg", quality=90)
