"""What a person might say of the demo's pictures: labels by what the generator drew, for some of them.

Only the truth beside the archives is read; what the graph found has no part in it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from imgmine.dataset.labels import GOOD, Label
from imgmine.decisions import ImageDecision

BY = "demo"
PHOTOGRAPH = "photograph"
CATEGORY_OF = {
    "game": "other_games",
    "pixel_art": "other_games",
    "chat": "websites",
    "website": "websites",
    "comic": "comics",
    "meme": "memes",
    "text": "text",
    PHOTOGRAPH: "photographs",
}
"""What the demo draws, in the names of the list of categories."""


def demo_labels(truths: Sequence[Path], share: int = 2) -> list[Label]:
    """Return labels of every `share`-th picture of these archives that passes the gate: good, and its category.

    A photograph is good and what was drawn is not, as the demo's reference has it.
    """
    subjects = {
        bytes.fromhex(row["blake2b"]): row["subject"]
        for truth in truths
        for row in json.loads(truth.read_text())["files"]
        if row["gate"]["decision"] == ImageDecision.KEPT and row["media_type"].startswith("image/")
    }
    labels: list[Label] = []
    for digest, subject in sorted(subjects.items())[::share]:
        labels.append(Label(digest, GOOD, subject == PHOTOGRAPH))
        if subject in CATEGORY_OF:
            labels.append(Label(digest, CATEGORY_OF[subject], True))
    return labels
