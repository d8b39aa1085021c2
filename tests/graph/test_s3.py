"""The whole graph with its store on a real S3 server: the same bytes as in a folder, and servers that fail."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgmine.dataset.explain import explain
from imgmine.dataset.explanation_text import render
from imgmine.dataset.warehouse import open_warehouse
from imgmine.demo.archives import make_archives
from imgmine.demo.exchanges import Kind
from imgmine.store.base import Store
from imgmine.store.opening import store_of
from imgmine.store.publish import read_table
from imgmine_assets.mining import Outcome
from tests.graph.killed_runs import mining
from tests.graph.mined import NO_WATERMARKS, Workplace, contents, workplace
from tests.s3_server import S3Server, running_s3
from tests.store.cutting_proxy import cutting_proxy

pytestmark = pytest.mark.timeout(900)  # the whole graph runs twice before the first test

# Just before it is sent: the shard is in the store, and no table names it yet.
SHARD_IS_THERE = ("http.client.send", "PUT */records/*.parquet*")


@dataclass(frozen=True)
class Mined:
    """A workplace in which two archives were mined as the demo does it, and how its runs ended."""

    work: Workplace
    outcomes: list[Outcome]

    @property
    def store(self) -> Store:
        return store_of(self.work.settings)


def set_credentials(server: S3Server, patch: pytest.MonkeyPatch) -> None:
    for name, value in server.environ("").items():
        if name.startswith("AWS_"):
            patch.setenv(name, value)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive.org")


@pytest.fixture(scope="module")
def archives(root: Path) -> list[str]:
    """Two archives that have files in common; there are videos in the second."""
    return [made.identifier for made in make_archives(root, kinds=[Kind.MAY_3, Kind.MAY_15], records=100)]


@contextmanager
def demo_mined(home: Path, root: Path, archives: list[str], **place: str) -> Iterator[Mined]:
    # At the usual percentile a mixture asks for a hundred images, which two archives do not have.
    with workplace(home, root, anomaly_percentile=20.0, **place) as work:
        yield Mined(work, work.mine_all(archives))


@pytest.fixture(scope="module")
def in_folder(root: Path, archives: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mined]:
    """The archives, mined into a folder. Tests must leave it as it is."""
    with demo_mined(tmp_path_factory.mktemp("in a folder"), root, archives) as mined:
        yield mined


@pytest.fixture(scope="module")
def on_s3(
    root: Path, archives: list[str], s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mined]:
    """The archives, mined into a bucket. Tests must leave it as it is."""
    place = {"store": f"s3://{s3_server.bucket}/demo", "s3_endpoint": s3_server.endpoint}
    with pytest.MonkeyPatch.context() as patch:
        set_credentials(s3_server, patch)
        with demo_mined(tmp_path_factory.mktemp("on s3"), root, archives, **place) as mined:
            yield mined


def mined_alone(store: Store, archive: str) -> dict[str, str]:
    """Return what mining this archive alone publishes: all but what needs other archives, or a fitted probe."""
    found = contents(store)
    need_more = ("anomaly_scores/", "probe_scores/", "categories/")
    return {key: found[key] for key in found if archive in key and not key.startswith(need_more)}


def test_the_demo_on_s3_publishes_the_bytes_that_it_publishes_in_a_folder(in_folder: Mined, on_s3: Mined) -> None:
    assert [outcome.reason for outcome in on_s3.outcomes] == [""] * len(in_folder.outcomes)
    assert contents(on_s3.store) == contents(in_folder.store)
    assert not any(path.is_file() for path in on_s3.work.settings.home.glob("store/**/*"))


def test_the_warehouse_on_s3_answers_as_the_one_in_a_folder(in_folder: Mined, on_s3: Mined, tmp_path: Path) -> None:
    questions = [
        "SELECT * FROM funnel ORDER BY ALL",
        "SELECT * FROM ownership ORDER BY ALL",
        "SELECT archive, count(*), sum(size) FROM files GROUP BY archive ORDER BY ALL",
        "SELECT * FROM yield_by_archive ORDER BY ALL",
    ]
    with (
        open_warehouse(in_folder.store, tmp_path / "folder") as expected,
        open_warehouse(on_s3.store, tmp_path / "s3") as found,
    ):
        for question in questions:
            answer = found.execute(question).fetchall()
            assert answer
            assert answer == expected.execute(question).fetchall()


def test_an_image_on_s3_is_explained_as_in_a_folder(
    in_folder: Mined, on_s3: Mined, archives: list[str], tmp_path: Path
) -> None:
    archive = archives[-1]
    scores = read_table(on_s3.store, "anomaly_scores", archive).read()
    digest = scores["blake2b"][0].as_py().hex()
    told = [
        render(explain(digest, store, tmp_path / name, "https://archive.org"))
        for name, store in (("s3", on_s3.store), ("folder", in_folder.store))
    ]
    assert archive in told[0]
    assert told[0] == told[1].replace(in_folder.store.url, on_s3.store.url)


def test_wrong_credentials_end_a_run_at_once_and_say_so(
    root: Path, archives: list[str], s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_credentials(s3_server, monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    place = {"store": f"s3://{s3_server.bucket}/refused", "s3_endpoint": s3_server.endpoint}
    with workplace(tmp_path / "home", root, **place) as work:
        started = time.monotonic()
        [outcome] = work.mine(archives[:1])
        took = time.monotonic() - started
        assert "AWS_ACCESS_KEY_ID" in outcome.reason
        assert outcome.reason.startswith("raw_archives: s3://")
        assert not work.server.requests, "nothing is fetched for a store that takes nothing"
        assert took < 30, "a refusal is not tried again"


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server that a test may kill."""
    with running_s3(tmp_path / "s3") as server:
        set_credentials(server, monkeypatch)
        yield server


