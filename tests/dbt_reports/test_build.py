import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

import imgmine
from imgmine.dataset.publishing import publish_dataset
from imgmine.dataset.relations import connect
from imgmine.dataset.warehouse import build_warehouse
from imgmine.decisions import ImageDecision, RecordDecision
from imgmine.store.local import LocalStore
from imgmine.store.publish import publish
from imgmine.store.tables import Provenance
from tests.dataset.small_store import Entry, put_archive, tables_of

PROJECT = Path(imgmine.__file__).parents[1] / "dbt_reports"

FIRST = [
    Entry("one"),
    Entry("two", gate=ImageDecision.MODE),
    Entry("three", percentile=100, size=(5000, 4096)),
    Entry("clip", media_type="video/mp4", percentile=1),
    Entry("page", RecordDecision.NO_MEDIA),
]
SECOND = [Entry("one", size=(128, 128)), Entry("four", media_type="image/webp", size=(200, 300))]


def run_dbt(folder: Path, *selection: str, warehouse: Path | None = None) -> tuple[int, str]:
    """Run a real `dbt build`, and return its exit status and what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "IMGMINE_WAREHOUSE"}
    environment |= {"DBT_TARGET_PATH": str(folder / "target"), "DBT_LOG_PATH": str(folder / "logs")}
    if warehouse is not None:
        environment["IMGMINE_WAREHOUSE"] = str(warehouse)
    run = subprocess.run(
        [
            *[sys.executable, "-c", "from dbt.cli.main import cli; cli()", "build", *selection],
            *["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)],
        ],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    return run.returncode, run.stdout


def built_warehouse(store: LocalStore, folder: Path) -> Path:
    scratch = folder / "scratch"
    scratch.mkdir()
    publish_dataset(store, folder / "mirror", scratch)
    return build_warehouse(store, folder / "mirror", scratch)


@dataclass(frozen=True)
class Build:
    """One `dbt build`: the warehouse that it filled, what it printed, and its target folder."""

    warehouse: Path
    status: int
    printed: str
    target: Path

    def compiled(self, kind: str) -> dict[str, str]:
        """Return the SQL that dbt made of the project's `models` or singular `tests`, by name."""
        return {path.stem: path.read_text() for path in (self.target / "compiled/imgmine_reports" / kind).glob("*.sql")}

    @property
    def models(self) -> list[str]:
        """The models, each after those that it reads."""
        results = json.loads((self.target / "run_results.json").read_text())["results"]
        names = [result["unique_id"].split(".") for result in results]
        return [name[2] for name in names if name[0] == "model"]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("dbt")
    store = LocalStore(folder / "store")
    put_archive(store, "a", FIRST, datetime(2023, 5, 2, tzinfo=UTC))
    put_archive(store, "b", SECOND, datetime(2023, 5, 1, tzinfo=UTC))
    # An archive that is being mined: the gate has not run.
    put_archive(store, "c", [Entry("five")], stages=("records", "files"))
    path = built_warehouse(store, folder)
    status, printed = run_dbt(folder, warehouse=path)
    return Build(path, status, printed, folder / "target")


def test_the_reports_are_built_and_all_their_tests_pass(build: Build) -> None:
    assert build.status == 0, build.printed
    assert "deprecat" not in build.printed.lower(), build.printed
    results = json.loads((build.target / "run_results.json").read_text())["results"]
    assert {result["status"] for result in results} == {"success", "pass"}
    assert len(results) > 60


def test_the_reports_count_what_is_in_the_tables(build: Build) -> None:
    with connect(build.warehouse, read_only=True) as reports:
        funnel = reports.execute(
            "SELECT stage, decision, n, archives FROM report_funnel ORDER BY stage_number, n DESC, decision"
        )
        assert funnel.fetchall() == [
            ("records", "kept", 7, 3),
            ("records", "no_media", 1, 1),
            ("files", "picture", 6, 3),
            ("files", "still", 1, 1),
            ("files", "video", 1, 1),
            ("images", "kept", 5, 2),
            ("images", "mode", 1, 1),
            ("scores", "kept", 4, 2),
            ("scores", "anomalous", 1, 1),
        ]
        yields = reports.execute(
            "SELECT archive, records, originals, images, images_kept, share_kept, usual, owned FROM yield_by_archive"
        )
        assert yields.fetchall() == [
            ("b", 2, 2, 2, 2, 1.0, 2, 2),
            ("c", 1, 1, 0, 0, None, 0, 1),
            ("a", 5, 4, 4, 3, 0.75, 2, 4),
        ]
        assert reports.execute("SELECT media_type, originals, stills, images_kept FROM formats").fetchall() == [
            ("image/jpeg", 5, 0, 5),
            ("image/png", 0, 1, 0),
            ("image/webp", 1, 0, 0),
            ("video/mp4", 1, 0, 0),
        ]
        sides = reports.execute("SELECT short_side_from, short_side_to, orientation, images FROM resolutions")
        assert sides.fetchall() == [
            (128, 255, "portrait", 1),
            (128, 255, "square", 1),
            (256, 511, "landscape", 2),
            (4096, None, "landscape", 1),
        ]
        scores = reports.execute("SELECT percentile_from, images, anomalous FROM scores WHERE images > 0").fetchall()
        assert scores == [(0, 1, 1), (50, 3, 0), (95, 1, 0)]
        assert reports.execute("SELECT count(*) FROM scores").fetchone() == (20,)
        copies = reports.execute("SELECT copies, distinct_files, copies_in_all FROM duplicates_across_archives")
        assert copies.fetchall() == [(1, 6, 6), (2, 1, 2)]


