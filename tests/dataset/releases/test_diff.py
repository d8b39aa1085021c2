"""What came and what went between versions, and why: each image that went has its reason."""

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from imgmine.dataset.releases.comparing import diff_between
from imgmine.dataset.releases.diff import GONE
from imgmine.dataset.releases.release import NoSuchRelease, ReleaseRefused, read_release, release_json, release_key
from imgmine.dataset.takedown.applying import apply_log
from imgmine.dataset.takedown_log import Action, Draft, Entry, Kind, append, undo_of
from imgmine.places import Places
from imgmine.store.base import Store
from imgmine.store.local import LocalStore
from tests.dataset.releases.conftest import PICTURES
from tests.dataset.releases.mined_store import EARLY, LATE, MIDDLE, Pic, make, own, put_archive, recipe_of


def reasons(store: Store, version: str) -> dict[tuple[str, str], str]:
    """Return why each image came or went, as the release has it."""
    table = pq.read_table(io.BytesIO(store.get_bytes(f"releases/{version}/diff.parquet")))
    return {(row["change"], row["blake2b"]): row["reason"] for row in table.to_pylist()}


def counts(store: Store, version: str) -> tuple[Mapping[str, int], Mapping[str, int]]:
    said = json.loads(store.get_bytes(f"releases/{version}/diff.json"))
    return said["came"], said["went"]


def test_a_release_after_a_take_down_says_what_went_and_why(mined: LocalStore, tmp_path: Path) -> None:
    out = PICTURES[EARLY][0]
    first = make(mined, recipe_of(), tmp_path)
    entry = append(mined, Draft(Action.ADD, Kind.HASH, (f"blake2b:{out.name}",), (out.digest,), "asked"))
    second = make(mined, recipe_of(), tmp_path)
    assert first.diff is None
    assert second.release.images == first.release.images - 1
    assert reasons(mined, "v2") == {("went", out.name): "taken_down"}
    card = mined.get_bytes("releases/v2/README.md").decode()
    assert "| taken_down | 1 | it was taken down |" in card
    assert out.name not in card
    append(mined, undo_of(entry.number, "by mistake"))
    make(mined, recipe_of(), tmp_path)
    assert reasons(mined, "v3") == {("came", out.name): "take_down_undone"}


def test_what_was_taken_out_of_the_version_before_went_too_and_what_comes_back_says_why(
    mined: LocalStore, tmp_path: Path
) -> None:
    by_hash, found, by_sha1 = PICTURES[EARLY][:3]
    make(mined, recipe_of(), tmp_path)
    # Two are named by hashes before they are known, one is found by a rule later.
    values = (f"blake2b:{by_hash.name}", f"sha1:{hashlib.sha1(by_sha1.payload).hexdigest()}")
    entry = append(mined, Draft(Action.ADD, Kind.HASH, values, (), "asked"))
    append(mined, Draft(Action.FOUND, Kind.HASH, (), (found.digest,), "named by entry 1", of=entry.number))
    (tmp_path / "apply").mkdir()
    apply_log(mined, tmp_path / "mirror", Places(tmp_path / "places", tmp_path / "cache"), tmp_path / "apply")
    assert read_release(mined, "v1").taken_out == 3
    made = make(mined, recipe_of(), tmp_path)
    named = {by_hash.name, found.name, by_sha1.name}
    assert reasons(mined, "v2") == {("went", name): "taken_down" for name in named}
    assert made.diff is not None
    assert made.diff.stayed == made.release.images
    assert diff_between(mined, "v1", "v2", tmp_path / "diff").went == {"taken_down": 3}
    append(mined, undo_of(entry.number, "by mistake"))
    put_archive(mined, EARLY, PICTURES[EARLY], tmp_path / "again")
    make(mined, recipe_of(), tmp_path)
    assert reasons(mined, "v3") == {("came", name): "take_down_undone" for name in named}
    append(mined, Draft(Action.ADD, Kind.HASH, (f"blake2b:{PICTURES[LATE][0].name}",), (), "asked"))
    apply_log(mined, tmp_path / "mirror", Places(tmp_path / "places", tmp_path / "cache"), tmp_path / "apply")
    later = diff_between(mined, "v1", "v3", tmp_path / "diffs")
    assert (later.came, later.went) == ({"take_down_undone": 3}, {"taken_down": 1})


