"""However archives are fetched, the graph publishes the same."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from imgmine.demo.exchanges import Kind
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
    """The wrong byte comes after shards were put: nothing names them, and they go."""
    with workplace(tmp_path / "home", demo_root, fetch=FetchMode.STREAM, shard_bytes=100_000) as work:
        work.server.faults.add(FaultKind.FLIP, after=1_500_000, path="*/items/*.zst", times=None)
        [outcome] = work.mine([archive])
        assert "unique_files" in outcome.reason
        assert "the MD5 should be" in outcome.reason
        assert set(published(work.store)) == {f"manifests/{archive}.json"}


def test_only_originals_are_fetched_and_a_rerun_knows_it(mined: MinedDemo, demo_root: Path, tmp_path: Path) -> None:
    [april] = [archive.identifier for archive in mined.archives if archive.kind is Kind.APRIL]
    with workplace(tmp_path / "home", demo_root, fetch=FetchMode.SELECT) as work:
        [outcome] = work.mine([april])
        assert outcome.reason == ""
        records = pq.read_table(work.store / f"records/{april}.parquet")
        full = pq.read_table(mined.work.store / f"records/{april}.parquet")
        assert records["decision"].to_pylist().count("not_fetched") > 10
        assert records["warc_offset"].equals(full["warc_offset"])
        for table in ("files", "images"):
            found = [pq.read_table(store / f"{table}/{april}.parquet") for store in (work.store, mined.work.store)]
            assert found[0].equals(found[1])
        before = published(work.store)
        work.server.clear_requests()
        [outcome] = work.mine([april])
        assert outcome.reason == ""
        assert not [request for request in work.server.requests if request.path.endswith(".zst")]
        assert published(work.store) == before