def test_the_reports_of_files_and_over_archives_count_what_is_in_the_tables(build: Build) -> None:
    with connect(build.warehouse, read_only=True) as reports:

        def rows(query: str) -> list[tuple[object, ...]]:
            return reports.execute(query).fetchall()

        assert rows("SELECT ratio_from, images FROM aspect_ratios") == [(0.595, 1), (1.0, 1), (1.189, 3)]
        assert rows("SELECT kind, bytes_from, files FROM file_sizes") == [
            ("picture", 2, 3),
            ("picture", 4, 3),
            ("still", 4, 1),
            ("video", 4, 1),
        ]
        assert rows("SELECT day::VARCHAR, originals, archives FROM capture_days") == [("2023-05-01", 7, 3)]
        assert rows("SELECT month_from, originals FROM last_modified_months") == [(None, 7)]
        assert rows("SELECT domain, originals FROM domains") == [("i.imgur.com", 7)]
        assert rows("SELECT archive, files, in_earlier_archives FROM duplicates_by_archive") == [
            ("b", 2, 0),
            ("c", 1, 0),
            ("a", 5, 1),
        ]
        spread = rows("SELECT members, largest, share_of_largest, herfindahl, gini FROM concentration ORDER BY spread")
        assert spread[1] == (3, "a", 0.625, round((25 + 4 + 1) / 64, 6), round(2 * (1 + 4 + 15) / 24 - 4 / 3, 6))
        kept = rows(
            "SELECT archive, n, share_of_stage, share_before, change FROM decisions_by_archive "
            "WHERE stage = 'images' AND decision = 'kept'"
        )
        assert kept == [("b", 2, 1.0, None, None), ("a", 3, 0.75, 1.0, -0.25)]
        assert rows("SELECT change, archive_of_least FROM decision_drift WHERE decision = 'mode'") == [(0.25, "b")]
        assert rows("SELECT judgement, decision, n FROM judgements") == [("watermark_scores", "kept", 5)]
        assert rows("SELECT judgement, probability_from, images FROM probabilities") == [("watermark_scores", 0.25, 5)]
        known = dict(reports.execute("SELECT quantity, value FROM population").fetchall())
        assert (known["distinct files mined"], known["files in the whole collection, at most"]) == (7, 8 / 3 * 49731)
        assert rows("SELECT expected, as_published, files FROM accumulation WHERE archives = 3") == [(7, 7, 8)]


def test_every_model_and_column_is_described(build: Build) -> None:
    manifest = json.loads((build.target / "manifest.json").read_text())
    nodes = {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}
    assert set(nodes) == set(build.compiled("models"))
    with connect(build.warehouse, read_only=True) as reports:
        for name, node in nodes.items():
            columns = [row[0] for row in reports.execute(f"DESCRIBE {name}").fetchall()]
            assert node["description"]
            assert {column: bool(node["columns"][column]["description"]) for column in columns} == dict.fromkeys(
                node["columns"], True
            )


def test_an_empty_dataset_has_empty_reports(build: Build, tmp_path: Path) -> None:
    empty = built_warehouse(LocalStore(tmp_path / "store"), tmp_path)
    with connect(empty) as reports:
        compiled = build.compiled("models")
        for name in build.models:
            reports.execute(f"CREATE TABLE {name} AS {compiled[name]}")
            assert reports.execute(f"SELECT count(*) FROM {name}").fetchone() == (20 if name == "scores" else 0,)
        for name, select in build.compiled("tests").items():
            assert reports.execute(select).fetchall() == [], name


def test_a_funnel_that_does_not_add_up_is_found(build: Build, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    put_archive(store, "a", FIRST)
    put_archive(store, "b", SECOND)
    images = tables_of("a", FIRST)["images"].slice(1)
    publish(store, "a", {"images": images}, Provenance("test", "1", "0"))
    with connect(built_warehouse(store, tmp_path)) as reports:
        found = reports.execute(build.compiled("tests")["funnel_adds_up"]).fetchall()
    assert [row[0] for row in found] == ["a"]


def test_without_a_warehouse_dbt_says_what_is_missing(tmp_path: Path) -> None:
    status, printed = run_dbt(tmp_path, "--select", "formats")
    assert status != 0
    assert "IMGMINE_WAREHOUSE is not set" in printed
