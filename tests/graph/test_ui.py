"""The Dagster UI and its daemon as `imgmine demo` starts them: what a person does there comes to what it should."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from imgmine.demo.archives import make_archives
from imgmine.demo.exchanges import Kind
from imgmine.demo.server import ArchiveServer, serve
from imgmine.demo.server_faults import FaultKind
from imgmine.settings import load_settings
from imgmine_assets.code_location import WORKSPACE
from imgmine_assets.definitions import build_defs
from imgmine_assets.instance import open_instance
from imgmine_assets.mining import run_job
from imgmine_assets.ui import free_port, running_ui
from tests.graph.ui_client import UiClient

pytestmark = pytest.mark.timeout(400)

CHAIN = ("raw_archives", "unique_files", "images", "embeddings")
CHECKS = {
    ("raw_archives", "md5_is_the_archives"),
    ("unique_files", "records_add_up"),
    ("unique_files", "files_are_in_their_shards"),
    ("unique_files", "few_records_are_broken"),
    ("images", "every_file_has_a_verdict"),
    ("images", "previews_are_in_their_shards"),
    ("images", "share_kept_is_usual"),
    ("embeddings", "vectors_are_of_one_model"),
    ("embeddings", "every_image_has_a_vector"),
    ("embeddings", "vectors_are_sound"),
}


@dataclass(frozen=True)
class Materialization:
    """One materialization of one partition."""

    run_id: str
    metadata: Mapping[str, Any]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Ui:
    """A UI over a few archives, and the instance behind it."""

    client: UiClient
    instance: dg.DagsterInstance
    server: ArchiveServer
    archives: list[str]

    def materializations(self, asset: str, archive: str) -> list[Materialization]:
        """Return what was reported of one partition, the latest first."""
        wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[archive])
        records = self.instance.fetch_materializations(wanted, limit=10).records
        return [
            Materialization(record.run_id, made.metadata, made.tags or {})
            for record in records
            if (made := record.asset_materialization)
        ]

    def events(self, run: str, kind: dg.DagsterEventType) -> list[dg.EventLogEntry]:
        return [record.event_log_entry for record in self.instance.get_records_for_run(run, of_type=kind).records]

    def check_evaluations(self, run: str) -> list[dg.AssetCheckEvaluation]:
        entries = self.events(run, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        return [entry.get_dagster_event().asset_check_evaluation_data for entry in entries]

    def span(self, run: str, first: str, last: str) -> tuple[float, float]:
        """Return when the first of two steps of a run started, and when the last of them ended."""
        started, ended = (
            {entry.step_key: entry.timestamp for entry in self.events(run, kind)}
            for kind in (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS)
        )
        return started[first], ended[last]

    def failure(self, run: str) -> str:
        """Return the message that the run's page shows with the step that failed."""
        [entry] = self.events(run, dg.DagsterEventType.STEP_FAILURE)
        error = entry.get_dagster_event().step_failure_data.error
        assert error is not None
        return error.message


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    root, home = tmp_path_factory.mktemp("archive.org"), tmp_path_factory.mktemp("home")
    archives = [archive.identifier for archive in make_archives(root, kinds=[*Kind, Kind.MAY_3], records=50)]
    with pytest.MonkeyPatch.context() as patch, serve(root) as server:
        for name in [name for name in os.environ if name.startswith(("IMGMINE_", "DAGSTER_"))]:
            patch.delenv(name)
        patch.setenv("IMGMINE_HOME", str(home))
        patch.setenv("IMGMINE_ARCHIVE_ORG", server.url)
        # Set by `open_instance`; here so that it is taken back.
        patch.setenv("DAGSTER_HOME", str(home / "dagster"))
        patch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
        with open_instance(load_settings()) as instance:
            port = free_port(0)
            with running_ui(port, {}, home) as child:
                yield Ui(UiClient(f"http://127.0.0.1:{port}"), instance, server, archives)
            assert ends(child.pid), "processes of the UI are still there"


def ends(group: int) -> bool:
    """Return whether no process of the group is left, soon."""
    for _ in range(60):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.5)
    return False


@dataclass(frozen=True)
class Day:
    """What a person launched, all of which has come to its end. `backfilled` are runs by archive, `statuses` by run."""

    ui: Ui
    archives: list[str]
    backfill: str
    backfilled: dict[str, str]
    rerun: str
    dark: str
    by_command: str
    again: str
    statuses: dict[str, str]


