"""Fitting a Gaussian mixture to reference embeddings: which PCA, how many components, which regularisation, and why.

Every choice is made on rows that took no part in the fit it judges. What a fitted mixture does is in `gmm`.
"""

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from imgmine.errors import ImgmineError
from imgmine.models.calibration import Calibration
from imgmine.models.density import Density, Subspace
from imgmine.models.gmm import GmmModel

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

CODE_VERSION = "1"

CovarianceType = Literal["full", "tied", "diag", "spherical"]

# Of the reference rows: for choosing among candidates, and for calibration. The rest is fitted.
_VALIDATION_SHARE = 0.2
_CALIBRATION_SHARE = 0.2
# A full covariance of e dimensions has e(e+1)/2 entries; ten rows for each dimension are twenty numbers for each entry.
_ROWS_A_DIMENSION = 10
# Fewer rows than this for each dimension of a component, and a covariance is mostly regularisation.
_ROWS_A_COMPONENT_DIMENSION = 2
# A picture of the fit scores higher than a held-out one this often: the mixture knows its pictures by heart.
_OVERFIT_SHARE = 0.65
_MAX_ITERATIONS = 300


class ReferenceTooSmall(ImgmineError):
    """There are too few reference images for what is to be fitted."""


class FitFailed(ImgmineError):
    """No candidate could be fitted."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What may be chosen from, and the seed of everything random.

    `dimensions` are the PCA's candidates; an embedding's own dimension is added where the rows allow it.
    `regularisations` are added to each covariance's diagonal, as shares of the mean variance of a dimension, so that
    they mean the same for every embedding; the first is the usual one. `percentile` is the one that decides, which the
    calibration must be able to tell.
    """

    seed: int = 0
    components: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
    dimensions: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128)
    covariance_types: tuple[CovarianceType, ...] = ("full",)
    regularisations: tuple[float, ...] = (0.01, 0.001, 0.1)
    restarts: int = 2
    percentile: float = 5.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One mixture that was tried: fitted on the training rows, judged on the validation rows.

    Log-likelihoods are means over rows, in nats. `bic` is scikit-learn's, on the training rows: lower is better.
    `behind` is how much lower than the best candidate's the held-out likelihood is, and `behind_error` the standard
    error of that difference over the validation rows.
    """

    components: int
    covariance_type: CovarianceType
    regularisation: float
    bic: float
    training_log_likelihood: float
    held_out_log_likelihood: float
    converged: bool
    behind: float = 0.0
    behind_error: float = 0.0


@dataclass(frozen=True, slots=True)
class Overfit:
    """How far the scores of the fit's own rows are from those of held-out rows.

    `gap` is the difference of the mean log-likelihoods; `share` how often a row of the fit scores higher than a
    held-out one, 0.5 where the fit has learnt nothing by heart; `share_error` its standard error.
    """

    gap: float
    share: float
    share_error: float

    @property
    def is_clear(self) -> bool:
        """Whether the mixture has overfitted beyond what chance explains."""
        return self.share - 2 * self.share_error > 0.5 and self.share > _OVERFIT_SHARE


def required_rows(settings: FitSettings) -> int:
    """Return how many reference images the settings ask for at least."""
    # The lowest of m calibration rows is the percentile 100/(m+1): it must not lie above the one that decides.
    calibration = math.ceil(100 / settings.percentile) if settings.percentile > 0 else 1
    fitted = max(
        _ROWS_A_DIMENSION * min(settings.dimensions),
        _least_rows(min(settings.components), min(settings.dimensions)),
    )
    return max(math.ceil(calibration / _CALIBRATION_SHARE), math.ceil(fitted / _training_share()))


def fit_gmm(
    vectors: np.ndarray, embedder: str, settings: FitSettings = FitSettings(), about: Mapping[str, Any] | None = None
) -> GmmModel:
    """Fit a mixture to reference embeddings (n, d) and calibrate it. The same rows and settings give the same model.

    The rows are dealt, by the seed, into training (60%), validation (20%) and calibration (20%).

    1. PCA: of the candidate dimensions that have at least 10 training rows each, the one whose probabilistic PCA gives
       the validation rows the highest likelihood (Tipping and Bishop, 1999; it compares subspaces by one density).
    2. With each covariance type, numbers of components are fitted upwards for as long as the rows can carry them, until
       two in a row are worse than an earlier one by both measures; then the best with the other regularisations. The
       rule of the choice, `choose`: of the candidates whose likelihood on the validation rows is within one standard
       error of the best, the one of the lowest BIC.
    3. The choice is fitted again on training and validation rows together; the calibration rows calibrate it.

    `embedder` is the version of the model that made the vectors; `about` (where they came from) goes into the report.
    Raises `ReferenceTooSmall`, which says how many are needed.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    needed = required_rows(settings)
    if len(vectors) < needed:
        raise ReferenceTooSmall(
            f"{len(vectors)} reference images are too few: at least {needed} are needed, a fifth of them to tell the "
            f"oddest {settings.percentile:g}% and three fifths for the smallest mixture. Mine more archives, "
            "or put more pictures into IMGMINE_REFERENCE."
        )
    # One thread: sums over several come out in another order each time, and the model in other bytes.
    with threadpool_limits(limits=1):
        return _fit(vectors.astype(np.float64), embedder, settings, about or {})


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate of the lowest BIC among those whose held-out likelihood is as good as the best.

    As good: behind the best by at most one standard error of the difference. Of equals, the one with fewer components.
    """
    as_good = [candidate for candidate in candidates if candidate.behind <= candidate.behind_error]
    return min(as_good, key=lambda candidate: (candidate.bic, candidate.components))


def _fit(vectors: np.ndarray, embedder: str, settings: FitSettings, about: Mapping[str, Any]) -> GmmModel:
    training, validation, calibration = _deal(len(vectors), settings.seed)
    curve = _pca_curve(vectors[training], vectors[validation], settings.dimensions)
    dimensions = max(curve, key=lambda point: point["held_out_log_likelihood"])["dimensions"]
    subspace = _subspace(vectors[training], dimensions)
    candidates = _candidates(_points(vectors[training], subspace), _points(vectors[validation], subspace), settings)
    chosen = choose(candidates)

    fitted = np.sort(np.concatenate([training, validation]))
    subspace = _subspace(vectors[fitted], dimensions)
    mixture = _mixture(_points(vectors[fitted], subspace), chosen, settings)
    density = Density.of(mixture, subspace)
    training_scores = np.sort(density.score(vectors[fitted]))
    held_out_scores = Calibration.of(density.score(vectors[calibration]))
    overfit = measure_overfit(training_scores, held_out_scores.scores)
    report = {
        "reference": {"rows": len(vectors), **about},
        "settings": asdict(settings),
        "rows": {"training": len(training), "validation": len(validation), "calibration": len(calibration)},
        "dimensions": {"chosen": dimensions, "of": vectors.shape[1], "curve": curve},
        "chosen": asdict(chosen),
        "candidates": [asdict(candidate) for candidate in candidates],
        "reason": _reason(chosen, candidates),
        "overfit": asdict(overfit),
        "warnings": list(_warnings(chosen, candidates, overfit, mixture, settings)),
    }
    return GmmModel(embedder, density, training_scores, held_out_scores, json.loads(json.dumps(report)))


def measure_overfit(training_scores: np.ndarray, held_out_scores: np.ndarray) -> Overfit:
    """Compare the scores of the fit's rows with those of held-out rows."""
    n, m = len(training_scores), len(held_out_scores)
    ordered = np.sort(training_scores)
    lower = (np.searchsorted(ordered, held_out_scores, "left") + np.searchsorted(ordered, held_out_scores, "right")) / 2
    share = 1 - float(lower.sum()) / (n * m)
    # The standard error of Mann and Whitney's statistic where both samples are of one distribution.
    error = math.sqrt((n + m + 1) / (12 * n * m))
    return Overfit(float(training_scores.mean() - held_out_scores.mean()), share, error)


