from pathlib import Path

import pytest

from imgmine.demo.archives import make_archives
from imgmine.demo.exchanges import Kind
from tests.demo.demo_archives import ReadBack


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, ReadBack]:
    """The three archives of the demo, made once."""
    root: Path = tmp_path_factory.mktemp("demo")
    return {archive.kind: ReadBack(archive) for archive in make_archives(root, seed=0)}
