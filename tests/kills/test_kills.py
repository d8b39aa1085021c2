"""A kill at a random moment; `make kills` makes hundreds."""

from pathlib import Path

import pytest

from tests.kills.campaign import S3, Circumstances, campaign

# Where nothing whole is on the disk, over a network, with an earlier version that must stay readable.
_CIRCUMSTANCES = Circumstances(S3, "stream", anew=True)


@pytest.mark.timeout(900)
def test_after_a_run_that_is_killed_at_a_random_moment_the_next_one_ends_byte_identical(tmp_path: Path) -> None:
    with campaign(tmp_path, seed=0, records=30) as running:
        outcome = running.trial(_CIRCUMSTANCES, in_a_row=1)
    assert outcome.faults == []
    assert len(outcome.kills) == 1
