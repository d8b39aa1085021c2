"""What all tests may ask for, how hypothesis runs, and which tests run in one process."""

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.s3_server import s3_server

__all__ = ["s3_server"]

# These look at one mined demo, which takes minutes to make: two processes would each make it.
_ON_THE_MINED_DEMO = frozenset(
    f"tests/graph/test_{name}.py"
    for name in ("column_lineage", "doctor_cli", "fetch_modes", "mining", "query", "s3", "takedown")
)

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("imgmine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("imgmine")


class _Scheduling(LoadFileScheduling):
    """The tests of a file run in one process, in their order, as do those of files that share something costly."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "the mined demo" if file in _ON_THE_MINED_DEMO else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Scheduling | None:
    """Tell xdist how to share out the tests, where it was asked to keep those of a file together."""
    return _Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None
