"""A few kills at random moments; `make kills` makes hundreds."""

from pathlib import Path

import pytest

from tests.kills.campaign import FOLDER, S3, Circumstances, campaign

# A place whose earlier version must stay readable and in which nothing whole is on the disk, and one on S3.
_CIRCUMSTANCES = [
    Circumstances(FOLDER, "stream", anew=True),
    Circumstances(S3, "cache", anew=False),
]


@pytest.mark.timeout(900)
def test_after_runs_that_are_killed_at_random_moments_the_next_one_ends_byte_identical(tmp_path: Path) -> None:
    with campaign(tmp_path, seed=0, records=30) as running:
        outcomes = [running.trial(circumstances, in_a_row=1) for circumstances in _CIRCUMSTANCES]
    assert [outcome.faults for outcome in outcomes] == [[]] * len(outcomes)
    assert sum(len(outcome.kills) for outcome in outcomes) >= 1
