"""How well each detector tells good pictures from bad ones, and how fast the mixture scores.

python bench/anomaly.py --seed 0 --crops 8       AUROC and what is kept at the default threshold
python bench/anomaly.py --speed --rows 200000    against scikit-learn's score_samples
"""

import argparse
import io
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random

import numpy as np
from PIL import Image, ImageOps
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture

from imgmine.demo.photographs import photograph_size, reference_photographs
from imgmine.demo.pictures_drawn import draw, draw_meme
from imgmine.images.previews import preview_jpeg, reduced
from imgmine.models.anomaly_fit import FitSettings, ReferenceTooSmall, deal_rows, fit_anomaly_model
from imgmine.models.detectors.base import DetectorError
from imgmine.models.detectors.density import Density
from imgmine.models.detectors.kinds import GMM, NAMES
from imgmine.models.embedder import load_embedder
from imgmine.models.gmm_fit import MixtureChoices

FOLDS = 5
DRAWN = {"screenshots": ("game", "website", "chat"), "text": ("text",), "drawn": ("comic", "plot", "pixel_art")}
BAD = (*DRAWN, "noise", "memes", "damaged")
Score = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Pictures:
    """Vectors (n, d), what each picture is, and the photograph that it was made from (-1: none)."""

    vectors: np.ndarray
    kinds: np.ndarray
    photographs: np.ndarray


def cut(source: Image.Image, rng: Random) -> Image.Image:
    """Cut a picture from a photograph, and mirror every other one; nothing else is changed."""
    size = photograph_size(rng, 1.0)
    ratio, share = size[0] / size[1], rng.uniform(0.6, 1)
    width, height = min(source.width, source.height * ratio) * share, min(source.height, source.width / ratio) * share
    left, top = rng.uniform(0, source.width - width), rng.uniform(0, source.height - height)
    picture = source.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    return ImageOps.mirror(picture) if rng.random() < 0.5 else picture


