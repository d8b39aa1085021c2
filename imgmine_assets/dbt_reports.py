"""dbt's reports on the warehouse, as assets of the same lineage graph.

The models themselves are SQL in `dbt_reports/`. They are built in a private copy of the warehouse, which then replaces
the published one by rename.
"""

import fcntl
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliResource, DbtProject, dbt_assets

from imgmine.errors import PersonNeeded
from imgmine.scratch import scratch_folder
from imgmine.store.publish import content_digest
from imgmine_assets.column_lineage import report_lineage
from imgmine_assets.failures import explained
from imgmine_assets.shown import rows_table
from resources.store import StoreResource
from resources.warehouse import WarehouseResource

# The one beside this Python: a virtual environment need not be active.
_DBT = Path(sys.executable).with_name("dbt")
_PROJECT = "imgmine_reports"
_ROWS_SHOWN = 50
_KINDS = {"BIGINT": "int", "INTEGER": "int", "DOUBLE": "float"}
PROJECT_FOLDER = Path(__file__).resolve().parents[1] / "dbt_reports"


class DbtProjectBroken(PersonNeeded):
    """dbt cannot read the project in `dbt_reports/`."""


def current_manifest(project: DbtProject) -> Path:
    """Return dbt's manifest of the project, parsed anew where a file of the project is younger.

    Processes that start together take turns: dbt writes the file in place, and two at once leave nonsense.
    """
    manifest = Path(project.manifest_path)
    manifest.parent.mkdir(exist_ok=True)
    with (manifest.parent / "parsing.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _parse_if_older(project, manifest)
    return manifest


def _parse_if_older(project: DbtProject, manifest: Path) -> None:
    sources = [
        path
        for path in project.project_dir.rglob("*")
        if path.suffix in {".sql", ".yml"} and not path.is_relative_to(project.project_dir / project.target_path)
    ]
    if manifest.exists() and manifest.stat().st_mtime >= max(path.stat().st_mtime for path in sources):
        return
    parsed = subprocess.run(
        [_DBT, "parse", "--quiet", "--project-dir", project.project_dir, "--profiles-dir", project.profiles_dir],
        capture_output=True,
        text=True,
        check=False,
    )
    if parsed.returncode != 0:
        raise DbtProjectBroken(f"dbt cannot parse {project.project_dir}:\n{parsed.stdout}{parsed.stderr}")
    # dbt leaves the file alone where nothing that it looks at has changed.
    manifest.touch()


class _Translator(DagsterDbtTranslator):
    """Every source table of the dbt project is the warehouse, which `dataset_statistics` publishes."""

    def get_asset_key(self, dbt_resource_props: Any) -> dg.AssetKey:
        if dbt_resource_props["resource_type"] == "source":
            return dg.AssetKey("dataset_statistics")
        return dg.AssetKey(dbt_resource_props["name"])

    def get_group_name(self, dbt_resource_props: Any) -> str:
        return "reports"

    def get_metadata(self, dbt_resource_props: Any) -> Mapping[str, Any]:
        # While dbt parses there is no warehouse, and it takes the database's name from where there is none.
        return {
            **super().get_metadata(dbt_resource_props),
            "dagster/table_name": f"warehouse.{dbt_resource_props['name']}",
        }

    def get_owners(self, dbt_resource_props: Any) -> list[str]:
        return ["team:imgmine"]


def _shown(
    report: dg.Output[Any],
    connection: duckdb.DuckDBPyConnection,
    nodes: Mapping[str, Any],
    compiled: Path,
    warehouse: Mapping[str, Mapping[str, str]],
) -> dg.Output[Any]:
    """Return a report's event with the report in it, its columns and their lineage; its data version is the rows'.

    `warehouse` are the columns of every table and view, with their types.
    """
    node = nodes[str(report.metadata["unique_id"].value)]
    name = node["name"]
    # Of all rows in whatever order: a report over all archives may have a million.
    counted = connection.execute(f'SELECT count(*), bit_xor(hash(row)) FROM "{name}" AS row').fetchone() or (0, 0)
    found = connection.execute(f'SELECT * FROM "{name}" LIMIT {_ROWS_SHOWN}')
    types = {column: str(kind) for column, kind, *_ in found.description or []}
    shown_rows = [[_readable(cell) for cell in row] for row in found.fetchall()]
    heading = "rows" if counted[0] <= _ROWS_SHOWN else f"first {_ROWS_SHOWN} rows"
    columns = [
        dg.TableColumn(column, kind, description=node["columns"].get(column, {}).get("description"))
        for column, kind in types.items()
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.Output(
            report.value,
            output_name=report.output_name,
            metadata={
                heading: rows_table({column: _KINDS.get(kind, "string") for column, kind in types.items()}, shown_rows),
                "dagster/row_count": counted[0],
                "dagster/column_schema": dg.TableSchema(columns),
                **report_lineage((compiled / node["original_file_path"]).read_text(), warehouse),
                **report.metadata,
            },
            data_version=dg.DataVersion(content_digest(repr(counted).encode())),
        )


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Return the columns of every table and view of the warehouse, with their types."""
    columns: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'main' "
        "ORDER BY table_name, ordinal_position"
    ).fetchall():
        columns.setdefault(table, {})[column] = kind
    return columns


def _readable(cell: object) -> object:
    match cell:
        case float():
            return round(cell, 4)
        case int() | None:
            return cell
        case datetime():
            return f"{cell:%Y-%m-%d %H:%M}"
        case _:
            return str(cell)


def build_dbt_reports() -> tuple[dg.AssetsDefinition, DbtCliResource]:
    """Return the assets of the dbt project, and the resource that runs dbt for them."""
    project = DbtProject(PROJECT_FOLDER)
    translator = _Translator(
        DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True, enable_source_tests_as_checks=True)
    )

    @dbt_assets(
        manifest=current_manifest(project), project=project, dagster_dbt_translator=translator, pool="warehouse"
    )
    def dbt_reports(
        context: dg.AssetExecutionContext, dbt: DbtCliResource, store: StoreResource, warehouse: WarehouseResource
    ) -> Iterator[Any]:
        with explained(), scratch_folder(store.scratch_root, "dbt_reports", "warehouse") as scratch:
            draft = warehouse.checkout(store.open(), scratch)
            shutil.copytree(PROJECT_FOLDER / project.target_path, scratch / "target")
            events: list[Any] = []
            try:
                with warehouse.seen_by_dbt(draft):
                    build = dbt.cli(["build"], context=context, target_path=scratch / "target")
                    events += build.stream()
            except Exception:
                # Nothing is published, so nothing is materialized; but which test failed is to be seen.
                yield from (event for event in events if isinstance(event, dg.AssetCheckResult))
                raise
            with duckdb.connect(str(draft), read_only=True) as connection:
                nodes, compiled = build.manifest["nodes"], scratch / "target" / "compiled" / _PROJECT
                columns = _columns(connection)
                told = [
                    _shown(event, connection, nodes, compiled, columns) if isinstance(event, dg.Output) else event
                    for event in events
                ]
            # A passed test of two tables belongs to no asset; dagster-dbt tells of it in many words on each.
            told = [event for event in told if not isinstance(event, dg.AssetObservation)]
            warehouse.publish(store.open(), draft)
            yield from told

    return dbt_reports, DbtCliResource(project_dir=project, dbt_executable=str(_DBT))
