"""Training the watermark classifier that ships: python -m imgmine.models.watermark.train FOLDER [--seed 0]

Marks are drawn over the demo's photographs; the model, its card and a table of how well it does on photographs that it
has not seen are written into FOLDER. The package `onnx` is needed (pip install 'imgmine[quantize]').
"""

import argparse
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from imgmine.images.previews import preview_jpeg, reduced
from imgmine.in_order import in_order
from imgmine.models.cards import CARD_FILE, MODEL_FILE
from imgmine.models.embedder import Embedder, load_embedder
from imgmine.models.kept_pictures import batches
from imgmine.models.preprocessing import read_picture
from imgmine.models.watermark.cards import VIEWS as VIEWS_KIND
from imgmine.models.watermark.classifier import views_of
from imgmine.models.watermark.examples import Amounts, Example, Part, make_examples
from imgmine.models.watermark.fitting import (
    Examples,
    Head,
    auc,
    fit_concatenated,
    fit_head,
    fit_whole,
    threshold_at,
)
from imgmine.models.watermark.marks import Mark
from imgmine.models.watermark.onnx_head import INPUT, OUTPUT, head_onnx

CLEAN_CALLED_MARKED = 0.1
"""The threshold is where this share of clean validation photographs is called watermarked."""


@dataclass(frozen=True)
class About:
    """Of each example: what it is for, what it is of, and its mark."""

    parts: np.ndarray
    subjects: np.ndarray
    marks: list[Mark | None]


def embed_examples(
    seed: int, amounts: Amounts, embedder: Embedder, tell: Callable[[int], None] = lambda done: None
) -> tuple[Examples, About]:
    """Return the examples' views as an archive's pictures have them: of previews, the whole's rounded to float16."""

    def views(part: list[Example]) -> np.ndarray:
        previews = [read_picture(preview_jpeg(reduced(read_picture(example.data)))) for example in part]
        wholes = embedder.embed_pictures(previews).astype(np.float16).astype(np.float32)
        return views_of(previews, wholes, embedder).astype(np.float16)

    about: list[tuple[Part, str, Mark | None]] = []

    def examples() -> Iterator[Example]:
        for example in make_examples(seed, amounts):
            about.append((example.part, example.subject, example.mark))
            yield example

    found: list[np.ndarray] = []
    for part in in_order(views, (list(batch) for batch in batches(examples(), 8)), embedder.threads):
        found.append(part)
        tell(sum(map(len, found)))
    marks = [mark for _, _, mark in about]
    return (
        Examples(
            np.concatenate(found),
            np.array([mark is not None for mark in marks]),
            np.array([mark.quadrants if mark is not None else (0.0,) * 4 for mark in marks]),
        ),
        About(np.array([part.value for part, _, _ in about]), np.array([subject for _, subject, _ in about]), marks),
    )


def to_fit(examples: Examples, about: About) -> tuple[Examples, Examples]:
    """Return what is learned from, photographs and screens, and what it is chosen by, photographs.

    Memes are left out: their captions, as pictures without a mark, make marks themselves harder to find.
    """
    photographs, screens = about.subjects == "photograph", about.subjects == "screen"
    training = examples.take((photographs | screens) & (about.parts == Part.TRAINING.value))
    return training, examples.take(photographs & (about.parts == Part.VALIDATION.value))


def comparison(examples: Examples, about: About, head: Head) -> list[str]:
    """Return the table of the ways to judge a picture, by how they do on the test's photographs."""
    training, validation = to_fit(examples, about)
    whole, side_by_side = fit_whole(training, validation), fit_concatenated(training, validation)
    ways: dict[str, Callable[[Examples], np.ndarray]] = {
        "one embedding, of the whole picture": lambda of: whole.scores(of.views[:, 0]),
        "five embeddings, concatenated": lambda of: side_by_side.scores(of.views.reshape(len(of.views), -1)),
        "four quadrants, weights shared, the highest": lambda of: head.quadrant.scores(of.views[:, 1:]).max(axis=1),
        "the same with the whole (ships)": lambda of: head.scores(of.views),
    }
    photographs = [
        examples.take((about.parts == part.value) & (about.subjects == "photograph"))
        for part in (Part.VALIDATION, Part.TEST)
    ]
    lines = ["| judged by | AUC, validation | AUC, test | marks missed at 10% false alarms |", "|---|---|---|---|"]
    for name, score in ways.items():
        cells = []
        for of in photographs:
            scores = score(of)
            cells.append(f"{auc(scores[~of.marked], scores[of.marked]):.3f}")
        scores = score(photographs[1])
        marked = photographs[1].marked
        missed = float((scores[marked] < np.quantile(scores[~marked], 0.9)).mean())
        lines.append(f"| {name} | {' | '.join(cells)} | {missed:.0%} |")
    return lines


