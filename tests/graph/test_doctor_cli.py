"""`imgmine doctor` and `imgmine remove`; what they look at is tested in `tests/dataset`."""

from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from imgmine.dataset.doctor import archives_in, examine
from imgmine.settings import load_settings
from imgmine.store.local import LocalStore
from imgmine_assets.cli import main
from imgmine_assets.instance import open_instance
from imgmine_assets.partitions import ARCHIVES, add_archives
from tests.dataset.small_store import Entry
from tests.dataset.takedown.stored import contents, put_stored
from tests.graph.conftest import MinedDemo

ENTRIES = [Entry("one"), Entry("two")]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGMINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    store = LocalStore(tmp_path / "home" / "store")
    for archive in ("early", "late"):
        put_stored(store, archive, ENTRIES)
    with open_instance(load_settings()) as instance:
        add_archives(instance, ["early", "late"])
    return store


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def begin_run(archive: str) -> None:
    """Have a run of the archive be at work, as on another machine."""
    with open_instance(load_settings()) as instance:
        instance.create_run_for_job(
            dg.GraphDefinition(name="anything").to_job(),
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": archive},
        )


def partitions() -> set[str]:
    with open_instance(load_settings()) as instance:
        return set(instance.get_dynamic_partitions(ARCHIVES))


def test_what_was_mined_is_sound_to_the_last_byte(mined: MinedDemo, tmp_path: Path) -> None:
    store = LocalStore(mined.work.store)
    assert archives_in(store) == set(mined.identifiers)
    for archive in mined.identifiers:
        assert list(examine(store, archive, tmp_path)) == []


def test_damage_is_told_with_what_to_do_and_the_exit_status_says_whether_any_is_left(store: LocalStore) -> None:
    assert (run("doctor", "--checksums").exit_code, run("doctor", "a/b").exit_code) == (0, 2)
    unnamed = f"files/early/00009-{'0' * 32}.tar"
    store.put_bytes(unnamed, b"left")
    found = run("doctor", "early")
    assert (found.exit_code, found.stdout.splitlines()) == (
        1,
        [f"{unnamed}: no table names the shard. Run: imgmine doctor early --repair."],
    )
    assert run("doctor", "late").exit_code == 0
    mended = run("doctor", "--repair")
    assert (mended.exit_code, mended.stdout.splitlines()) == (0, [f"{unnamed}: no table names the shard. Removed."])
    assert "2 archives looked at, 1 findings, 1 of them mended." in mended.stderr

    store.delete("images/early.parquet")
    begin_run("late")
    left = run("doctor", "--repair")
    assert left.exit_code == 1
    assert all(line.endswith("Run: imgmine mine early.") for line in left.stdout.splitlines())
    assert "late: left out, for a run of it is under way." in left.stderr


def test_an_archive_is_removed_with_its_partition_unless_a_run_of_it_is_under_way(store: LocalStore) -> None:
    begin_run("late")
    before = contents(store)
    for arguments, status, said in (
        (("late", "--yes"), 1, "is under way"),
        (("nowhere", "early", "--yes"), 2, "nowhere is no partition"),
        (("early",), 1, "Remove all this?"),  # nobody answers
    ):
        refused = run("remove", *arguments)
        assert (refused.exit_code, said in refused.output) == (status, True), refused.output
    assert (contents(store), partitions()) == (before, {"early", "late"})

    removed = run("remove", "early", "--yes")
    assert removed.exit_code == 0, removed.output
    assert removed.output.endswith("files that other archives have are theirs from then on.\n")
    assert (archives_in(store), partitions()) == ({"late"}, {"late"})

    put_stored(store, "early", ENTRIES[:1])  # as if it had been killed after the partition was gone
    assert "it is no partition. Run: imgmine remove early" in run("doctor", "early").output
    assert run("remove", "early", "--yes").exit_code == 0
    assert archives_in(store) == {"late"}
