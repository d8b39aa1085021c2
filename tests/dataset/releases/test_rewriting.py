"""Images are taken out of the shards that hold them, and of those only; a killed run leaves the release readable."""

import hashlib
import io
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from imgmine.dataset.releases.release import CARD, read_release
from imgmine.dataset.releases.rewriting import take_out
from imgmine.store.local import LocalStore
from tests.dataset.releases.conftest import PICTURES, VIDEO
from tests.dataset.releases.mined_store import EARLY, LATE, contents, make, recipe_of
from tests.dataset.releases.test_making import DyingStore, Killed

V1 = "releases/v1/"


def test_only_the_shards_that_hold_them_are_written_again(mined: LocalStore, tmp_path: Path) -> None:
    release = make(mined, recipe_of(), tmp_path).release
    before = contents(mined, V1)
    out = PICTURES[EARLY][0]
    now, rewritten = take_out(mined, release, [out.digest, VIDEO], tmp_path / "out")
    after = contents(mined, V1)
    assert not any(out.payload in data or out.digest.hex().encode() in data for data in after.values())
    taken = {name for change in rewritten for name in change.taken}
    assert out.name in taken
    assert len(taken) == now.taken_out == 2
    assert read_release(mined, "v1") == now
    assert now.images == release.images - 2
    changed = {change.before.number for change in rewritten}
    for shard in release.shards:
        same = all(after.get(file.key) == before[file.key] for file in shard.files.values())
        assert same == (shard.number not in changed)
    named = {file.key for shard in now.shards for file in shard.files.values()}
    assert after.keys() == named | {
        f"{V1}{name}" for name in ("README.md", "croissant.json", "recipe.yaml", "release.json")
    }
    left = [
        row for file in now.files("parquet") for row in pq.read_table(io.BytesIO(mined.get_bytes(file.key))).to_pylist()
    ]
    assert len(left) == now.images
    assert take_out(mined, now, [out.digest, VIDEO], tmp_path / "out") == (now, [])


def test_the_card_says_how_many_are_left_and_is_the_one_that_is_named(mined: LocalStore, tmp_path: Path) -> None:
    release = make(mined, recipe_of(), tmp_path).release
    made = mined.get_bytes(f"{V1}{CARD}").decode()
    for count, digest in enumerate([PICTURES[EARLY][0].digest, PICTURES[LATE][0].digest], 1):
        release, _ = take_out(mined, release, [digest], tmp_path / "out")
        assert release.taken_out == count
        card = mined.get_bytes(f"{V1}{CARD}")
        assert hashlib.sha256(card).hexdigest() == release.documents[CARD].sha256
        assert len(card) == release.documents[CARD].size
        added = [line for line in card.decode().splitlines() if line and line not in made.splitlines()]
        assert len(added) == 3
        assert all(line.startswith("  description: shards ") for line in added[:2])
        assert f"was made: {count}. Images that are left: {release.images}.**" in added[2]


def test_a_shard_is_as_if_the_image_had_never_been_in_it(mined: LocalStore, tmp_path: Path) -> None:
    pictures = PICTURES[LATE]
    whole = make(mined, recipe_of(archives=[LATE]), tmp_path).release
    now, _ = take_out(mined, whole, [pictures[0].digest], tmp_path / "out")
    without = make(mined, recipe_of(archives=[LATE], holdout={"hashes": [pictures[0].name]}), tmp_path).release
    for layout in ("webdataset", "parquet", "samples"):
        assert [file.sha256 for file in now.files(layout)] == [file.sha256 for file in without.files(layout)]


def test_a_take_down_that_is_killed_at_any_change_can_be_run_again(mined: LocalStore, tmp_path: Path) -> None:
    digests = [PICTURES[LATE][0].digest]
    release = make(mined, recipe_of(archives=[LATE], shard_images=2), tmp_path).release
    other = LocalStore(shutil.copytree(mined.root, tmp_path / "other"))
    now, _ = take_out(other, release, digests, tmp_path / "out")
    whole, before = contents(other, V1), shutil.copytree(mined.root / "releases", tmp_path / "before")
    for dies_at in range(1, 100):
        shutil.rmtree(mined.root / "releases")
        shutil.copytree(before, mined.root / "releases")
        try:
            take_out(DyingStore(mined.root, dies_at), release, digests, tmp_path / "out")
        except Killed:
            said = read_release(mined, "v1")
            assert said in (release, now)
            assert {file.key for shard in said.shards for file in shard.files.values()} <= contents(mined, V1).keys()
        else:
            break
        take_out(mined, read_release(mined, "v1"), digests, tmp_path / "out")
        assert contents(mined, V1) == whole
    assert dies_at == 9  # three files, the card, release.json, three former files
