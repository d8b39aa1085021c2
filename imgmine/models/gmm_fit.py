"""Choosing and fitting a Gaussian mixture: which PCA, how many components, which covariance and regularisation.

Every choice is made by the likelihood of rows that took no part in the fit it judges, and by the BIC of those that did,
and is explained. Which rows those are, and the calibration, are in `anomaly_fit`.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from imgmine.errors import PersonNeeded
from imgmine.models.detectors.base import Fitted
from imgmine.models.detectors.density import Density, Subspace
from imgmine.models.detectors.kinds import GMM, meaning
from imgmine.models.subspaces import ROWS_A_DIMENSION, behind, choose_subspace, fit_subspace, subspace_candidates

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

CovarianceType = Literal["full", "tied", "diag", "spherical"]

# With fewer numbers than this for each free parameter, a covariance is mostly chance and regularisation.
_NUMBERS_A_PARAMETER = 10
# Fewer rows than this for each dimension of a component, and its mean is.
_ROWS_A_COMPONENT_DIMENSION = 2
_MAX_ITERATIONS = 300


class FitFailed(PersonNeeded):
    """No candidate could be fitted."""


@dataclass(frozen=True, slots=True)
class MixtureChoices:
    """What may be chosen from.

    `dimensions` are the PCA's candidates; an embedding's own dimension is added where the rows allow it.
    `regularisations` are added to each covariance's diagonal, as shares of the mean variance of a dimension, so that
    they mean the same for every embedding; the first is the usual one.
    """

    components: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
    dimensions: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128)
    covariance_types: tuple[CovarianceType, ...] = ("full", "spherical")
    regularisations: tuple[float, ...] = (0.01, 0.001, 0.1)
    restarts: int = 2


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


def least_rows(choices: MixtureChoices) -> int:
    """Return how many training rows the smallest mixture of the choices wants."""
    smallest, fewest = min(choices.dimensions), min(choices.components)
    wanted = [_wanted_rows(fewest, smallest, covariance_type) for covariance_type in choices.covariance_types]
    return max(ROWS_A_DIMENSION * smallest, min(wanted))


def fit_mixture(
    training: np.ndarray, validation: np.ndarray, choices: MixtureChoices, seed: int
) -> tuple[Fitted, dict[str, Any], list[str]]:
    """Choose a mixture by training and validation rows, and fit it to both; return it, the report, and warnings.

    1. PCA: of the candidate dimensions that have at least 10 training rows each, by their probabilistic PCA (Tipping
       and Bishop, 1999; it compares subspaces by one density).
    2. With each covariance type, numbers of components are fitted upwards for as long as the rows can carry them, until
       two in a row are worse than an earlier one by both measures; then the best with the other regularisations.
    3. The choice is fitted again on training and validation rows together.

    The rule of both choices: of the candidates whose likelihood on the validation rows is within one standard error of
    the best, the one of the lowest BIC. Raises `FitFailed`, `AllTheSame`.
    """
    subspaces = subspace_candidates(training, validation, choices.dimensions)
    dimensions = choose_subspace(subspaces)
    subspace = fit_subspace(training, dimensions.dimensions, dimensions.noise)
    candidates = _candidates(_points(training, subspace), _points(validation, subspace), choices, seed)
    chosen = choose(candidates)

    rows = np.concatenate([training, validation])
    subspace = fit_subspace(rows, dimensions.dimensions, dimensions.noise)
    points = _points(rows, subspace)
    mixture = _mixture(points, chosen, choices, seed)
    density = Density.of(mixture, subspace)
    rounding = Density.of(mixture).score(points) - mixture.score_samples(points)
    report = {
        "score": meaning(GMM),
        "dimensions": {
            "chosen": dimensions.dimensions,
            "of": training.shape[1],
            "curve": [asdict(candidate) for candidate in subspaces],
        },
        "chosen": asdict(chosen),
        "candidates": [asdict(candidate) for candidate in candidates],
        "reason": _reason(chosen, candidates),
        "largest_rounding": float(np.abs(rounding).max()),
    }
    fitted = Fitted(density, density.score(rows))
    return fitted, report, list(_warnings(chosen, candidates, mixture, choices))


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate of the lowest BIC among those whose held-out likelihood is as good as the best.

    As good: behind the best by at most one standard error of the difference. Of equals, the one with fewer components.
    """
    as_good = [candidate for candidate in candidates if candidate.behind <= candidate.behind_error]
    return min(as_good, key=lambda candidate: (candidate.bic, candidate.components))