def _training_share() -> float:
    return 1 - _VALIDATION_SHARE - _CALIBRATION_SHARE


def _least_rows(components: int, dimensions: int) -> int:
    return _ROWS_A_COMPONENT_DIMENSION * components * (dimensions + 1)


def _deal(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the row numbers for training, validation and calibration, each in ascending order."""
    order = np.random.default_rng(seed).permutation(rows)
    calibration = round(rows * _CALIBRATION_SHARE)
    validation = round(rows * _VALIDATION_SHARE)
    parts = np.split(order, [calibration, calibration + validation])
    return np.sort(parts[2]), np.sort(parts[1]), np.sort(parts[0])


def _subspace(vectors: np.ndarray, dimensions: int) -> Subspace | None:
    """Return the PCA of the vectors (n, d), or None where all dimensions are kept."""
    from sklearn.decomposition import PCA

    own = vectors.shape[1]
    if dimensions == own:
        return None
    pca = PCA(dimensions, svd_solver="full").fit(vectors)
    # Not scikit-learn's `noise_variance_`: with fewer rows than dimensions that is a mean over the rows' span alone.
    left_out = vectors.var(axis=0, ddof=1).sum() - pca.explained_variance_.sum()
    return Subspace(pca.mean_, pca.components_, float(left_out / (own - dimensions)))


def _points(vectors: np.ndarray, subspace: Subspace | None) -> np.ndarray:
    return vectors if subspace is None else subspace.points(vectors)


def _pca_curve(training: np.ndarray, validation: np.ndarray, candidates: Sequence[int]) -> list[dict[str, Any]]:
    """Return the mean log-likelihood of the validation rows under a probabilistic PCA of each number of dimensions.

    Candidates with too few training rows are left out. One decomposition serves all of them.
    """
    rows, own = training.shape
    most = min(rows // _ROWS_A_DIMENSION, own)
    mean = training.mean(axis=0)
    _, singular, axes = np.linalg.svd(training - mean, full_matrices=False)
    variances = singular**2 / (rows - 1)
    if not variances[0] > 0:
        raise FitFailed("The reference images' vectors are all the same. Put other pictures into the reference.")
    variances = np.maximum(variances, variances[0] * np.finfo(np.float64).eps)
    centred = validation - mean
    squares = (centred @ axes.T) ** 2
    lengths = (centred**2).sum(axis=1)
    curve = []
    for kept in sorted({*(number for number in candidates if number <= most), *([own] if own <= most else [])}):
        signal = variances[:kept]
        log_determinant = np.log(signal).sum()
        distances = (squares[:, :kept] / signal).sum(axis=1)
        if kept < own:
            noise = variances[kept:].sum() / (own - kept)
            log_determinant += (own - kept) * np.log(noise)
            distances = distances + (lengths - squares[:, :kept].sum(axis=1)) / noise
        likelihood = -0.5 * (own * np.log(2 * np.pi) + log_determinant + distances.mean())
        curve.append({"dimensions": kept, "held_out_log_likelihood": float(likelihood)})
    return curve


def _candidates(training: np.ndarray, validation: np.ndarray, settings: FitSettings) -> list[Candidate]:
    """Fit and judge the candidates: all components and types first, then the other regularisations of the choice."""
    scale = float(training.var(axis=0).mean())
    tried: list[_Tried] = []
    usual, *others = settings.regularisations
    for covariance_type in settings.covariance_types:
        curve: list[Candidate] = []
        for components in sorted(set(settings.components)):
            if curve and (_least_rows(components, training.shape[1]) > len(training) or _past_its_best(curve)):
                break
            candidate = Candidate(components, covariance_type, usual * scale, 0.0, 0.0, 0.0, converged=False)
            if (judged := _judge(candidate, training, validation, settings)) is not None:
                tried.append(judged)
                curve.append(judged.candidate)
    if not tried:
        raise FitFailed(
            "No mixture could be fitted: the reference images' vectors are too much alike. Put other pictures into "
            "the reference."
        )
    first = choose(_compared(tried))
    for share in others:
        if (judged := _judge(replace(first, regularisation=share * scale), training, validation, settings)) is not None:
            tried.append(judged)
    return _compared(tried)


class _Tried(NamedTuple):
    """A candidate and the log-likelihood of each validation row under it."""

    candidate: Candidate
    held_out: np.ndarray


def _judge(candidate: Candidate, training: np.ndarray, validation: np.ndarray, settings: FitSettings) -> _Tried | None:
    """Fit a candidate and fill in its figures; None where its covariances cannot be inverted."""
    try:
        mixture = _mixture(training, candidate, settings)
    except ValueError:  # scikit-learn's
        return None
    held_out = mixture.score_samples(validation)
    judged = replace(
        candidate,
        bic=float(mixture.bic(training)),
        training_log_likelihood=float(mixture.score(training)),
        held_out_log_likelihood=float(held_out.mean()),
        converged=bool(mixture.converged_),
    )
    return _Tried(judged, held_out)


def _past_its_best(curve: Sequence[Candidate]) -> bool:
    """Return whether the last two candidates are worse than an earlier one by BIC and by held-out likelihood."""
    if len(curve) < 3:
        return False
    bic = min(candidate.bic for candidate in curve[:-2])
    held_out = max(candidate.held_out_log_likelihood for candidate in curve[:-2])
    return all(candidate.bic > bic and candidate.held_out_log_likelihood < held_out for candidate in curve[-2:])


def _compared(tried: Sequence[_Tried]) -> list[Candidate]:
    """Return the candidates with how far each is behind the one of the highest held-out likelihood."""
    best = max(tried, key=lambda one: one.candidate.held_out_log_likelihood).held_out
    compared = []
    for candidate, held_out in tried:
        difference = best - held_out
        error = float(difference.std(ddof=1) / math.sqrt(len(difference)))
        compared.append(replace(candidate, behind=float(difference.mean()), behind_error=error))
    return compared


def _mixture(points: np.ndarray, candidate: Candidate, settings: FitSettings) -> "GaussianMixture":
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is in the report
        return GaussianMixture(
            candidate.components,
            covariance_type=candidate.covariance_type,
            reg_covar=candidate.regularisation,
            n_init=settings.restarts,
            max_iter=_MAX_ITERATIONS,
            random_state=settings.seed,
        ).fit(points)


def _reason(chosen: Candidate, candidates: Sequence[Candidate]) -> str:
    best = max(candidates, key=lambda candidate: candidate.held_out_log_likelihood)
    as_good = sum(candidate.behind <= candidate.behind_error for candidate in candidates)
    lowest = min(candidates, key=lambda candidate: candidate.bic)
    likelihood = (
        "the highest held-out likelihood"
        if chosen == best
        else f"a held-out likelihood {chosen.behind:.3g} behind the best ({best.components} components), "
        f"within its standard error of {chosen.behind_error:.3g}"
    )
    bic = "the lowest BIC of all" if chosen == lowest else f"the lowest BIC of the {as_good} that are as good"
    return (
        f"{chosen.components} components, {chosen.covariance_type} covariance, regularisation "
        f"{chosen.regularisation:.3g}: {likelihood}, and {bic}."
    )


def _warnings(
    chosen: Candidate,
    candidates: Sequence[Candidate],
    overfit: Overfit,
    mixture: "GaussianMixture",
    settings: FitSettings,
) -> Iterator[str]:
    if overfit.is_clear:
        yield (
            f"The mixture has overfitted: an image of the fit scores higher than a held-out one {overfit.share:.0%} of "
            f"the time (50% would be none), by {overfit.gap:.3g} nats on average. More reference images would help."
        )
    tried = sorted({candidate.components for candidate in candidates})
    if len(tried) > 1 and chosen.components == tried[-1]:
        limit = "that were asked for" if tried[-1] == max(settings.components) else "that so few images can carry"
        yield f"{tried[-1]} components, the most {limit}, were chosen: more may be better."
    if not mixture.converged_:
        yield f"The fit had not converged after {_MAX_ITERATIONS} iterations."
