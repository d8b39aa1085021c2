"""However archives are fetched, the graph publishes the same."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from imgmine.demo.archives import DemoArchive, make_archives
from imgmine.demo.exchanges import Kind
from imgmine.demo.server_faults import FaultKind
from imgmine.settings import FetchMode
from imgmine.store.base import Store
from imgmine.store.local import LocalStore
from imgmine_assets.definitions import build_defs
from imgmine_assets.mining import run_job
from imgmine_assets.partitions import add_archives
from resources.store import StoreResource
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


def test_the_next_download_need_not_wait_for_uploads(tmp_path: Path) -> None:
    """A run leaves the pool of downloads when all is read, and not when its last shard is put."""
    [archive] = make_archives(tmp_path / "archive.org", kinds=[Kind.MAY_3], records=40)
    downloads: list[int] = []
    with workplace(tmp_path / "home", tmp_path / "archive.org", fetch=FetchMode.STREAM, shard_bytes=100_000) as work:
        # So that it is still being read when the first shard is put.
        work.server.faults.add(FaultKind.THROTTLE, rate=archive.size / 5, shared=True, path="*/items/*")
        events = work.instance.event_log_storage
        events.set_concurrency_slots("archive_org", 1)

        class Watched(LocalStore):
            def put_file(self, key: str, source: Path) -> None:
                if key.startswith("files/"):
                    downloads.append(events.get_concurrency_info("archive_org").active_slot_count)
                super().put_file(key, source)

        class WatchedResource(StoreResource):
            def open(self) -> Store:
                return Watched(Path(self.url))

        settings = work.settings
        store = WatchedResource(
            url=settings.store, s3_endpoint=None, scratch=str(settings.scratch), shard_bytes=settings.shard_bytes
        )
        add_archives(work.instance, [archive.identifier])
        assert run_job(
            build_defs({"store": store}, settings), work.instance, "mine_archive", archive.identifier
        ).succeeded
    assert len(downloads) > 2
    assert (downloads[0], downloads[-1]) == (1, 0)


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


def test_what_an_earlier_archive_has_is_not_fetched_and_only_its_loss_makes_that_stale(
    demo_archives: list[DemoArchive], tmp_path: Path
) -> None:
    """The later archive is the earlier one, put on the Internet Archive again."""
    [april] = [archive for archive in demo_archives if archive.kind is Kind.APRIL]
    again = "archiveteam_imgur_20240101000000_0a0b0c0d"
    root = tmp_path / "archive.org"
    for name in (april.identifier, again):
        shutil.copytree(april.folder, root / name)
    item = json.loads((root / again / "item.json").read_text())
    item["metadata"] |= {"identifier": again, "publicdate": "2024-01-01 00:00:00"}
    (root / again / "item.json").write_text(json.dumps(item))
    with workplace(tmp_path / "home", root, fetch=FetchMode.SELECT, select_known=True) as work:
        assert [outcome.reason for outcome in work.mine([april.identifier, again])] == ["", ""]
        earlier, later = (
            pq.read_table(work.store / f"files/{name}.parquet", columns=["blake2b"])["blake2b"].to_pylist()
            for name in (april.identifier, again)
        )
        records = pq.read_table(work.store / f"records/{again}.parquet")
        known = set(records["known_as"].drop_null().to_pylist())
        assert len(known) > 5
        assert len(later) < len(earlier)
        assert known <= set(earlier)
        assert set(later) <= set(earlier)

        before = published(work.store)
        work.server.clear_requests()
        assert [outcome.reason for outcome in work.mine([again])] == [""]
        assert not [request for request in work.server.requests if request.path.endswith(".zst")]
        assert published(work.store) == before

        (work.store / f"files/{april.identifier}.parquet").unlink()
        assert [outcome.reason for outcome in work.mine([again])] == [""]
        files = pq.read_table(work.store / f"files/{again}.parquet")
        assert files["blake2b"].to_pylist() == earlier
