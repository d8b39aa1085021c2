"""Which pictures stand for scores."""

import numpy as np

from imgmine_assets.score_sheets import (
    AT_A_THRESHOLD,
    ENDS,
    THRESHOLDS,
    at_thresholds,
    just_above,
    likeliest,
    odd_and_usual,
)

KEYS = [number.to_bytes(32, "big") for number in range(1000)]
SCORES = np.arange(1000.0)
PERCENTILES = SCORES / 10


def test_the_oddest_come_first_and_the_most_usual_from_the_top() -> None:
    odd, usual = odd_and_usual(KEYS, SCORES, PERCENTILES).values()
    assert list(odd) == KEYS[:ENDS]
    assert list(usual) == KEYS[:-ENDS - 1:-1]  # fmt: skip
    assert odd[KEYS[15]] == "1.5%"


def test_a_threshold_shows_the_pictures_just_above_it() -> None:
    shown = at_thresholds(KEYS, SCORES, PERCENTILES)
    assert len(shown) == len(THRESHOLDS) * AT_A_THRESHOLD
    assert shown[KEYS[50]] == ">5: 5.0%"
    assert KEYS[49] not in shown


def test_of_few_or_no_pictures_none_is_shown_twice() -> None:
    assert list(at_thresholds(KEYS[:3], SCORES[:3], PERCENTILES[:3])) == [KEYS[1], KEYS[2]]
    assert at_thresholds([], np.empty(0), np.empty(0)) == {}
    assert all(not page for page in odd_and_usual([], np.empty(0), np.empty(0)).values())


def test_probabilities_are_shown_just_above_each_threshold_and_the_likeliest_first() -> None:
    probabilities = SCORES / 1000
    shown = just_above(KEYS, probabilities, (0.2, 0.5))
    assert list(shown) == [*KEYS[200 : 200 + AT_A_THRESHOLD], *KEYS[500 : 500 + AT_A_THRESHOLD]]
    assert shown[KEYS[201]] == ">0.2: 0.20"
    assert just_above(KEYS, probabilities, (1.0,)) == {}
    assert list(likeliest(KEYS, probabilities, 2)) == [KEYS[999], KEYS[998]]
    assert likeliest([], np.empty(0)) == {}
