"""dbt's reports on the warehouse, as assets of the same lineage graph.

The models themselves are SQL in `dbt_reports/`. They are built in a private copy of the warehouse, which then replaces
the published one by rename.
"""

import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, dbt_assets

from imgmine.scratch import scratch_folder
from imgmine.store.publish import content_digest
from imgmine_assets.column_lineage import report_lineage
from imgmine_assets.dbt_project import (
    PROJECT_NAME,
    TARGET,
    copy_project,
    current_manifest,
    dbt_in,
    warehouse_for_dbt,
)
from imgmine_assets.failures import explained
from imgmine_assets.shown import rows_table
from resources.store import StoreResource
from resources.warehouse import WarehouseResource

_ROWS_SHOWN = 50
_KINDS = {"BIGINT": "int", "INTEGER": "int", "DOUBLE": "float"}


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


def build_dbt_reports() -> dg.AssetsDefinition:
    """Return the assets of the dbt project. Raises `DbtProjectBroken`."""
    translator = _Translator(
        DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True, enable_source_tests_as_checks=True)
    )

    @dbt_assets(manifest=current_manifest(), dagster_dbt_translator=translator, pool="warehouse")
    def dbt_reports(
        context: dg.AssetExecutionContext, store: StoreResource, warehouse: WarehouseResource
    ) -> Iterator[Any]:
        with explained(), scratch_folder(store.scratch_root, "dbt_reports", "warehouse") as scratch:
            copy_project(scratch)
            draft = warehouse.checkout(store.open(), scratch)
            events: list[Any] = []
            try:
                with warehouse_for_dbt():
                    build = dbt_in(scratch).cli(["build"], context=context, target_path=scratch / TARGET)
                    events += build.stream()
            except Exception:
                # Nothing is published, so nothing is materialized; but which test failed is to be seen.
                yield from (event for event in events if isinstance(event, dg.AssetCheckResult))
                raise
            with duckdb.connect(str(draft), read_only=True) as connection:
                nodes, compiled = build.manifest["nodes"], scratch / TARGET / "compiled" / PROJECT_NAME
                columns = _columns(connection)
                told = [
                    _shown(event, connection, nodes, compiled, columns) if isinstance(event, dg.Output) else event
                    for event in events
                ]
            # A passed test of two tables belongs to no asset; dagster-dbt tells of it in many words on each.
            told = [event for event in told if not isinstance(event, dg.AssetObservation)]
            warehouse.publish(store.open(), draft)
            yield from told

    return dbt_reports
