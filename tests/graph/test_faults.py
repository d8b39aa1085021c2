"""Disks that fill, caches that vanish, stores that refuse: the run says why, what is published stays, the next ends."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg
import pytest

from imgmine.demo.archives import make_archives
from imgmine.demo.damage import Damage
from imgmine.demo.exchanges import Kind
from imgmine.demo.server import ArchiveServer, serve
from imgmine.settings import load_settings
from imgmine.store.base import Store
from imgmine.store.opening import open_store, store_of
from imgmine_assets.partitions import add_archives
from tests.graph.mined import NO_WATERMARKS, Workplace
from tests.graph.small_disks import small_disk
from tests.kills.places import broken, unlike
from tests.s3_server import S3Server
from tests.store.refusing_proxy import refusing_proxy

Contents = dict[str, bytes]
STAGES = ("raw_archives", "unique_files", "images")


def contents_of(store: Store) -> Contents:
    return {stored.key: store.get_bytes(stored.key) for stored in store.list("")}


def manifests(contents: Contents) -> Contents:
    return {key: data for key, data in contents.items() if key.startswith("manifests/")}


@dataclass(frozen=True)
class Versions:
    """An archive, served as it was and as it is now, and what is published of each."""

    archive: str
    servers: tuple[ArchiveServer, ArchiveServer]
    home_before: Path
    before: Contents
    now: Contents


@dataclass(frozen=True)
class Mining:
    """A workplace in which the earlier version of the archive is published, to be mined anew."""

    work: Workplace
    versions: Versions

    @property
    def home(self) -> Path:
        return self.work.settings.home

    @property
    def store(self) -> Store:
        return store_of(self.work.settings)

    def fails(self, step: str, *said: str) -> None:
        """Mine; see that it fails at the step, at once, with these words, and that what was published is whole."""
        self._fails(mine(self.work, self.versions.archive), step, said)
        self.assert_whole()

    def fails_alone(self, step: str, *said: str) -> None:
        """Do one step; see that it fails at once, with these words."""
        self._fails(mine(self.work, self.versions.archive, [step]), step, said)

    def _fails(self, result: dg.ExecuteInProcessResult, step: str, said: Sequence[str]) -> None:
        [failure] = [event for event in result.all_events if event.is_step_failure]
        assert failure.step_key == step
        for words in said:
            assert words in reason_of(failure)
        assert not [event for event in result.all_events if event.is_step_up_for_retry], "it was tried again"

    def assert_whole(self) -> None:
        found = contents_of(self.store)
        assert broken(found, [self.versions.before, self.versions.now]) == []
        assert {key for key in self.versions.before if not key.endswith(".tar")} <= found.keys()

    def finishes(self) -> None:
        result = mine(self.work, self.versions.archive)
        assert [reason_of(event) for event in result.all_events if event.is_step_failure] == []
        assert unlike(contents_of(self.store), self.versions.now) == []
        assert [path for path in self.work.settings.scratch.glob("*/*") if path.suffix != ".lock"] == []


def mine(work: Workplace, archive: str, assets: Sequence[str] = STAGES) -> dg.ExecuteInProcessResult:
    """Mine from the Internet Archive to previews. A failure is returned, not raised."""
    add_archives(work.instance, [archive])
    return work.defs.resolve_job_def("mine_archive").execute_in_process(
        instance=work.instance,
        partition_key=archive,
        asset_selection=[dg.AssetKey(name) for name in assets],
        raise_on_error=False,
    )


def reason_of(failure: dg.DagsterEvent) -> str:
    data = failure.step_failure_data.user_failure_data
    return (data.description if data else None) or str(failure.step_failure_data.error)


@contextmanager
def mining(home: Path, server: ArchiveServer, **changes: object) -> Iterator[Workplace]:
    with dg.instance_for_test(temp_dir=str(home)) as instance:
        settings = load_settings({**NO_WATERMARKS, "IMGMINE_HOME": str(home), "IMGMINE_ARCHIVE_ORG": server.url})
        yield Workplace(replace(settings, **changes), instance, server)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Versions]:
    folder = tmp_path_factory.mktemp("versions")
    with ExitStack() as stack:
        servers, published = [], []
        for name, damage in (("before", None), ("now", Damage.FRAME)):
            [archive] = make_archives(folder / name, kinds=[Kind.MAY_15], records=40, damage=damage)
            servers.append(stack.enter_context(serve(folder / name)))
            home = folder / f"home {name}"
            home.mkdir()
            with mining(home, servers[-1]) as work:
                assert mine(work, archive.identifier).success
                published.append(contents_of(store_of(work.settings)))
        before, now = published
        yield Versions(archive.identifier, (servers[0], servers[1]), folder / "home before", before, now)


@pytest.fixture
def anew(versions: Versions, tmp_path: Path) -> Iterator[Callable[..., Mining]]:
    """Return what makes the workplace; folders in which it is to find disks of their own are there before."""
    with ExitStack() as stack:

        def make(**changes: object) -> Mining:
            home = tmp_path / "home"
            shutil.copytree(versions.home_before / "store", home / "store", dirs_exist_ok=True)
            versions.servers[1].clear_requests()
            stack.callback(versions.servers[1].faults.clear)
            return Mining(stack.enter_context(mining(home, versions.servers[1], **changes)), versions)

        yield make


def test_disks_that_fill_one_after_another(anew: Callable[..., Mining], tmp_path: Path) -> None:
    home = tmp_path / "home"
    with small_disk(home / "scratch" / "unique_files") as of_pass, small_disk(home / "store" / "records") as of_table:
        work = anew()
        of_pass.fill(leave=100_000)
        work.fails("unique_files", "No space left", "scratch/unique_files", "Free some space", "IMGMINE_HOME")
        of_pass.make_room()
        of_table.fill(leave=4096)
        work.fails("unique_files", "disk is full", "store/records", "free some space", "IMGMINE_STORE")
        of_table.make_room()
        with small_disk(home / "scratch" / "images") as of_gate:
            of_gate.fill(leave=20_000)
            work.fails("images", "No space left", "scratch/images", "Free some space", "IMGMINE_HOME")
            of_gate.make_room()
            work.finishes()


def test_a_cache_that_fills_while_it_is_fetched_keeps_what_has_arrived(
    anew: Callable[..., Mining], tmp_path: Path
) -> None:
    with small_disk(tmp_path / "home" / "cache") as disk:
        work = anew()
        server = work.versions.servers[1]
        server.faults.add("throttle", rate=1_000_000, path="*.zst")

        def fill() -> None:
            while sum(request.sent for request in server.requests) < 200_000:
                time.sleep(0.01)
            disk.fill(leave=50_000)

        another = threading.Thread(target=fill)
        another.start()
        work.fails("raw_archives", "No space left", "IMGMINE_CACHE", "the next run goes on from there")
        another.join()
        server.faults.clear()
        disk.make_room()
        arrived = sum(request.sent for request in server.requests if request.path.endswith(".zst"))
        server.clear_requests()
        work.finishes()
        total = sum(path.stat().st_size for path in disk.path.glob("*/*.zst"))
        fetched = sum(request.sent for request in server.requests if request.path.endswith(".zst"))
        assert 0 < total - fetched <= arrived


def test_a_store_that_becomes_read_only(anew: Callable[..., Mining], tmp_path: Path) -> None:
    with small_disk(tmp_path / "home" / "store") as disk:
        work = anew()
        disk.make_read_only()
        work.fails("raw_archives", "Read-only file system", "permissions", "IMGMINE_STORE")
        assert not work.versions.servers[1].requests, "nothing is fetched for a store that takes nothing"
        disk.make_writable()
        work.finishes()


def test_a_cache_that_is_unmounted_is_said_and_fetched_again(anew: Callable[..., Mining], tmp_path: Path) -> None:
    work = anew()
    with small_disk(tmp_path / "home" / "cache") as disk:
        work.finishes()
        for table in ("files", "records"):
            (tmp_path / "home" / "store" / table / f"{work.versions.archive}.parquet").unlink()
        disk.vanish()
        work.fails_alone("unique_files", "is not in the cache", "Materialize raw_archives")
        work.finishes()


def test_a_file_that_is_cut_under_the_reader_is_not_taken_for_an_archive_that_ends_there(
    anew: Callable[..., Mining], tmp_path: Path
) -> None:
    work = anew()
    *_, last = sorted(item.name for item in work.work.server.root.glob(f"{work.versions.archive}/*.zst"))

    def cut() -> None:
        while not (tmp_path / "home/scratch/unique_files" / work.versions.archive / "spool.bin").exists():
            time.sleep(0.001)
        os.truncate(tmp_path / "home" / "cache" / work.versions.archive / last, 200_000)

    another = threading.Thread(target=cut)
    another.start()
    work.fails("unique_files", last, "was changed since it was checked", "Materialize raw_archives")
    another.join()
    assert unlike(contents_of(work.store), {**work.versions.before, **manifests(work.versions.now)}) == []
    work.finishes()


@pytest.fixture
def on_s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    for name, value in s3_server.environ("").items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return f"s3://{s3_server.bucket}/faults-{request.node.name.partition('[')[0]}"


def test_a_bucket_that_refuses_a_table(anew: Callable[..., Mining], s3_server: S3Server, on_s3: str) -> None:
    store = open_store(on_s3, s3_server.endpoint)
    with refusing_proxy(s3_server.endpoint, r"PUT /\S+/files/[^/]+\.parquet ", 403, "AccessDenied") as (
        endpoint,
        allow,
    ):
        work = anew(store=on_s3, s3_endpoint=endpoint)
        for key, data in work.versions.before.items():
            store.put_bytes(key, data)
        work.fails(
            "unique_files", "AccessDenied", f"files/{work.versions.archive}.parquet", "right to list, read, write"
        )
        allow()
        work.finishes()


def test_a_bucket_that_is_overloaded_for_a_while_is_asked_again(
    anew: Callable[..., Mining], s3_server: S3Server, on_s3: str
) -> None:
    refusal = refusing_proxy(s3_server.endpoint, r"PUT /\S+/(files|records)/", 503, "SlowDown", times=3)
    with refusal as (endpoint, _):
        anew(store=on_s3, s3_endpoint=endpoint).finishes()
