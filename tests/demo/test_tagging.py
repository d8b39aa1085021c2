"""What the demo's person says of its pictures."""

import json
from pathlib import Path

from imgmine.dataset.labels import Label
from imgmine.demo.pictures_drawn import SUBJECTS
from imgmine.demo.tagging import CATEGORY_OF, demo_labels
from imgmine.models.category_list import read_categories


def truth(folder: Path, rows: list[tuple[int, str, str, str]]) -> Path:
    files = [
        {"blake2b": f"{number:064x}", "subject": subject, "media_type": kind, "gate": {"decision": decision}}
        for number, subject, kind, decision in rows
    ]
    path = folder / "truth.json"
    path.write_text(json.dumps({"files": files}))
    return path


def test_pictures_that_pass_the_gate_are_labelled_good_or_not_and_with_their_category(tmp_path: Path) -> None:
    path = truth(
        tmp_path,
        [
            (1, "photograph", "image/jpeg", "kept"),
            (2, "comic", "image/png", "kept"),
            (3, "comic", "image/png", "mode"),
            (4, "photograph", "video/mp4", "kept"),
        ],
    )
    one, two = (number.to_bytes(32, "big") for number in (1, 2))
    assert demo_labels([path], share=1) == [
        Label(one, "good", True),
        Label(one, "photographs", True),
        Label(two, "good", False),
        Label(two, "comics", True),
    ]
    assert demo_labels([path]) == [Label(one, "good", True), Label(one, "photographs", True)]


def test_its_words_are_of_the_list_of_categories() -> None:
    assert CATEGORY_OF.keys() <= SUBJECTS.keys()
    assert set(CATEGORY_OF.values()) <= set(read_categories().names)
