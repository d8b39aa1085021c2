"""However archives are fetched, the graph publishes the same."""

from pathlib import Path

import pytest

from imgmine.demo.server_faults import FaultKind
from imgmine.settings import FetchMode
from tests.graph.conftest import MinedDemo
from tests.graph.mined import published, workplace


@pytest.fixture(scope="module")
def archive(mined: MinedDemo) -> str:
    return min(mined.archives, key=lambda archive: archive.size).identifier


def of_archive(mined: dict[str, str], archive: str) -> dict[str, str]:
    """Return what the first half of the graph publishes of an archive."""
    return {
        key: digest
        for key, digest in mined.items()
        if archive in key and key.split("/")[0] in {"manifests", "records", "files", "images", "previews"}
    }


def test_an_archive_read_as_it_arrives_gives_the_same_tables_and_shards(
    mined: MinedDemo, archive: str, demo_root: Path, tmp_path: Path
) -> None:
    with workplace(tmp_path / "home", demo_root, fetch=FetchMode.STREAM) as work:
        work.server.faults.add(FaultKind.CUT, after=200_000, path="*.zst", times=2)
        work.server.faults.add(FaultKind.FLIP, after=300_000, path="*/items/*.zst")
        [outcome] = work.mine([archive])
        assert outcome.reason == ""
        expected = of_archive(published(mined.work.store), archive)
        assert of_archive(published(work.store), archive) == expected
        assert not list((work.settings.home).rglob("*.zst*"))


def test_bytes_that_stay_wrong_publish_nothing(mined: MinedDemo, archive: str, demo_root: Path, tmp_path: Path) -> None:
    with workplace(tmp_path / "home", demo_root, fetch=FetchMode.STREAM) as work:
        work.server.faults.add(FaultKind.FLIP, after=300_000, path="*/items/*.zst", times=None)
        [outcome] = work.mine([archive])
        assert "unique_files" in outcome.reason
        assert "the MD5 should be" in outcome.reason
        assert set(published(work.store)) == {f"manifests/{archive}.json"}
