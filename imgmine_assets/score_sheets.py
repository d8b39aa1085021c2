"""Which pictures stand for an archive's or a reference's scores: the oddest, the most usual, those at each threshold.

How a sheet is drawn is in `shown`; which pictures of an archive may be shown at all, in `imgmine.images.samples`.
"""

from collections.abc import Sequence

import numpy as np

ENDS = 20
THRESHOLDS = (0.0, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0)
AT_A_THRESHOLD = 8

Captions = dict[bytes, str]
"""The pictures of a sheet in their order, by BLAKE2b, with the caption of each."""


def odd_and_usual(keys: Sequence[bytes], scores: np.ndarray, percentiles: np.ndarray) -> dict[str, Captions]:
    """Return the 20 pictures that score lowest and the 20 that score highest, each heading with its pictures."""
    order = _order(keys, scores)
    odd, usual = order[:ENDS], order[::-1][:ENDS]
    return {
        f"The {len(odd)} oddest, by percentile": _captioned(odd, keys, percentiles),
        f"The {len(usual)} most usual": _captioned(usual, keys, percentiles),
    }


def at_thresholds(keys: Sequence[bytes], scores: np.ndarray, percentiles: np.ndarray) -> Captions:
    """Return, for each threshold, the pictures just above it: what a dataset would begin with that is cut there.

    Each threshold has up to 8 pictures; one that another threshold has already shown is not shown again.
    """
    order = _order(keys, scores)
    ranked = percentiles[order]
    shown: Captions = {}
    for threshold in THRESHOLDS:
        first = int(np.searchsorted(ranked, threshold, "right" if threshold == 0 else "left"))
        for row in order[first : first + AT_A_THRESHOLD]:
            shown.setdefault(keys[row], f">{threshold:g}: {percentiles[row]:.1f}%")
    return shown


def just_above(keys: Sequence[bytes], probabilities: np.ndarray, thresholds: Sequence[float]) -> Captions:
    """Return, for each threshold, the up to 8 pictures just above it, each in one place, with their probability."""
    order = _order(keys, probabilities)
    ranked = probabilities[order]
    shown: Captions = {}
    for threshold in thresholds:
        first = int(np.searchsorted(ranked, threshold))
        for row in order[first : first + AT_A_THRESHOLD]:
            shown.setdefault(keys[row], f">{threshold:g}: {probabilities[row]:.2f}")
    return shown


def likeliest(keys: Sequence[bytes], probabilities: np.ndarray, count: int = ENDS) -> Captions:
    """Return the pictures of the highest probability, each with it."""
    order = _order(keys, probabilities)[::-1][:count]
    return {keys[row]: f"{probabilities[row]:.2f}" for row in order}


def _order(keys: Sequence[bytes], scores: np.ndarray) -> np.ndarray:
    return np.array(sorted(range(len(keys)), key=lambda row: (scores[row], keys[row])), np.intp)


def _captioned(rows: np.ndarray, keys: Sequence[bytes], percentiles: np.ndarray) -> Captions:
    return {keys[row]: f"{percentiles[row]:.1f}%" for row in rows}
