"""Archives and a mined store that the graph's tests share; they are made once in a test session."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgmine.demo.archives import DemoArchive, make_archives
from imgmine_assets.mining import Outcome
from tests.graph.mined import Workplace, workplace


@dataclass(frozen=True)
class MinedDemo:
    """The three archives, and the workplace in which they have been mined from first to last."""

    archives: list[DemoArchive]
    work: Workplace
    outcomes: list[Outcome]

    @property
    def identifiers(self) -> list[str]:
        return [archive.identifier for archive in self.archives]


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive.org")


@pytest.fixture(scope="session")
def demo_archives(demo_root: Path) -> list[DemoArchive]:
    """Three archives of about 150 records: every case is in them, and they are enough to fit a mixture to."""
    return make_archives(demo_root, records=150)


@pytest.fixture(scope="session")
def mined(
    demo_root: Path, demo_archives: list[DemoArchive], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MinedDemo]:
    """The demo, mined. Tests must leave it as it is."""
    with workplace(tmp_path_factory.mktemp("mined"), demo_root) as work:
        yield MinedDemo(demo_archives, work, work.mine_all([archive.identifier for archive in demo_archives]))
