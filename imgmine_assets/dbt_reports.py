"""dbt's reports on the warehouse, as assets of the same lineage graph.

The models themselves are SQL in `dbt_reports/`. They are built in a private copy of the warehouse, which then replaces
the published one by rename.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliResource, DbtProject, dbt_assets

from imgmine.errors import ImgmineError
from imgmine.scratch import scratch_folder
from imgmine_assets.failures import explained
from resources.store import StoreResource
from resources.warehouse import WarehouseResource

# The one beside this Python: a virtual environment need not be active.
_DBT = Path(sys.executable).with_name("dbt")
PROJECT_FOLDER = Path(__file__).resolve().parents[1] / "dbt_reports"


class DbtProjectBroken(ImgmineError):
    """dbt cannot read the project in `dbt_reports/`."""


def current_manifest(project: DbtProject) -> Path:
    """Return dbt's manifest of the project, parsed anew where a file of the project is younger."""
    manifest = Path(project.manifest_path)
    sources = [
        path
        for path in project.project_dir.rglob("*")
        if path.suffix in {".sql", ".yml"} and not path.is_relative_to(project.project_dir / project.target_path)
    ]
    if manifest.exists() and manifest.stat().st_mtime >= max(path.stat().st_mtime for path in sources):
        return manifest
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
    return manifest


class _Translator(DagsterDbtTranslator):
    """Every source table of the dbt project is the warehouse, which `dataset_statistics` publishes."""

    def get_asset_key(self, dbt_resource_props: Any) -> dg.AssetKey:
        if dbt_resource_props["resource_type"] == "source":
            return dg.AssetKey("dataset_statistics")
        return dg.AssetKey(dbt_resource_props["name"])

    def get_group_name(self, dbt_resource_props: Any) -> str:
        return "reports"

    def get_owners(self, dbt_resource_props: Any) -> list[str]:
        return ["team:imgmine"]


def build_dbt_reports() -> tuple[dg.AssetsDefinition, DbtCliResource]:
    """Return the assets of the dbt project, and the resource that runs dbt for them."""
    project = DbtProject(PROJECT_FOLDER)
    translator = _Translator(DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True))

    @dbt_assets(
        manifest=current_manifest(project), project=project, dagster_dbt_translator=translator, pool="warehouse"
    )
    def dbt_reports(
        context: dg.AssetExecutionContext, dbt: DbtCliResource, store: StoreResource, warehouse: WarehouseResource
    ) -> Iterator[Any]:
        with explained(), scratch_folder(store.scratch_root, "dbt_reports", "warehouse") as scratch:
            draft = warehouse.checkout(store.open(), scratch)
            shutil.copytree(PROJECT_FOLDER / project.target_path, scratch / "target")
            with warehouse.seen_by_dbt(draft):
                yield from dbt.cli(["build"], context=context, target_path=scratch / "target").stream()
            warehouse.publish(store.open(), draft)

    return dbt_reports, DbtCliResource(project_dir=project, dbt_executable=str(_DBT))