def _wanted_rows(components: int, dimensions: int, covariance_type: CovarianceType) -> int:
    """Return how many rows a mixture wants for its free parameters, which are weights, means and covariances."""
    one_full = dimensions * (dimensions + 1) // 2
    covariances = {
        "full": components * one_full,
        "tied": one_full,
        "diag": components * dimensions,
        "spherical": components,
    }
    parameters = components - 1 + components * dimensions + covariances[covariance_type]
    by_parameters = math.ceil(_NUMBERS_A_PARAMETER * parameters / dimensions)
    return max(by_parameters, _ROWS_A_COMPONENT_DIMENSION * components * (dimensions + 1))


def _points(vectors: np.ndarray, subspace: Subspace | None) -> np.ndarray:
    return vectors if subspace is None else subspace.points(vectors)


def _candidates(training: np.ndarray, validation: np.ndarray, choices: MixtureChoices, seed: int) -> list[Candidate]:
    """Fit and judge the candidates: all components and types first, then the other regularisations of the choice."""
    scale = float(training.var(axis=0).mean())
    tried: list[_Tried] = []
    usual, *others = choices.regularisations
    for covariance_type in choices.covariance_types:
        curve: list[Candidate] = []
        for components in sorted(set(choices.components)):
            if curve and (
                _wanted_rows(components, training.shape[1], covariance_type) > len(training) or _past_its_best(curve)
            ):
                break
            candidate = Candidate(components, covariance_type, usual * scale, 0.0, 0.0, 0.0, converged=False)
            if (judged := _judge(candidate, training, validation, choices, seed)) is not None:
                tried.append(judged)
                curve.append(judged.candidate)
    if not tried:
        raise FitFailed(
            "No mixture could be fitted: the reference images' vectors are too much alike. Put other pictures into "
            "the reference."
        )
    first = choose(_compared(tried))
    for share in others:
        if (
            judged := _judge(replace(first, regularisation=share * scale), training, validation, choices, seed)
        ) is not None:
            tried.append(judged)
    return _compared(tried)


class _Tried(NamedTuple):
    """A candidate and the log-likelihood of each validation row under it."""

    candidate: Candidate
    held_out: np.ndarray


def _judge(
    candidate: Candidate, training: np.ndarray, validation: np.ndarray, choices: MixtureChoices, seed: int
) -> _Tried | None:
    """Fit a candidate and fill in its figures; None where its covariances cannot be inverted."""
    try:
        mixture = _mixture(training, candidate, choices, seed)
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
        below, error = behind(best, held_out)
        compared.append(replace(candidate, behind=below, behind_error=error))
    return compared


def _mixture(points: np.ndarray, candidate: Candidate, choices: MixtureChoices, seed: int) -> "GaussianMixture":
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is in the report
        return GaussianMixture(
            candidate.components,
            covariance_type=candidate.covariance_type,
            reg_covar=candidate.regularisation,
            n_init=choices.restarts,
            max_iter=_MAX_ITERATIONS,
            random_state=seed,
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
    chosen: Candidate, candidates: Sequence[Candidate], mixture: "GaussianMixture", choices: MixtureChoices
) -> Iterator[str]:
    tried = sorted(
        candidate.components for candidate in candidates if candidate.covariance_type == chosen.covariance_type
    )
    if chosen.components == tried[-1] > tried[0]:
        limit = "that were asked for" if tried[-1] == max(choices.components) else "that so few images can carry"
        yield f"{tried[-1]} components, the most {limit}, were chosen: more may be better."
    if not mixture.converged_:
        yield f"The fit had not converged after {_MAX_ITERATIONS} iterations."
