"""A process that makes a release is ended before each of many steps: a version is whole or not there, and the next run
makes the same bytes."""

import shutil
from pathlib import Path

from imgmine.dataset.releases.making import Made
from imgmine.dataset.releases.release import list_versions, read_release
from imgmine.store.local import LocalStore
from tests.dataset.ended import ENDED, Steps
from tests.dataset.releases.mined_store import LATE, contents, make, recipe_of
from tests.forked import exit_status

MOMENTS = 8


def second(home: Path) -> Made:
    """Make the version after the first, of other images, so that there is a diff too."""
    recipe = recipe_of(archives=[LATE], shard_images=2, layouts=["webdataset"], select={"formats": ["JPEG"]})
    return make(LocalStore(home / "store"), recipe, home)


def second_until(home: Path, end_before: int | None, told: Path) -> None:
    steps = Steps(home / "store", end_before)
    second(home)
    told.write_text(str(steps.done))


def released(home: Path) -> dict[str, bytes]:
    return contents(LocalStore(home / "store"), "releases/")


def test_ended_before_any_step_there_is_no_version_or_all_of_it_and_the_next_run_makes_the_same(
    mined: LocalStore, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    shutil.copytree(mined.root, begun / "store")
    make(LocalStore(begun / "store"), recipe_of(archives=[LATE], layouts=["webdataset"]), begun)
    before = released(begun)

    def run(name: str, end_before: int | None) -> tuple[Path, int | None]:
        home = tmp_path / name
        shutil.copytree(begun, home)
        return home, exit_status(second_until, home, end_before, tmp_path / "told")

    whole, code = run("whole", None)
    assert code == 0
    expected, steps = released(whole), int((tmp_path / "told").read_text())
    assert steps > 3 * MOMENTS
    resumed = []
    for moment in range(MOMENTS):
        # From the first to the last, and never at the same place within what is done again and again.
        end_before = moment * (steps - 1) // (MOMENTS - 1)
        home, code = run(f"{moment}", end_before)
        assert code == ENDED
        left = released(home)
        assert left.items() >= before.items()
        if list_versions(LocalStore(home / "store")) == ["v1", "v2"]:
            assert left.items() >= expected.items(), end_before
        made = second(home)
        assert (made.release, released(home)) == (read_release(LocalStore(whole / "store"), "v2"), expected), end_before
        resumed.append(made.resumed_shards)
        shutil.rmtree(home)
    assert {0, 1, 2} == set(resumed), steps
