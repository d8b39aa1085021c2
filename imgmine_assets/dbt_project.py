"""dbt and its project in `dbt_reports/`: parsed once, and built each time in a private copy.

In each copy the warehouse has the same name beside the project. dbt parses all of it again wherever that path is
another one, which takes longer than to build the reports.
"""

import fcntl
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dagster_dbt import DbtCliResource
from packaging.version import Version

from imgmine.dataset.warehouse import WAREHOUSE_KEY
from imgmine.errors import PersonNeeded

PROJECT_FOLDER = Path(__file__).resolve().parents[1] / "dbt_reports"
PROJECT_NAME = "imgmine_reports"
TARGET = "target"
# The one beside this Python: a virtual environment need not be active.
_DBT = Path(sys.executable).with_name("dbt")
_WAREHOUSE_VARIABLE = "IMGMINE_WAREHOUSE"
_SOURCES = frozenset({".sql", ".yml"})


class DbtProjectBroken(PersonNeeded):
    """dbt cannot read the project in `dbt_reports/`."""


class Dbt(DbtCliResource):
    """dbt in a private copy of the project.

    Its own way would start dbt once more to ask for its version, and load the project's macros into this process for
    what is never asked of them; both take longer than to build the reports.
    """

    @property
    def _cli_version(self) -> Version:
        return Version(importlib.metadata.version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> None:  # type: ignore[override]
        return None


def dbt_in(project: Path) -> Dbt:
    """Return dbt for a copy of the project."""
    return Dbt(project_dir=str(project), dbt_executable=str(_DBT))


def current_manifest() -> Path:
    """Return dbt's manifest of the project, parsed anew where a file of the project is younger.

    Raises `DbtProjectBroken`.
    """
    manifest = PROJECT_FOLDER / TARGET / "manifest.json"
    with _turn():
        sources = (path for path in PROJECT_FOLDER.rglob("*") if path.suffix in _SOURCES)
        youngest = max(path.stat().st_mtime for path in sources if not path.is_relative_to(manifest.parent))
        if not manifest.exists() or manifest.stat().st_mtime < youngest:
            _parse(manifest)
    return manifest


def copy_project(folder: Path) -> None:
    """Make `folder` a copy of the project, with all that dbt knows of it by having parsed it."""
    with _turn():
        shutil.copytree(PROJECT_FOLDER, folder, ignore=shutil.ignore_patterns("logs"), dirs_exist_ok=True)


@contextmanager
def warehouse_for_dbt() -> Iterator[None]:
    """Have dbt, started meanwhile from this process in a copy of the project, work in the warehouse that lies there."""
    before = os.environ.get(_WAREHOUSE_VARIABLE)
    os.environ[_WAREHOUSE_VARIABLE] = WAREHOUSE_KEY
    try:
        yield
    finally:
        if before is None:
            del os.environ[_WAREHOUSE_VARIABLE]
        else:
            os.environ[_WAREHOUSE_VARIABLE] = before


def _parse(manifest: Path) -> None:
    parsed = subprocess.run(
        [_DBT, "parse", "--quiet", "--project-dir", PROJECT_FOLDER, "--profiles-dir", PROJECT_FOLDER],
        env={**os.environ, _WAREHOUSE_VARIABLE: WAREHOUSE_KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    if parsed.returncode != 0:
        raise DbtProjectBroken(f"dbt cannot parse {PROJECT_FOLDER}:\n{parsed.stdout}{parsed.stderr}")
    # dbt leaves the file alone where nothing that it looks at has changed.
    manifest.touch()


@contextmanager
def _turn() -> Iterator[None]:
    """Hold what dbt has parsed: it writes files in place, and two processes at once leave nonsense."""
    folder = PROJECT_FOLDER / TARGET
    folder.mkdir(exist_ok=True)
    with (folder / "parsing.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
