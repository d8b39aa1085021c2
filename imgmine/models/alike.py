"""Which vectors are of nearly the same picture: those must lie on one side where rows are held out of a fit.

Copies themselves are found, on pixels, by `imgmine.dataset.near_duplicates`; here a guess by vectors alone will do.
"""

import numpy as np

from imgmine.models.one_thread import one_thread

ALIKE = 0.95
"""Vectors of at least this cosine count as one picture: the same one, saved anew."""
# Of crops of one photograph the cosine is 0.84 at the median, of different photographs at most 0.79
# (EfficientNet-Lite0). Where that joins much of the reference, as in pictures of one game, the next is tried.
_STRANGERS = (0.85, 0.9, 0.95, 0.98)
_LARGEST_SHARE = 0.1


def group_alike(vectors: np.ndarray, cosine: float = ALIKE) -> np.ndarray:
    """Return a group number for each of (n, d) vectors of norm 1: alike ones, also by way of others, share theirs."""
    group = np.arange(len(vectors))
    for start in range(0, len(vectors), 1024):
        alike = vectors[start : start + 1024] @ vectors.T >= cosine
        for row, others in enumerate(alike, start):
            joined = np.unique(group[others])
            joined = joined[joined != group[row]]
            if len(joined):
                group[np.isin(group, joined)] = group[row]
    return np.unique(group, return_inverse=True)[1]


def group_strangers(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """Return groups as `group_alike` does, wide enough that a row is a stranger to other groups, and the cosine taken.

    The cosine is the lowest of a few by which no group has more than a tenth of the rows, else the highest of them.
    """
    with one_thread():
        for cosine in _STRANGERS:
            groups = group_alike(vectors, cosine)
            if not len(groups) or np.bincount(groups).max() <= max(1, _LARGEST_SHARE * len(groups)):
                break
    return groups, cosine
