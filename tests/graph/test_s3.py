"""The whole graph with its store on a real S3 server: the same bytes as in a folder, and servers that fail."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgmine.dataset.explain import explain
from imgmine.dataset.explanation_text import render
from imgmine.dataset.warehouse import open_warehouse
from imgmine.store.base import Store
from imgmine.store.opening import store_of
from imgmine.store.publish import read_table
from tests.graph.conftest import MinedDemo
from tests.graph.killed_runs import mining
from tests.graph.mined import NO_WATERMARKS, Workplace, contents, workplace
from tests.s3_server import S3Server, running_s3
from tests.store.cutting_proxy import cutting_proxy

pytestmark = pytest.mark.timeout(900)  # the whole graph runs before the first test, and on its own twice

# Just before it is sent: the shard is in the store, and no table names it yet.
SHARD_IS_THERE = ("http.client.send", "PUT */records/*.parquet*")


def set_credentials(server: S3Server, patch: pytest.MonkeyPatch) -> None:
    for name, value in server.environ("").items():
        if name.startswith("AWS_"):
            patch.setenv(name, value)


@pytest.fixture(scope="module")
def on_s3(
    mined: MinedDemo, demo_root: Path, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workplace]:
    """The demo once more, in another order, into a bucket, as on another machine. Tests must leave it as it is."""
    place = {"store": f"s3://{s3_server.bucket}/demo", "s3_endpoint": s3_server.endpoint}
    with pytest.MonkeyPatch.context() as patch:
        set_credentials(s3_server, patch)
        with workplace(tmp_path_factory.mktemp("on s3"), demo_root, **place) as work:
            outcomes = work.mine_all(list(reversed(mined.identifiers)))
            assert [outcome.reason for outcome in outcomes] == [""] * len(mined.outcomes)
            yield work


@pytest.fixture(scope="module")
def folder(mined: MinedDemo) -> Store:
    """The demo's store in a folder."""
    return store_of(mined.work.settings)


def mined_alone(store: Store, archive: str) -> dict[str, str]:
    """Return what mining this archive alone publishes: all but what needs other archives, or a fitted probe."""
    found = contents(store)
    need_more = ("anomaly_scores/", "probe_scores/", "categories/")
    return {key: found[key] for key in found if archive in key and not key.startswith(need_more)}


def test_another_order_on_another_machine_over_s3_publishes_the_bytes_of_a_folder(
    folder: Store, on_s3: Workplace
) -> None:
    assert contents(store_of(on_s3.settings)) == contents(folder)
    assert not any(path.is_file() for path in on_s3.settings.home.glob("store/**/*"))


def test_the_warehouse_on_s3_answers_as_the_one_in_a_folder(folder: Store, on_s3: Workplace, tmp_path: Path) -> None:
    questions = [
        "SELECT * FROM funnel ORDER BY ALL",
        "SELECT * FROM ownership ORDER BY ALL",
        "SELECT archive, count(*), sum(size) FROM files GROUP BY archive ORDER BY ALL",
        "SELECT * FROM yield_by_archive ORDER BY ALL",
    ]
    with (
        open_warehouse(folder, tmp_path / "mirror", tmp_path / "folder") as expected,
        open_warehouse(store_of(on_s3.settings), on_s3.settings.mirror, tmp_path / "s3") as found,
    ):
        for question in questions:
            answer = found.execute(question).fetchall()
            assert answer
            assert answer == expected.execute(question).fetchall()


def test_an_image_on_s3_is_explained_as_in_a_folder(
    mined: MinedDemo, folder: Store, on_s3: Workplace, tmp_path: Path
) -> None:
    archive, bucket = mined.identifiers[-1], store_of(on_s3.settings)
    scores = read_table(bucket, "anomaly_scores", archive).read()
    digest = scores["blake2b"][0].as_py().hex()
    told = [
        render(explain(digest, store, tmp_path / name, "https://archive.org"))
        for name, store in (("s3", bucket), ("folder", folder))
    ]
    assert archive in told[0]
    assert told[0] == told[1].replace(folder.url, bucket.url)


def test_wrong_credentials_end_a_run_at_once_and_say_so(
    mined: MinedDemo, demo_root: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_credentials(s3_server, monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    place = {"store": f"s3://{s3_server.bucket}/refused", "s3_endpoint": s3_server.endpoint}
    with workplace(tmp_path / "home", demo_root, **place) as work:
        started = time.monotonic()
        [outcome] = work.mine(mined.identifiers[:1])
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
    mined: MinedDemo, folder: Store, demo_root: Path, own_server: S3Server, tmp_path: Path
) -> None:
    archive = mined.identifiers[1]
    cuts: list[float] = []

    def power_cut() -> None:
        cuts.append(time.monotonic())
        own_server.kill()
        own_server.restart()

    with cutting_proxy(own_server.endpoint, sent=1_000_000, at_cut=power_cut) as endpoint:
        place = {"store": f"s3://{own_server.bucket}/cut", "s3_endpoint": endpoint}
        with workplace(tmp_path / "home", demo_root, **place) as work:
            [outcome] = work.mine([archive])
            assert outcome.reason == ""
            assert len(cuts) == 1
            assert mined_alone(store_of(work.settings), archive) == mined_alone(folder, archive)


def test_after_a_power_cut_nothing_is_half_published_and_the_next_run_finishes(
    mined: MinedDemo, folder: Store, demo_root: Path, own_server: S3Server, tmp_path: Path
) -> None:
    archive = mined.identifiers[1]
    whole = mined_alone(folder, archive)
    place = {"store": f"s3://{own_server.bucket}/off", "s3_endpoint": own_server.endpoint}
    with workplace(tmp_path / "home", demo_root, **place) as work:
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