@pytest.fixture(scope="module")
def day(ui: Ui) -> Day:
    *archives, dark = ui.archives
    for archive in ui.archives:
        ui.client.add_partition(archive)
    # Downloads take some seconds, so that more than two runs want to at once.
    sizes = [path.stat().st_size for path in ui.server.root.glob("archiveteam*/*.warc.zst")]
    ui.server.faults.add(FaultKind.THROTTLE, rate=sum(sizes) / len(ui.archives) / 4, path="*.warc.zst")
    ui.server.faults.add(FaultKind.DARK, path=dark)
    backfill = ui.client.backfill(CHAIN, archives)
    # The daemon looks for backfills twice a minute.
    gone = ui.client.materialize("raw_archives", dark)
    backfilled = ui.client.wait_for_runs_of_backfill(backfill, count=len(archives), within=240)
    by_command = run_job(build_defs(settings=load_settings()), ui.instance, "score_archive", archives[0])
    assert by_command.succeeded, by_command.reason
    runs = [gone, ui.client.run_again(by_command.run_id)]
    statuses = {run: ui.client.wait_for_run(run, within=120) for run in runs}
    rerun = ui.client.materialize("images", archives[0])
    statuses[rerun] = ui.client.wait_for_run(rerun, within=120)
    return Day(ui, archives, backfill, backfilled, rerun, runs[0], by_command.run_id, runs[1], statuses)


def test_a_backfill_over_all_archives_is_one_run_an_archive_and_materializes_every_partition(day: Day) -> None:
    assert sorted(day.backfilled) == sorted(day.archives)
    for asset, archive in itertools.product(CHAIN, day.archives):
        assert day.backfilled[archive] in {made.run_id for made in day.ui.materializations(asset, archive)}
    assert day.ui.client.wait_for_backfill(day.backfill, within=60) == "COMPLETED_SUCCESS"


def test_every_check_that_can_block_passed_for_every_archive(day: Day) -> None:
    for archive, run in day.backfilled.items():
        evaluations = day.ui.check_evaluations(run)
        assert {(it.asset_key.to_user_string(), it.check_name) for it in evaluations} == CHECKS
        failed = [it.check_name for it in evaluations if not it.passed and it.severity == dg.AssetCheckSeverity.ERROR]
        assert failed == []
        assert all((it.description or "").startswith(archive) for it in evaluations)


def test_at_most_two_archives_are_downloaded_at_once_and_others_are_processed_meanwhile(day: Day) -> None:
    runs = day.backfilled.values()
    downloads = {run: day.ui.span(run, "raw_archives", "raw_archives") for run in runs}
    processing = {run: day.ui.span(run, "unique_files", "embeddings") for run in runs}
    at_once = [sum(start <= moment < end for start, end in downloads.values()) for moment, _ in downloads.values()]
    assert max(at_once) <= 2
    assert any(overlap(downloads[one], processing[other]) for one, other in itertools.permutations(runs, 2))


def overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def test_a_rerun_of_one_partition_reports_the_same_data_version_and_says_unchanged(day: Day) -> None:
    assert day.statuses[day.rerun] == "SUCCESS"
    after, before = day.ui.materializations("images", day.archives[0])
    assert after.tags["dagster/data_version"] == before.tags["dagster/data_version"]
    assert (before.metadata["unchanged"].value, after.metadata["unchanged"].value) == (False, True)
    for name in ("decisions", "contact sheets", "formats"):
        assert after.metadata[name] == before.metadata[name]


def test_a_dark_item_fails_its_run_at_once_and_the_run_says_why(day: Day) -> None:
    assert day.statuses[day.dark] == "FAILURE"
    assert "is dark" in day.ui.failure(day.dark)
    assert len(day.ui.events(day.dark, dg.DagsterEventType.STEP_START)) == 1
    assert not day.ui.events(day.dark, dg.DagsterEventType.STEP_UP_FOR_RETRY)


def test_a_run_of_the_command_line_is_in_its_jobs_history_and_can_be_run_again(day: Day) -> None:
    assert day.statuses[day.again] == "SUCCESS"
    assert set(day.ui.client.runs_of_job("score_archive")) == {day.by_command, day.again}


def test_nothing_is_told_to_anybody(ui: Ui) -> None:
    assert not ui.instance.telemetry_enabled
    assert not list(Path(ui.instance.root_directory).rglob("*telemetry*"))


def test_the_workspace_loads_for_whoever_starts_dagster_by_hand(tmp_path: Path) -> None:
    environ = {**os.environ, "DAGSTER_HOME": str(tmp_path), "IMGMINE_HOME": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "definitions", "validate", "-w", str(WORKSPACE)]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