def test_each_reason_is_told(mined: LocalStore, tmp_path: Path) -> None:
    make(mined, recipe_of(), tmp_path)
    # One archive goes, another is mined again with less, and with other verdicts; then the thresholds change.
    mined.delete(f"files/{LATE}.parquet")
    put_archive(
        mined,
        MIDDLE,
        [Pic(7), Pic(10, percentile=2.0), Pic(11, nsfw=0.7), Pic(12, gate="mode"), Pic(50)],
        tmp_path / "again",
    )
    own(mined, tmp_path)
    made = make(mined, recipe_of(select={"percentile_at_least": 5}), tmp_path)
    assert made.diff is not None
    assert counts(mined, "v2") == (
        {"recipe": 1},
        {"file_gone": 6, "archive_gone": 4, "gate": 1, "percentile": 1},
    )
    assert reasons(mined, "v2")["went", Pic(12).name] == "gate"
    assert made.diff.archives_went == (LATE,)
    assert made.diff.recipe == ("+  percentile_at_least: 5.0",)
    make(mined, recipe_of(archives=[EARLY]), tmp_path)
    assert counts(mined, "v3") == ({}, {"archive_not_chosen": 2})


def test_versions_that_do_not_follow_each_other_are_compared(mined: LocalStore, tmp_path: Path) -> None:
    make(mined, recipe_of(), tmp_path)
    make(mined, recipe_of(select={"formats": ["JPEG"]}), tmp_path)
    make(mined, recipe_of(archives=[EARLY, LATE]), tmp_path)
    diff = diff_between(mined, "v1", "v3", tmp_path / "diff")
    assert (diff.came, diff.went) == ({}, {"archive_not_chosen": 9})
    assert diff.stayed == 12
    assert "9 went" in diff.as_text()
    with pytest.raises(ReleaseRefused, match="give the earlier version first"):
        diff_between(mined, "v3", "v1", tmp_path / "diff")
    with pytest.raises(NoSuchRelease, match="There is no release v9"):
        diff_between(mined, "v3", "v9", tmp_path / "diff")


def why(store: Store, before: str, after: str, folder: Path) -> dict[tuple[str, str], str]:
    """Return why each image came or went, as the comparison of two versions says."""
    compared = diff_between(store, before, after, folder / f"{before}-{after}")
    assert compared.rows is not None
    return {(row["change"], row["blake2b"]): row["reason"] for row in pq.read_table(compared.rows).to_pylist()}


def without_record(store: LocalStore, version: str) -> None:
    """Let the version be one that was made before versions kept what had gone."""
    release = read_release(store, version)
    documents = {name: file for name, file in release.documents.items() if name != GONE}
    store.put_bytes(release_key(version), release_json(replace(release, documents=documents)))
    store.delete(f"releases/{version}/{GONE}")


def take_down(store: Store, pic: Pic) -> Entry:
    return append(store, Draft(Action.ADD, Kind.HASH, (f"blake2b:{pic.name}",), (pic.digest,), "asked"))


ONLY_PNG = recipe_of(select={"formats": ["PNG"]})
LATER = {
    "all": recipe_of(),
    "strict": recipe_of(
        select={
            "percentile_at_least": 5,
            "nsfw_below": 0.5,
            "watermark_below": 0.5,
            "labels": {"good": 0.5},
            "categories": ["photographs"],
            "side_at_most": 300,
            "stills": False,
        },
    ),
    "an archive": recipe_of(archives=[MIDDLE]),
    "held out": recipe_of(holdout={"share": 0.5, "seed": 3}),
}


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("name", LATER)
def test_versions_apart_have_the_reasons_that_they_would_have_without_those_between(
    name: str, recorded: bool, mined: LocalStore, tmp_path: Path
) -> None:
    make(mined, recipe_of(), tmp_path)
    direct = LocalStore(shutil.copytree(mined.root, tmp_path / "direct"))
    make(mined, ONLY_PNG, tmp_path)
    for store in (mined, direct):
        take_down(store, PICTURES[EARLY][0])
        make(store, LATER[name], tmp_path)
    if not recorded:
        without_record(mined, "v3")
    assert why(mined, "v1", "v3", tmp_path) == reasons(direct, "v2")


