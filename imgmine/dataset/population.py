"""How many distinct files there are beyond those that were mined, from how often archives share them.

An archive is taken for an occasion on which files are caught, as ecologists do with animals. Where that is wrong, and
what follows, is in docs/statistics.md: archives are no random samples, some files are shared more than others, and
archives of one day share more than others do. Each of these makes the estimates too low. What is read from where, and
what is shown, is not here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

# Of the collection `archiveteam_imgur` on the Internet Archive.
IMGUR_ARCHIVES = 49_731
_Z = 1.959963984540054  # of 95%

Numbers = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A number of files, and the interval that holds it in 95 of 100 cases if the estimator's assumptions hold."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Incidence:
    """How many distinct files exactly k of the mined archives have: `counts[k]`; `archives` is their number."""

    archives: int
    counts: Mapping[int, int]

    def __post_init__(self) -> None:
        if any(not 1 <= copies <= self.archives or files < 0 for copies, files in self.counts.items()):
            raise ValueError(f"no file can be in {sorted(self.counts)} of {self.archives} archives")
        object.__setattr__(self, "counts", MappingProxyType(dict(self.counts)))

    @property
    def distinct(self) -> int:
        """Distinct files."""
        return sum(self.counts.values())

    @property
    def files(self) -> int:
        """Files of all archives, each counted in every archive that has it."""
        return sum(copies * files for copies, files in self.counts.items())

    @property
    def singles(self) -> int:
        """Files that one archive has."""
        return self.counts.get(1, 0)

    @property
    def doubles(self) -> int:
        """Files that exactly two archives have."""
        return self.counts.get(2, 0)


def coverage(incidence: Incidence) -> float:
    """Return the estimated share of files, weighted by how likely an archive has each, that was seen already.

    Good and Turing's estimator as Chao and Jost (Ecology 93, 2012) have it for incidences: one less it is the chance
    that a file of a further archive is new. 0 where nothing was mined.
    """
    ones, twos, archives = incidence.singles, incidence.doubles, incidence.archives
    if not incidence.files:
        return 0.0
    if not ones:
        return 1.0
    return 1 - ones / incidence.files * _unseen_factor(ones, twos, archives)


def _unseen_factor(ones: float, twos: float, archives: int) -> float:
    twos = twos or 1.0  # one pair more than none, so that there is an estimate
    return (archives - 1) * ones / ((archives - 1) * ones + 2 * twos) if archives > 1 else 1.0


def chao2(incidence: Incidence) -> Estimate:
    """Return how many distinct files there are at least that archives are drawn from: Chao's lower bound.

    Chao (Biometrics 43, 1987), bias-corrected, with her log-normal interval. It is near the truth where all files are
    equally likely to be in an archive, and below it where they are not. Raises `ValueError` for less than two archives.
    """
    _require_two(incidence)
    return _interval(incidence, lambda ones, twos, _: _unseen(ones, twos, incidence.archives))


def distinct_in(incidence: Incidence, archives: int) -> Estimate:
    """Return how many distinct files so many archives have, those mined among them, if the others are like them.

    Chao, Gotelli, Hsieh and others (Ecological Monographs 84, 2014), by the delta method and with a log-normal
    interval; they trust it up to twice the archives that there are. Beyond it is a lower bound, as `chao2` is. Raises
    `ValueError` for fewer than two archives, or for fewer than were mined.
    """
    _require_two(incidence)
    if archives < incidence.archives:
        raise ValueError(f"{incidence.archives} archives were mined: ask `expected_distinct` of {archives}")
    return _interval(incidence, lambda ones, twos, _: _new_in(ones, twos, incidence.archives, archives))


def expected_distinct(incidence: Incidence, archives: npt.ArrayLike) -> Numbers:
    """Return how many distinct files are to be expected in so many archives, whatever their order; floats.

    Up to those mined it is the mean over all choices of so many (Colwell, Mao and Chang, Ecology 85, 2004): a file
    that k of T archives have is missed by t of them with the chance C(T - k, t) / C(T, t). Beyond, see `distinct_in`.
    """
    wanted = np.asarray(archives, np.float64)
    mined = incidence.archives
    seen = np.full(wanted.shape, float(incidence.distinct))
    for copies, files in incidence.counts.items():
        some = wanted <= mined - copies  # more cannot miss it
        left = wanted[some]
        missed = gammaln(mined - copies + 1) + gammaln(mined - left + 1)
        missed -= gammaln(mined - copies - left + 1) + gammaln(mined + 1)
        seen[some] -= files * np.exp(missed)
    ones, twos = incidence.singles, incidence.doubles
    new = [_new_in(ones, twos, mined, many) if many > mined > 1 else 0.0 for many in wanted.ravel()]
    return np.asarray(seen + np.reshape(new, wanted.shape), np.float64)


def schnabel(held: Sequence[int], owned: Sequence[int]) -> Estimate:
    """Return how many distinct files there are if each is equally likely to be in any archive: Schnabel's estimate.

    `held` and `owned` are, in any order of the archives, the files of each and those that none before it has. With
    Chapman's correction, and an interval from the number of recaptures as a Poisson's (Seber, The Estimation of Animal
    Abundance, 1982, chapter 4). Raises `ValueError` for fewer than two archives.
    """
    if len(held) < 2:
        raise ValueError("an estimate takes two archives")
    marked = np.concatenate([[0.0], np.cumsum(np.asarray(owned, np.float64))[:-1]])
    chances = float((np.asarray(held, np.float64) * marked).sum())
    again = float(sum(held) - sum(owned))
    fewer = max(again + _Z**2 / 2 - _Z * math.sqrt(again + _Z**2 / 4), 0.0)
    more = again + _Z**2 / 2 + _Z * math.sqrt(again + _Z**2 / 4)
    seen = float(sum(owned))
    return Estimate(*(max(chances / (caught + 1), seen) for caught in (again, more, fewer)))


def _require_two(incidence: Incidence) -> None:
    if incidence.archives < 2:
        raise ValueError("an estimate takes two archives")


def _unseen(ones: float, twos: float, archives: int) -> float:
    return (archives - 1) / archives * ones * (ones - 1) / (2 * (twos + 1))


def _new_in(ones: float, twos: float, mined: int, archives: float) -> float:
    """Return how many files are new in those archives that were not mined."""
    unseen = _unseen(ones, twos, mined)
    if unseen <= 0:
        return 0.0
    return -unseen * math.expm1((archives - mined) * math.log1p(-ones / (mined * unseen + ones)))


def _interval(incidence: Incidence, new: Callable[[float, float, float], float]) -> Estimate:
    """Return an estimate of `distinct + new(ones, twos, more)` with its interval.

    The counts are taken for a multinomial draw from all files, those not seen among them (Chao and others, 2014); the
    interval is log-normal for what was not seen, so that it never begins below what was.
    """
    counts = np.array([incidence.singles, incidence.doubles, 0.0])
    counts[2] = incidence.distinct - counts.sum()
    found = new(*counts)
    if found <= 0:
        return Estimate(incidence.distinct, incidence.distinct, incidence.distinct)
    # How the whole estimate grows with each count, which is itself a part of it.
    steps = np.maximum(counts * 1e-4, 1e-3)
    slopes = np.array(
        [1 + (new(*(counts + step)) - new(*(counts - step))) / (2 * step.sum()) for step in np.diag(steps)]
    )
    total = incidence.distinct + max(_unseen(counts[0], counts[1], incidence.archives), 0.0)
    variance = float((slopes**2 * counts).sum() - (slopes * counts).sum() ** 2 / total)
    spread = math.exp(_Z * math.sqrt(math.log1p(max(variance, 0.0) / found**2)))
    return Estimate(
        incidence.distinct + found, incidence.distinct + found / spread, incidence.distinct + found * spread
    )
