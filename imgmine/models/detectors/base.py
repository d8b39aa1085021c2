"""What every detector has: the small interface that fitting, calibration, storage and scoring rely on.

Which detectors there are is in `kinds`.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np

from imgmine.cores import usable_cores
from imgmine.errors import PersonNeeded


class DetectorError(PersonNeeded):
    """A detector of this name cannot be had, or cannot be fitted or read."""


class Detector(Protocol):
    """A detector that is fitted.

    `score` returns the usualness of (n, d) vectors, float64 (n,): high is usual. It is a log-likelihood in nats where
    the detector is a density, and else a negative distance or a negative anomaly score. A vector's score depends on no
    other vector of the call. `arrays` is all that `read_detector` needs, without pickle.
    """

    @property
    def dimension(self) -> int: ...

    def score(self, vectors: np.ndarray) -> np.ndarray: ...

    def arrays(self) -> dict[str, np.ndarray]: ...


class Fitted(NamedTuple):
    """A detector, and the scores (n,) of the rows that it was fitted to.

    Where a detector remembers its rows, a row's own is left out of its score.
    """

    detector: Detector
    training_scores: np.ndarray


def in_chunks(score: Callable[[np.ndarray], np.ndarray], vectors: np.ndarray, rows: int) -> np.ndarray:
    """Return `score` of (n, d) vectors, taken so many rows at a time, on every core: float64 (n,).

    Each chunk is one thread's, BLAS included: no thread waits for another, and sums come out in the same order whatever
    the number of cores.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    scores = np.empty(len(vectors))

    def fill(start: int) -> None:
        scores[start : start + rows] = score(vectors[start : start + rows])

    starts = range(0, len(vectors), rows)
    with threadpool_limits(limits=1, user_api="blas"):
        for _ in _mapped(fill, starts, min(usable_cores(), len(starts))):
            pass
    return scores


def _mapped(function: Callable[[int], None], items: range, threads: int) -> Iterator[None]:
    if threads <= 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="score") as pool:
        yield from pool.map(function, items)
