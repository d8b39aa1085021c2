"""dbt's reports in the graph: what is materialized was published, and a failed test of dbt is a failed check."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgmine.demo.archives import make_archives
from imgmine.demo.exchanges import Kind
from tests.graph.mined import Workplace, workplace

REPORT = dg.AssetKey("report_funnel")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("archive.org")
    [archive] = make_archives(root, kinds=[Kind.MAY_3], records=40)
    return root, archive.identifier


@pytest.fixture(scope="module")
def work(archive: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A workplace with an archive and its statistics."""
    root, identifier = archive
    with workplace(tmp_path_factory.mktemp("home"), root) as work:
        outcomes = [*work.mine([identifier]), work.run("statistics")]
        assert [outcome.reason for outcome in outcomes] == ["", ""]
        yield work


def materializations(work: Workplace) -> list[dg.AssetMaterialization]:
    records = work.instance.fetch_materializations(REPORT, limit=10).records
    return [made for record in records if (made := record.asset_materialization)]


def report(work: Workplace) -> list[tuple[object, ...]]:
    with duckdb.connect(str(work.store / "warehouse.duckdb"), read_only=True) as warehouse:
        return warehouse.execute("SELECT * FROM report_funnel").fetchall()


def test_a_report_shows_its_rows(work: Workplace) -> None:
    [made] = materializations(work)
    shown = made.metadata["rows"].value
    assert [record.data["n"] for record in shown.records] == [row[3] for row in report(work)]
    assert made.metadata["dagster/row_count"].value == len(report(work)) > 0


def test_a_report_of_the_same_rows_has_the_same_data_version(work: Workplace) -> None:
    assert work.run("statistics").succeeded
    after, before = materializations(work)
    assert after.tags is not None
    assert before.tags is not None
    assert after.tags["dagster/data_version"] == before.tags["dagster/data_version"]


def test_a_failed_test_of_dbt_is_a_failed_check_and_leaves_the_former_reports(
    work: Workplace, archive: tuple[Path, str]
) -> None:
    before, rows = materializations(work), report(work)
    path = work.store / "images" / f"{archive[1]}.parquet"
    table = pq.read_table(path)
    wrong = pa.array(["nonsense"] * table.num_rows)
    pq.write_table(table.set_column(table.schema.get_field_index("decision"), "decision", wrong), path)
    outcome = work.run("statistics")
    assert "decisions_are_known" in outcome.reason
    failed = [
        evaluation.check_name
        for record in work.instance.get_records_for_run(
            outcome.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ).records
        if not (evaluation := record.event_log_entry.get_dagster_event().asset_check_evaluation_data).passed
    ]
    assert "decisions_are_known" in failed
    assert materializations(work) == before
    assert report(work) == rows
