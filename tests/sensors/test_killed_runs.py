"""Runs whose process was killed do not take up places for ever, and those that end by themselves are left alone."""

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import dagster as dg
import pytest

from imgmine_assets import dead_runs
from imgmine_assets.dead_runs import marked_as_running
from sensors.killed_runs import killed_runs


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@dg.job
def nothing() -> None:
    pass


def started(instance: dg.DagsterInstance) -> dg.DagsterRun:
    return instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)


def left_behind(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Path:
    """Leave the lock of a run as a process does that is killed: there, and held by nobody."""
    path = Path(instance.root_directory) / "running" / f"{run.run_id}.lock"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def tick(instance: dg.DagsterInstance) -> str:
    with dg.build_sensor_context(instance=instance) as context:
        answer = killed_runs(context)
    assert isinstance(answer, dg.SkipReason)
    return str(answer.skip_message)


def test_a_killed_run_is_marked_as_failed_though_no_other_run_begins(instance: dg.DagsterInstance) -> None:
    run = started(instance)
    lock = left_behind(instance, run)
    assert run.run_id in tick(instance)
    assert status(instance, run) == dg.DagsterRunStatus.FAILURE
    assert not lock.exists()
    assert tick(instance) == "No run was killed."


def test_a_run_at_work_is_left_alone(instance: dg.DagsterInstance) -> None:
    run = started(instance)
    with marked_as_running(instance, run.run_id):
        assert tick(instance) == "No run was killed."
    assert status(instance, run) == dg.DagsterRunStatus.STARTED


def test_a_run_that_ends_while_it_is_looked_at_is_not_taken_for_killed(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(instance)
    path = left_behind(instance, run)
    flock = fcntl.flock

    def ends_just_before(lock: IO[str], operation: int) -> Any:
        path.unlink()
        return flock(lock, operation)

    monkeypatch.setattr(dead_runs.fcntl, "flock", ends_just_before)
    assert tick(instance) == "No run was killed."
    assert status(instance, run) == dg.DagsterRunStatus.STARTED


def test_it_runs_without_being_turned_on() -> None:
    assert killed_runs.default_status == dg.DefaultSensorStatus.RUNNING