def damaged(picture: Image.Image, rng: Random) -> Image.Image:
    """Return a picture as it decodes after bytes of its JPEG were overwritten: shifted colours, torn blocks."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85)
    while True:
        data = bytearray(out.getvalue())
        scan = data.index(b"\xff\xda") + 20
        for _ in range(rng.randrange(2, 8)):
            data[rng.randrange(scan + (len(data) - scan) // 10, scan + (len(data) - scan) // 2)] = rng.randrange(255)
        with suppress(OSError, SyntaxError, ValueError), Image.open(io.BytesIO(data)) as found:
            return found.convert("RGB")


def noise(rng: Random) -> Image.Image:
    """Return uniform, Gaussian, coarse or black-and-white noise."""
    width, height = photograph_size(rng, 1.0)
    draws = np.random.default_rng(rng.getrandbits(32))
    kind = rng.randrange(4)
    if kind == 0:
        pixels = draws.integers(0, 256, (height, width, 3))
    elif kind == 1:
        pixels = draws.normal(draws.uniform(60, 190, 3), 40, (height, width, 3)).clip(0, 255)
    elif kind == 2:
        pixels = draws.integers(0, 256, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    else:
        pixels = draws.integers(0, 2, (height, width, 1)).repeat(3, 2) * 255
    return Image.fromarray(pixels.astype(np.uint8))


def make_pictures(seed: int, crops: int) -> Iterator[tuple[str, int, Image.Image]]:
    """Yield kind, photograph and picture. Memes and damaged pictures are made of photographs too."""
    rng = Random(f"anomaly {seed}")
    for number, path in enumerate(reference_photographs()):
        with Image.open(path) as image:
            source = image.convert("RGB")
        yield "good", number, source
        for _ in range(crops):
            yield "good", number, cut(source, rng)
        for _ in range(2):
            yield "memes", number, draw_meme(rng, cut(source, rng))
            yield "damaged", number, damaged(cut(source, rng), rng)
    for kind, subjects in DRAWN.items():
        for subject in subjects:
            for number in range(100):
                yield kind, -1, draw(subject, f"{seed}/{number}", 1.0)
    for _ in range(100):
        yield "noise", -1, noise(rng)


def embedded(seed: int, crops: int, model: str) -> Pictures:
    kinds: list[str] = []
    photographs: list[int] = []

    def previews() -> Iterator[bytes]:
        for kind, photograph, picture in make_pictures(seed, crops):
            kinds.append(kind)
            photographs.append(photograph)
            yield preview_jpeg(reduced(picture))

    vectors = np.concatenate(list(load_embedder(model).embed(previews())))
    return Pictures(vectors.astype(np.float16).astype(np.float32), np.array(kinds), np.array(photographs))


def detectors(reference: np.ndarray, groups: np.ndarray, seed: int, most: int) -> Iterator[tuple[str, Score, float]]:
    """Yield each detector's name, its score, and the score that its calibration keeps 95% above."""

    def fitted(detector: str, choices: MixtureChoices | None = None) -> tuple[Score, float, object]:
        settings = FitSettings(seed=seed, detector=detector, mixture=choices or MixtureChoices())
        model = fit_anomaly_model(reference, "bench", settings, groups=groups)
        return model.score, model.calibration.score_at(5), model.detector

    held_out = reference[deal_rows(len(reference), seed, groups).calibration]
    score, threshold, density = fitted("gmm")
    assert isinstance(density, Density)
    yield "gmm, the default", score, threshold
    yield from inside("gmm, the default, without residual", density, held_out)
    for kind in ("full", "tied", "diag", "spherical"):
        score, threshold, density = fitted("gmm", MixtureChoices(covariance_types=(kind,)))
        yield f"gmm, {kind}", score, threshold
        assert isinstance(density, Density)
        yield from inside(f"gmm, {kind}, without residual", density, held_out)
    for dimensions in (number for number in (2, 4, 8, 16, 32, 64, 128) if number <= most):
        for components in (1, 4):
            choices = MixtureChoices(components=(components,), dimensions=(dimensions,), covariance_types=("full",))
            with suppress(ReferenceTooSmall):
                score, threshold, _ = fitted("gmm", choices)
                yield f"gmm, {components} full in {dimensions} dimensions", score, threshold
    for name in (name for name in NAMES if name != GMM):
        try:
            score, threshold, _ = fitted(name)
        except DetectorError as error:
            print(f"({name} is left out: {error})")
            continue
        yield name, score, threshold


def inside(name: str, density: Density, held_out: np.ndarray) -> Iterator[tuple[str, Score, float]]:
    """Yield the mixture inside its subspace alone, as it would be without the density of what lies outside."""
    subspace = density.subspace
    if subspace is None:
        return
    alone = replace(density, subspace=None)

    def score(vectors: np.ndarray) -> np.ndarray:
        return alone.score(subspace.points(vectors.astype(np.float64)))

    yield name, score, float(np.quantile(score(held_out), 0.05))