def test_a_server_that_dies_in_the_middle_of_a_shard_and_comes_back_costs_nothing(
    in_folder: Mined, root: Path, archives: list[str], own_server: S3Server, tmp_path: Path
) -> None:
    archive = archives[1]
    cuts: list[float] = []

    def power_cut() -> None:
        cuts.append(time.monotonic())
        own_server.kill()
        own_server.restart()

    with cutting_proxy(own_server.endpoint, sent=1_000_000, at_cut=power_cut) as endpoint:
        place = {"store": f"s3://{own_server.bucket}/cut", "s3_endpoint": endpoint}
        with workplace(tmp_path / "home", root, **place) as work:
            [outcome] = work.mine([archive])
            assert outcome.reason == ""
            assert len(cuts) == 1
            assert mined_alone(store_of(work.settings), archive) == mined_alone(in_folder.store, archive)


def test_after_a_power_cut_nothing_is_half_published_and_the_next_run_finishes(
    in_folder: Mined, root: Path, archives: list[str], own_server: S3Server, tmp_path: Path
) -> None:
    archive = archives[1]
    whole = mined_alone(in_folder.store, archive)
    place = {"store": f"s3://{own_server.bucket}/off", "s3_endpoint": own_server.endpoint}
    with workplace(tmp_path / "home", root, **place) as work:
        environ = {
            **NO_WATERMARKS,
            "IMGMINE_HOME": str(work.settings.home),
            "IMGMINE_ARCHIVE_ORG": work.server.url,
            **own_server.environ("off"),
        }
        with mining(archive, environ, tmp_path, SHARD_IS_THERE) as command:
            command.wait_until_stopped()
            own_server.kill()
            command.kill()
        own_server.restart()

        found = contents(store_of(work.settings))
        assert found.items() <= whole.items()
        assert sorted({key.split("/")[0] for key in found}) == ["files", "manifests"]
        assert not any(key.endswith(".parquet") for key in found)

        [outcome] = work.mine([archive])
        assert outcome.reason == ""
        assert mined_alone(store_of(work.settings), archive) == whole
        assert [path for path in work.settings.scratch.glob("*/*") if path.suffix != ".lock"] == []