def test_what_is_not_mined_any_more_has_its_own_reason_in_versions_apart(mined: LocalStore, tmp_path: Path) -> None:
    make(mined, recipe_of(), tmp_path)
    direct = LocalStore(shutil.copytree(mined.root, tmp_path / "direct"))
    make(mined, ONLY_PNG, tmp_path)
    for number, store in enumerate((mined, direct)):
        store.delete(f"files/{LATE}.parquet")
        put_archive(
            store, MIDDLE, [Pic(7), Pic(10, percentile=2.0), Pic(12, gate="mode"), Pic(50)], tmp_path / f"{number}"
        )
        own(store, tmp_path / f"own{number}")
        folder = tmp_path / f"made{number}"
        folder.mkdir()
        make(store, recipe_of(select={"percentile_at_least": 5}), folder)
    told = why(mined, "v1", "v3", tmp_path)
    assert told == reasons(direct, "v2")
    assert set(told.values()) == {"recipe", "file_gone", "archive_gone", "gate", "percentile"}
    # One more version: the record goes on from that of the version before.
    for number, store in enumerate((mined, direct)):
        make(store, recipe_of(archives=[EARLY]), tmp_path / f"made{number}")
    assert why(mined, "v1", "v4", tmp_path) == why(direct, "v1", "v3", tmp_path / "direct-diffs")
    without_record(mined, "v3")
    gone = Pic(12).name
    assert why(mined, "v1", "v3", tmp_path / "old")["went", gone] == "format in v2"
    text = diff_between(mined, "v1", "v3", tmp_path / "text").as_text()
    assert "it went in v2: its format is not among those asked for; why it is out of the later version is not" in text


def test_what_went_and_came_back_did_neither_and_what_was_taken_out_since_was_taken_down(
    mined: LocalStore, tmp_path: Path
) -> None:
    make(mined, recipe_of(), tmp_path)
    make(mined, ONLY_PNG, tmp_path)
    make(mined, recipe_of(), tmp_path)
    assert why(mined, "v1", "v3", tmp_path / "before") == {}
    out = PICTURES[EARLY][0]
    take_down(mined, out)
    (tmp_path / "apply").mkdir()
    apply_log(mined, tmp_path / "mirror", Places(tmp_path / "places", tmp_path / "cache"), tmp_path / "apply")
    assert why(mined, "v1", "v3", tmp_path / "after") == {("went", out.name): "taken_down"}
    without_record(mined, "v3")
    assert why(mined, "v1", "v3", tmp_path / "old") == {("went", out.name): "taken_down"}


def test_what_came_has_the_reason_that_tells_the_two_versions_apart(mined: LocalStore, tmp_path: Path) -> None:
    # What the version between asked for is no reason, and no take-down that came and went between the two is.
    make(mined, recipe_of(select={"formats": ["JPEG"]}), tmp_path)
    png = next(pic for pic in PICTURES[MIDDLE] if pic.kind == "PNG")
    entry = take_down(mined, png)
    make(mined, recipe_of(select={"formats": ["JPEG"], "side_at_least": 131}), tmp_path)
    append(mined, undo_of(entry.number, "by mistake"))
    put_archive(mined, LATE, [*PICTURES[LATE], Pic(60)], tmp_path / "again")
    own(mined, tmp_path)
    make(mined, recipe_of(), tmp_path)
    assert why(mined, "v1", "v3", tmp_path) == {("came", png.name): "recipe", ("came", Pic(60).name): "recipe"}
    make(mined, recipe_of(select={"formats": ["JPEG"]}), tmp_path)
    assert why(mined, "v1", "v4", tmp_path) == {("came", Pic(60).name): "tables_changed"}