def by_trait(examples: Examples, about: About, head: Head, threshold: float) -> list[str]:
    """Return the table of what is missed on the test's photographs, by kind of mark, and of false alarms."""
    in_test = about.parts == Part.TEST.value
    rows: list[int] = np.flatnonzero(in_test).tolist()
    probabilities = head.probabilities(examples.views[rows])
    of_row = dict(zip(rows, probabilities.tolist(), strict=True))
    clean = np.array([of_row[row] for row in rows if about.marks[row] is None and about.subjects[row] == "photograph"])
    traits: dict[str, list[float]] = {}
    for row in rows:
        if (mark := about.marks[row]) is not None:
            for trait in ("every mark", *mark.traits):
                traits.setdefault(trait, []).append(of_row[row])
    lines = ["| marks on photographs | n | AUC | missed |", "|---|---|---|---|"]
    for trait, found in sorted(traits.items(), key=lambda entry: -len(entry[1])):
        scores = np.array(found)
        lines.append(f"| {trait} | {len(found)} | {auc(clean, scores):.3f} | {(scores < threshold).mean():.0%} |")
    lines += ["", "| without a mark | n | called watermarked |", "|---|---|---|"]
    for subject in ("photograph", "meme", "screen"):
        scores = np.array([of_row[row] for row in rows if about.marks[row] is None and about.subjects[row] == subject])
        if len(scores):
            lines.append(f"| {subject} | {len(scores)} | {(scores >= threshold).mean():.0%} |")
    return lines


def write_model(folder: Path, head: Head, embedder: Embedder, threshold: float, report: dict[str, float]) -> Path:
    """Write the ONNX file and its card into the folder, which is made; return the card's path."""
    folder.mkdir(parents=True, exist_ok=True)
    data = head_onnx(head)
    (folder / MODEL_FILE).write_bytes(data)
    card = {
        "kind": VIEWS_KIND,
        "name": f"watermark-{embedder.card.name}",
        "source": "python -m imgmine.models.watermark.train: marks drawn over imgmine/demo/photographs",
        "licence": (
            f"no other than imgmine's; learned from the vectors of {embedder.card.name} ({embedder.card.licence}) and "
            "photographs in the public domain or under CC0, CC-BY and CC-BY-SA (imgmine/demo/photographs/CREDITS.md)"
        ),
        "sha256": hashlib.sha256(data).hexdigest(),
        "embedder": embedder.version,
        "dimension": embedder.card.dimension,
        "input": INPUT,
        "output": OUTPUT,
        "threshold": threshold,
        "report": report,
    }
    path = folder / CARD_FILE
    path.write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")
    return path


def train(folder: Path, examples: Examples, about: About, embedder: Embedder, seed: int) -> list[str]:
    """Fit, write the model and its card into the folder, and return the tables."""
    training, validation = to_fit(examples, about)
    head = fit_head(training, validation)
    photographs = about.subjects == "photograph"
    clean = photographs & ~examples.marked
    in_validation, in_test = about.parts == Part.VALIDATION.value, about.parts == Part.TEST.value
    threshold = threshold_at(head.probabilities(examples.views[in_validation & clean]), CLEAN_CALLED_MARKED)
    tested = {
        name: head.probabilities(examples.views[in_test & rows])
        for name, rows in {"clean": clean, "marked": examples.marked}.items()
    }
    report = {
        "seed": float(seed),
        "training_pictures": float(len(training.marked)),
        "test_pictures": float(sum(map(len, tested.values()))),
        "test_auc": round(auc(tested["clean"], tested["marked"]), 3),
        "test_missed": round(float((tested["marked"] < threshold).mean()), 3),
        "test_false_alarms": round(float((tested["clean"] >= threshold).mean()), 3),
    }
    write_model(folder, head, embedder, threshold, report)
    return [*comparison(examples, about, head), "", *by_trait(examples, about, head, threshold)]


def main() -> None:
    """Train, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where model.onnx and card.yaml are written")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=Amounts().training, help="of each photograph to learn from")
    parser.add_argument("--embedder", default="efficientnet-lite0", help="a model's name or folder")
    parser.add_argument("--threads", type=int, help="cores to use; all of them by default")
    arguments = parser.parse_args()
    embedder = load_embedder(arguments.embedder, threads=arguments.threads)
    amounts = Amounts(training=arguments.pictures)

    def tell(done: int) -> None:
        print(f"\r{done} pictures ", end="", flush=True)

    examples, about = embed_examples(arguments.seed, amounts, embedder, tell)
    print(f"\r{len(examples.marked)} pictures, seed {arguments.seed}, {embedder.version}\n")
    print("\n".join(train(arguments.folder, examples, about, embedder, arguments.seed)))


if __name__ == "__main__":
    main()
