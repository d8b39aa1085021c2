"""`imgmine query`: what the warehouse says, for a person and for other programs."""

import csv
import io
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from imgmine.store.opening import store_of
from imgmine.store.publish import read_table
from imgmine_assets.cli import main
from tests.graph.conftest import MinedDemo


@pytest.fixture
def at_home(mined: MinedDemo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MinedDemo:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGMINE_HOME", str(mined.work.settings.home))
    return mined


def query(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["query", *arguments])


def test_a_report_is_shown_as_a_table(at_home: MinedDemo) -> None:
    shown = query("SELECT decision, n FROM report_funnel WHERE stage = 'images' AND decision = 'kept'")
    assert shown.exit_code == 0, shown.output
    images = [read_table(store_of(at_home.work.settings), "images", name).read() for name in at_home.identifiers]
    kept = sum(table["decision"].to_pylist().count("kept") for table in images)
    assert f"│ kept     │ {kept:>5} │" in shown.output


def test_csv_has_all_rows_and_hashes_in_hexadecimal(at_home: MinedDemo) -> None:
    told = query("SELECT archive, blake2b FROM images ORDER BY ALL", "--csv")
    images = [read_table(store_of(at_home.work.settings), "images", name).read() for name in at_home.identifiers]
    expected = sorted(
        [name, digest.hex()]
        for name, table in zip(at_home.identifiers, images, strict=True)
        for digest in table["blake2b"].to_pylist()
    )
    assert list(csv.reader(io.StringIO(told.output))) == [["archive", "blake2b"], *expected]


def test_a_mistake_is_said_without_a_traceback_and_nothing_can_be_changed(at_home: MinedDemo) -> None:
    assert "does not exist" in query("FROM nothing").output
    refused = query("DROP TABLE funnel")
    assert refused.exit_code == 1
    assert "read-only" in refused.output


def test_without_a_warehouse_it_says_what_makes_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGMINE_HOME", str(tmp_path / "home"))
    asked = query("SELECT 1")
    assert (asked.exit_code, "Launch the job statistics" in asked.output) == (1, True)
