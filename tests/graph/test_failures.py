"""Archives that cannot be mined: each fails with the reason, what cannot be helped is not retried, others go on."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from imgmine.demo.archives import DemoArchive, make_archives
from imgmine.demo.exchanges import Kind
from imgmine.demo.server_faults import FaultKind
from imgmine_assets.failed_archives import describe, failed_archives
from imgmine_assets.partitions import add_archives, archives, versions
from tests.graph.mined import Workplace, workplace


@pytest.fixture(scope="module")
def small_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("small")


@pytest.fixture(scope="module")
def small(small_root: Path) -> DemoArchive:
    [archive] = make_archives(small_root, kinds=[Kind.MAY_3], records=40)
    return archive


@pytest.fixture
def work(small_root: Path, small: DemoArchive, tmp_path: Path) -> Iterator[Workplace]:
    with workplace(tmp_path / "home", small_root) as work:
        yield work


def attempts(work: Workplace, run_id: str) -> int:
    """Return how often raw_archives was started in a run."""
    kinds = {dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED}
    return len(work.instance.get_records_for_run(run_id, of_type=kinds).records)


@pytest.mark.parametrize(
    ("fault", "said"),
    [(FaultKind.DARK, "is dark"), (FaultKind.RESTRICTED, "is restricted"), (FaultKind.PRIVATE, "is restricted")],
)
def test_an_item_that_is_not_for_us_fails_at_once_and_says_which(
    work: Workplace, small: DemoArchive, fault: FaultKind, said: str
) -> None:
    work.server.faults.add(fault)
    [outcome] = work.mine([small.identifier])
    assert said in outcome.reason
    assert small.identifier in outcome.reason
    assert attempts(work, outcome.run_id) == 1


def test_a_missing_item_fails_at_once_and_the_next_archive_is_mined(work: Workplace, small: DemoArchive) -> None:
    missing, mined = work.mine(["archiveteam_imgur_20230501000000_00000000", small.identifier])
    assert "no such item" in missing.reason
    assert attempts(work, missing.run_id) == 1
    assert mined.succeeded


def test_wrong_bytes_are_fetched_again_and_then_fail_with_both_digests(work: Workplace, small: DemoArchive) -> None:
    work.server.faults.add(FaultKind.FLIP, times=None)
    [outcome] = work.mine([small.identifier])
    assert "MD5" in outcome.reason
    name = small.warc_files[0].name
    fetched = [request for request in work.server.requests if request.path.endswith(name) and request.status == 200]
    assert len(fetched) == 3
    assert not (work.store / "manifests" / f"{small.identifier}.json").exists()


def test_bytes_that_are_wrong_once_are_fetched_again_and_mined(work: Workplace, small: DemoArchive) -> None:
    work.server.faults.add(FaultKind.FLIP, times=1)
    [outcome] = work.mine([small.identifier])
    assert outcome.succeeded


def test_the_daily_check_names_what_is_left_failed_and_why(work: Workplace, small: DemoArchive) -> None:
    work.server.faults.add(FaultKind.DARK)
    [outcome] = work.mine([small.identifier])
    [left] = describe(work.instance, failed_archives(work.instance))
    assert (left.archive, left.step, left.run_id) == (small.identifier, "raw_archives", outcome.run_id)
    assert "is dark" in left.reason
    look = work.defs.resolve_job_def("look_at_failures").execute_in_process(instance=work.instance)
    [evaluation] = look.get_asset_check_evaluations()
    assert not evaluation.passed
    assert evaluation.description == "1 of 1 archives are left failed"
    work.server.faults.clear()
    assert work.mine([small.identifier])[0].succeeded
    assert failed_archives(work.instance) == {}


def test_an_archive_that_is_not_in_the_cache_says_what_to_do(work: Workplace, small: DemoArchive) -> None:
    assert work.mine([small.identifier])[0].succeeded
    for table in ("files", "records"):
        (work.store / table / f"{small.identifier}.parquet").unlink()
    for path in (Path(work.settings.cache) / small.identifier).iterdir():
        path.unlink()
    result = work.defs.resolve_job_def("mine_archive").execute_in_process(
        instance=work.instance,
        partition_key=small.identifier,
        asset_selection=[dg.AssetKey("unique_files")],
        raise_on_error=False,
    )
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data is not None
    assert "Materialize raw_archives" in (failure.step_failure_data.user_failure_data.description or "")


def test_failed_releases_and_archives_that_were_removed_are_not_archives_left_failed() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        add_archives(instance, ["there", "removed"])
        instance.add_dynamic_partitions(str(versions.name), ["v1"])
        for partition in ("there", "removed", "v1"):
            tags = {"dagster/partition": partition}
            create_run_for_test(instance, status=dg.DagsterRunStatus.FAILURE, tags=tags)
        assert set(failed_archives(instance)) == {"there", "removed"}
        instance.delete_dynamic_partition(str(archives.name), "removed")
        assert set(failed_archives(instance)) == {"there"}
