"""Three small archives, two of which have a picture in common, made once for all tests of releases."""

import shutil
from pathlib import Path

import pytest

from imgmine.store.local import LocalStore
from tests.dataset.releases.mined_store import EARLY, LATE, MIDDLE, Pic, own, put_archive

VIDEO = bytes(32)
PICTURES = {
    EARLY: [Pic(seed) for seed in range(8)],
    MIDDLE: [
        Pic(7),  # the early archive has it
        Pic(10, percentile=2.0),
        Pic(11, nsfw=0.7),
        Pic(12, watermark=0.9),
        Pic(13, size=(140, 400)),
        Pic(14, kind="PNG"),
        Pic(15, video=VIDEO),
        Pic(16, good=0.1),
        Pic(17, category="maps"),
        Pic(18, percentile=None),
        Pic(19, gate="size"),
    ],
    LATE: [Pic(seed) for seed in range(20, 24)],
}


@pytest.fixture(scope="session")
def mined_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the store that `mined` copies."""
    folder = tmp_path_factory.mktemp("releases")
    store = LocalStore(folder / "store")
    for archive, pictures in PICTURES.items():
        put_archive(store, archive, pictures, folder / "scratch")
    own(store, folder)
    return store.root


@pytest.fixture
def mined(mined_once: Path, tmp_path: Path) -> LocalStore:
    """A store with the three archives."""
    return LocalStore(shutil.copytree(mined_once, tmp_path / "store"))