def evaluate(seed: int, crops: int, model: str, most: int) -> None:
    pictures = embedded(seed, crops, model)
    photographs = np.unique(pictures.photographs[pictures.photographs >= 0])
    order = np.random.default_rng(seed).permutation(photographs)
    figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for fold in range(FOLDS):
        tested = np.isin(pictures.photographs, order[fold::FOLDS])
        is_reference = (pictures.kinds == "good") & ~tested
        good = pictures.vectors[(pictures.kinds == "good") & tested]
        bad = {kind: pictures.vectors[(pictures.kinds == kind) & (tested | (pictures.photographs < 0))] for kind in BAD}
        reference, groups = pictures.vectors[is_reference], pictures.photographs[is_reference]
        for name, score, threshold in detectors(reference, groups, seed, most):
            usual = score(good)
            figures[name]["kept"].append(float((usual >= threshold).mean()))
            odd = {kind: score(vectors) for kind, vectors in bad.items()}
            for kind, scores in odd.items():
                labels = np.repeat([1, 0], [len(usual), len(scores)])
                figures[name][kind].append(float(roc_auc_score(labels, np.concatenate([usual, scores]))))
            figures[name]["all"].append(float(np.mean([figures[name][kind][-1] for kind in BAD])))
            dropped = [float((scores < threshold).mean()) for scores in odd.values()]
            figures[name]["dropped"].append(float(np.mean(dropped)))
    print(f"Seed {seed}; {len(photographs)} photographs and {crops} crops of each, in {FOLDS} folds by photograph.\n")
    print(f"| detector | AUROC | {' | '.join(BAD)} | good kept | bad dropped |")
    print(f"|---|{'---:|' * (len(BAD) + 3)}")
    for name, found in sorted(figures.items(), key=lambda entry: -np.mean(entry[1]["all"])):
        if len(found["all"]) == FOLDS:
            columns = ["all", *BAD]
            cells = [f"{np.mean(found[column]):.3f}" for column in columns]
            cells += [f"{np.mean(found[column]):.0%}" for column in ("kept", "dropped")]
            print(f"| {name} | {' | '.join(cells)} |")


def measure_speed(rows: int, dimensions: int, components: int, seed: int, rounds: int) -> None:
    """Print how long both take for the same rows, by turns, and the largest difference of the scores."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(components, dimensions)) / np.sqrt(dimensions)
    chosen = rng.integers(components, size=rows)
    vectors = (means[chosen] + 0.5 * rng.normal(size=(rows, dimensions)) / np.sqrt(dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    theirs = GaussianMixture(components)
    theirs.weights_, theirs.means_ = np.full(components, 1 / components), means
    shapes = [LedoitWolf().fit(vectors[chosen == one][:2000].astype(np.float64)) for one in range(components)]
    theirs.means_ = np.array([shape.location_ for shape in shapes])
    factors = [np.linalg.cholesky(np.linalg.inv(shape.covariance_)[::-1, ::-1])[::-1, ::-1] for shape in shapes]
    # Upper triangular factors, as scikit-learn's.
    theirs.precisions_cholesky_ = np.array(factors)
    ours = Density.of(theirs)
    ours.score(vectors[:10])
    print(f"{rows:,} × {dimensions}, {components} full components, seed {seed}\n")
    print("| round | scikit-learn, wall s | CPU s | ours, wall s | CPU s | ratio, wall | CPU | largest difference |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for number in range(rounds):
        took = []
        scores = []
        for score in (theirs.score_samples, ours.score):
            wall, cpu = time.perf_counter(), time.process_time()
            scores.append(score(vectors))
            took.append((time.perf_counter() - wall, time.process_time() - cpu))
        (their_wall, their_cpu), (our_wall, our_cpu) = took
        print(
            f"| {number + 1} | {their_wall:.1f} | {their_cpu:.1f} | {our_wall:.1f} | {our_cpu:.1f} "
            f"| {their_wall / our_wall:.2f} | {their_cpu / our_cpu:.2f} | {np.abs(scores[0] - scores[1]).max():.1e} |"
        )
    print(f"\nThe scores' standard deviation is {scores[0].std():.0f} nats.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crops", type=int, default=8, help="pictures cut from each photograph")
    parser.add_argument("--embedder", default="efficientnet-lite0", help="a model's name or folder")
    parser.add_argument("--most-dimensions", type=int, default=32, help="the largest PCA of the fixed mixtures")
    parser.add_argument("--speed", action="store_true", help="measure scoring instead")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--components", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    if options.speed:
        measure_speed(options.rows, options.dimensions, options.components, options.seed, options.rounds)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluate(options.seed, options.crops, options.embedder, options.most_dimensions)


if __name__ == "__main__":
    main()
