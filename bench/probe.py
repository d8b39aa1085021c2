"""Labels against density, and categories: how a probe on few labels tells good from bad beside the mixture's default.

python bench/probe.py --seed 0 --crops 1       AUROC by the number of labels, and for a kind that was not labelled
"""

import argparse
import warnings
from collections import Counter, defaultdict

import numpy as np
from anomaly import BAD, FOLDS, Pictures, embedded
from sklearn.metrics import roc_auc_score

from imgmine.models.anomaly_fit import FitSettings, fit_anomaly_model
from imgmine.models.cards import find_model, load_card
from imgmine.models.categories import categorize_archive, categorizer
from imgmine.models.category_list import read_categories
from imgmine.models.probe import fit_probe
from imgmine.models.vectors import embeddings_table

MODEL = "efficientnet-lite0"
LABELS = (25, 50, 100)


def balanced(rng: np.random.Generator, kinds: np.ndarray, rows: np.ndarray, count: int, left_out: str) -> np.ndarray:
    """Draw `count` bad rows, the kinds by turns, without one kind."""
    piles = [rng.permutation(rows[kinds[rows] == kind]) for kind in BAD if kind != left_out]
    turns = [pile[place] for place in range(max(map(len, piles))) for pile in piles if place < len(pile)]
    return np.array(turns[:count])


def aurocs(score: np.ndarray, kinds: np.ndarray) -> dict[str, float]:
    good = score[kinds == "good"]
    found = {}
    for kind in BAD:
        bad = score[kinds == kind]
        found[kind] = float(roc_auc_score(np.repeat([1, 0], [len(good), len(bad)]), np.concatenate([good, bad])))
    return found


def evaluate(pictures: Pictures, seed: int) -> None:
    photographs = np.unique(pictures.photographs[pictures.photographs >= 0])
    order = np.random.default_rng(seed).permutation(photographs)
    drawn_fold = np.random.default_rng(seed).integers(FOLDS, size=len(pictures.kinds))
    figures: dict[str, list[dict[str, float]]] = defaultdict(list)
    said = []
    for fold in range(FOLDS):
        tested = np.isin(pictures.photographs, order[fold::FOLDS])
        tested |= (pictures.photographs < 0) & (drawn_fold == fold)
        rest, kinds = np.flatnonzero(~tested), pictures.kinds[tested]
        good = rest[pictures.kinds[rest] == "good"]
        settings = FitSettings(seed=seed)
        model = fit_anomaly_model(pictures.vectors[good], "bench", settings, groups=pictures.photographs[good])
        figures["gmm, the default: all good pictures, no label"].append(
            aurocs(model.score(pictures.vectors[tested]), kinds)
        )
        for count in LABELS:
            rng = np.random.default_rng([seed, fold, count])
            some = rng.permutation(good)[:count]
            bad = balanced(rng, pictures.kinds, rest, count, "")
            rows = np.concatenate([some, bad])
            probe = fit_probe(pictures.vectors[rows], pictures.kinds[rows] == "good", seed=seed)
            figures[f"probe: {count} good, {count} bad"].append(
                aurocs(probe.probability(pictures.vectors[tested]), kinds)
            )
            said.append((count, probe.estimate.auroc))
        unseen = {}
        for kind in BAD:
            rng = np.random.default_rng([seed, fold, 7])
            bad = balanced(rng, pictures.kinds, rest, 50, kind)
            rows = np.concatenate([rng.permutation(good)[:50], bad])
            probe = fit_probe(pictures.vectors[rows], pictures.kinds[rows] == "good", seed=seed)
            unseen[kind] = aurocs(probe.probability(pictures.vectors[tested]), kinds)[kind]
        figures["probe: 50 good, 50 bad, none of the column's kind"].append(unseen)
    print(f"| | all | {' | '.join(BAD)} |\n|---|{'---:|' * (len(BAD) + 1)}")
    for name, found in figures.items():
        means = [float(np.mean([each[kind] for each in found])) for kind in BAD]
        print(f"| {name} | {np.mean(means):.3f} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    for count in LABELS:
        print(f"\nWith {count} labels of each the cards say {np.mean([auroc for n, auroc in said if n == count]):.3f}.")


def categories(pictures: Pictures) -> None:
    """Print what the embedded model calls each kind, by ImageNet's classes alone."""
    by = categorizer(read_categories(), load_card(find_model(MODEL)), None)
    keys = [number.to_bytes(32, "big") for number in range(len(pictures.kinds))]
    rows = categorize_archive(embeddings_table(keys, pictures.vectors), by).to_pylist()
    print("\n| kind | n | by ImageNet's classes it is called |\n|---|---:|---|")
    for kind in ("good", *BAD):
        called = Counter(
            row["category"] if row["decision"] == "named" else "unknown"
            for row, own in zip(rows, pictures.kinds, strict=True)
            if own == kind
        )
        told = ", ".join(f"{name} {count / called.total():.0%}" for name, count in called.most_common())
        print(f"| {kind} | {called.total()} | {told} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crops", type=int, default=1, help="pictures cut from each photograph")
    options = parser.parse_args()
    pictures = embedded(options.seed, options.crops, MODEL)
    print(f"{MODEL}, seed {options.seed}; {len(pictures.kinds)} pictures, {FOLDS} folds by photograph; AUROC\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluate(pictures, options.seed)
    categories(pictures)


if __name__ == "__main__":
    main()
