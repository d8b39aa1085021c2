"""A process that carries out the log is ended before each of many steps: what is named is there, the next run finishes.

The store has what a take-down changes of each kind: archives, a release, groups of near-duplicates.
"""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from imgmine.dataset.near_duplicates import NEAR_DUPLICATES_KEY
from imgmine.dataset.near_groups import NEAR_DUPLICATES
from imgmine.dataset.publishing import remove_former_ownership
from imgmine.dataset.releases.release import read_release
from imgmine.dataset.takedown.applying import apply_log
from imgmine.dataset.takedown.names import hash_values, published_under
from imgmine.dataset.takedown.report import Report, report_keys
from imgmine.dataset.takedown_log import Action, Draft, Kind, append, named_digests, read_log, rules_of
from imgmine.places import Places
from imgmine.store.local import LocalStore
from imgmine.store.placement import misplaced
from imgmine.store.publish import read_table
from imgmine.store.tables import Provenance, from_parquet, to_parquet
from tests.dataset.ended import ENDED, Steps
from tests.dataset.releases import mined_store
from tests.dataset.releases.mined_store import EARLY, Pic
from tests.dataset.small_store import Entry, digest
from tests.dataset.takedown.stored import contents, put_stored
from tests.forked import exit_status

MOMENTS = 6
LONG = " of some length" * 40
ENTRIES = [*(Entry(f"picture {number}{LONG}") for number in range(4)), Entry("clip", media_type="video/mp4")]
PICTURES = [Pic(seed) for seed in range(6)]
NAMED = [ENTRIES[1].digest, digest("clip"), PICTURES[0].digest]
GONE = {*NAMED, digest("still of clip")}


def applied(home: Path) -> Report:
    store, scratch = LocalStore(home / "store"), home / "apply"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()

    def follow() -> None:
        mined_store.own(store, home)
        remove_former_ownership(store)

    return apply_log(store, home / "mirror", Places(home / "scratch", home / "cache"), scratch, follow=follow)


def apply_until(home: Path, end_before: int | None, told: Path) -> None:
    """Carry out the log in a process of its own, end it before the step of this number, or tell how many there are."""
    steps = Steps(home / "store", end_before)
    applied(home)
    told.write_text(str(steps.done))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which files are on the log, and nothing is done about it yet."""
    home = tmp_path_factory.mktemp("begun")
    store = LocalStore(home / "store")
    put_stored(store, "first", ENTRIES)
    mined_store.put_archive(store, EARLY, PICTURES, home / "made")
    mined_store.own(store, home)
    mined_store.make(store, mined_store.recipe_of(archives=[EARLY], shard_images=2), home)
    rows = [
        {"blake2b": blake2b, "kept_blake2b": kept.digest, "how": "pdq"}
        for blake2b, kept in [(ENTRIES[1].digest, ENTRIES[0]), (ENTRIES[3].digest, ENTRIES[2])]
    ]
    groups = pa.Table.from_pylist(rows, NEAR_DUPLICATES)
    store.put_bytes(NEAR_DUPLICATES_KEY, to_parquet(groups, Provenance("near_duplicates", "1", "of images")))
    values = [value for name in NAMED for value in hash_values(f"blake2b:{name.hex()}")]
    named = published_under(store, home / "mirror", rules_of(values), named_digests(values))
    append(store, Draft(Action.ADD, Kind.LIST, tuple(values), tuple(named.digests), "asked for"), by="ann")
    assert read_log(store).blocked == GONE
    return home


def left_of(home: Path) -> dict[str, bytes]:
    """What is in the store, but for what the runs tell of themselves, and the copies of local tables."""
    return {key: data for key, data in contents(LocalStore(home / "store")).items() if not key.startswith("takedown/")}


def told_of(home: Path) -> tuple[set[str], list[str]]:
    """The shards that the report says were rewritten, and the releases."""
    store = LocalStore(home / "store")
    said = json.loads(store.get_bytes(report_keys(read_log(store))[0]))
    shards = {shard["before"] for change in said["archives"] for shard in change["shards"]}
    return shards, [release["version"] for release in said["releases"]]


def assert_whole(home: Path) -> None:
    """Whatever a table or a release names is there."""
    store = LocalStore(home / "store")
    for archive in ("first", EARLY):
        for table, columns in (
            ("files", ("shard", "shard_offset", "size")),
            ("images", ("preview_shard", "preview_offset", "preview_size")),
        ):
            assert misplaced(store, read_table(store, table, archive).read(), *columns) == []
    shards = read_release(store, "v1").shards
    assert all(store.stat(file.key) is not None for shard in shards for file in shard.files.values())


def test_killed_before_any_step_what_is_named_is_there_and_the_next_run_finishes(begun: Path, tmp_path: Path) -> None:
    def run(name: str, end_before: int | None) -> tuple[Path, int | None]:
        home = tmp_path / name
        shutil.copytree(begun, home)
        return home, exit_status(apply_until, home, end_before, tmp_path / "told")

    whole, code = run("whole", None)
    assert code == 0
    finished, steps = left_of(whole), int((tmp_path / "told").read_text())
    assert steps > 5 * MOMENTS
    groups = from_parquet(LocalStore(whole / "store").get_bytes(NEAR_DUPLICATES_KEY))["blake2b"].to_pylist()
    assert groups == [ENTRIES[3].digest]
    assert read_release(LocalStore(whole / "store"), "v1").taken_out == 1
    for moment in range(MOMENTS):
        # Never the same place within what is done again and again: archive, release, table.
        at = moment * steps // MOMENTS + moment % 5
        home, code = run(f"{moment}", at)
        assert code == ENDED
        assert_whole(home)
        assert applied(home).is_complete, at
        assert left_of(home) == finished, at
        assert told_of(home) == told_of(whole), at
        shutil.rmtree(home)
