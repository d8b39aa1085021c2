"""Which images a recipe chooses, and the rule that is told of each that it does not."""

import io
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgmine.dataset.releases.comparing import diff_between
from imgmine.dataset.releases.exports import export_duckdb
from imgmine.dataset.releases.inputs import InputMissing
from imgmine.dataset.releases.selection import NothingChosen
from imgmine.dataset.takedown.applying import apply_log
from imgmine.dataset.takedown_log import Action, Draft, Kind, append
from imgmine.places import Places
from imgmine.store.base import Store
from imgmine.store.local import LocalStore
from imgmine.store.publish import publish, read_table
from imgmine.store.tables import Provenance
from tests.dataset.releases.conftest import PICTURES, VIDEO
from tests.dataset.releases.mined_store import EARLY, LATE, MIDDLE, Pic, make, own, put_archive, recipe_of

# Every picture that passed the gate, without the second copy of the one that two archives have.
ALL = {pic.name for pictures in PICTURES.values() for pic in pictures if pic.gate == "kept"}


def samples(store: Store, version: str) -> pa.Table:
    parts = [
        pq.read_table(io.BytesIO(store.get_bytes(stored.key))) for stored in store.list(f"releases/{version}/samples/")
    ]
    return pa.concat_tables(parts)


def names(store: Store, version: str = "v1") -> list[str]:
    return list(samples(store, version)["blake2b"].to_pylist())


def pic(seed: int) -> Pic:
    return next(pic for pictures in PICTURES.values() for pic in pictures if pic.seed == seed)


def test_every_image_is_in_once_from_the_earliest_archive_that_has_it(mined: LocalStore, tmp_path: Path) -> None:
    make(mined, recipe_of(), tmp_path)
    found = samples(mined, "v1")
    assert sorted(found["blake2b"].to_pylist()) == sorted(ALL)
    archives = dict(zip(found["blake2b"].to_pylist(), found["archive"].to_pylist(), strict=True))
    assert archives[pic(7).name] == EARLY


def test_scores_of_two_models_are_told_of_a_recipe_that_goes_by_them(mined: LocalStore, tmp_path: Path) -> None:
    for archive, model in ((EARLY, "gmm-1"), (MIDDLE, "gmm-1"), (LATE, "knn-2")):
        scores = read_table(mined, "anomaly_scores", archive).read()
        publish(mined, archive, {"anomaly_scores": scores}, Provenance("", "", model), extra={"model": model})
    by_scores = recipe_of(select={"percentile_at_least": 1})
    for told in (make(mined, by_scores, tmp_path), make(mined, by_scores, tmp_path, "v1")):
        assert told.mixed == ("anomaly_scores: gmm-1 in 2 archives, knn-2 in 1 archive",)
    assert make(mined, recipe_of(), tmp_path).mixed == ()
    assert make(mined, recipe_of(select={"percentile_at_least": 1}, archives=[EARLY]), tmp_path).mixed == ()


@pytest.mark.parametrize(
    ("select", "dropped"),
    [
        (
            {
                "percentile_at_least": 5,
                "nsfw_below": 0.5,
                "watermark_below": 0.5,
                "side_at_most": 300,
                "formats": ["JPEG"],
                "stills": False,
                "labels": {"good": 0.5},
                "categories": ["photographs"],
            },
            {
                "percentile": [10],
                "nsfw": [11],
                "watermark": [12],
                "size": [13],
                "format": [14],
                "still": [15],
                "label": [16],
                "category": [17],
                "not_scored": [18],
            },
        ),
        ({"side_at_least": 135}, {"size": [*range(8), *range(10, 13), *range(14, 19), *range(20, 24)]}),
        ({"without_labels": {"good": 0.5}}, {"label": [*range(8), *range(10, 16), 17, 18, *range(20, 24)]}),
    ],
)
def test_each_rule_drops_what_it_says_and_is_counted(
    select: dict[str, Any], dropped: dict[str, list[int]], mined: LocalStore, tmp_path: Path
) -> None:
    made = make(mined, recipe_of(select=select, layouts=["webdataset"]), tmp_path)
    assert made.release.dropped == {rule: len(seeds) for rule, seeds in dropped.items()}
    assert set(names(mined)) == ALL - {pic(seed).name for seeds in dropped.values() for seed in seeds}
    assert made.release.images + sum(made.release.dropped.values()) == len(ALL)


def test_only_the_archives_that_are_named_are_in(mined: LocalStore, tmp_path: Path) -> None:
    make(mined, recipe_of(archives=[LATE]), tmp_path)
    assert set(names(mined)) == {pic.name for pic in PICTURES[LATE]}


def test_what_is_taken_down_is_out_by_hash_and_by_rule_and_so_is_a_still_of_it(
    mined: LocalStore, tmp_path: Path
) -> None:
    named = (pic(0).digest, VIDEO)
    append(mined, Draft(Action.ADD, Kind.HASH, tuple(f"blake2b:{digest.hex()}" for digest in named), (), "asked"))
    append(mined, Draft(Action.ADD, Kind.MEDIA_ID, ("media_id:id1",), (), "asked"))
    append(mined, Draft(Action.ADD, Kind.URL, ("url:http://I.IMGUR.com/id2.jpg",), (), "asked"))
    made = make(mined, recipe_of(), tmp_path)
    assert made.release.dropped == {"taken_down": 4}
    assert set(names(mined)) == ALL - {pic(seed).name for seed in (0, 1, 2, 15)}


def test_a_holdout_is_of_the_same_files_in_every_version(mined: LocalStore, tmp_path: Path) -> None:
    named = pic(3)
    recipe = recipe_of(holdout={"share": 0.4, "seed": 5, "hashes": [named.name]})
    first = make(mined, recipe, tmp_path)
    held = ALL - set(names(mined))
    assert named.name in held
    assert 1 < len(held) < len(ALL) - 1
    put_archive(mined, LATE, [*PICTURES[LATE], *(Pic(seed) for seed in range(30, 40))], tmp_path / "again")
    own(mined, tmp_path)
    second = make(mined, recipe, tmp_path)
    assert set(names(mined, "v2")) & ALL == ALL - held
    assert second.release.dropped["holdout"] > first.release.dropped["holdout"]
    make(mined, recipe_of(holdout={"share": 0.4, "seed": 6}), tmp_path)
    assert ALL - set(names(mined, "v3")) != held


def put_near_duplicates(store: Store, *groups: tuple[int, ...]) -> None:
    """Say that these are groups of near-duplicates; the first one of each is the kept one."""
    rows = [{"blake2b": pic(seed).digest, "kept_blake2b": pic(group[0]).digest} for group in groups for seed in group]
    out = io.BytesIO()
    columns = [("blake2b", pa.binary(32)), ("kept_blake2b", pa.binary(32))]
    schema = pa.schema(columns, {"inputs": "0" * 32})
    pq.write_table(pa.Table.from_pylist(rows, schema), out)
    store.put_bytes("dataset/near_duplicates.parquet", out.getvalue())


def test_one_of_each_group_of_near_duplicates_is_in(mined: LocalStore, tmp_path: Path) -> None:
    put_near_duplicates(mined, (0, 1, 20), (11, 2, 13))
    made = make(mined, recipe_of(near_duplicates="one", select={"nsfw_below": 0.5}), tmp_path)
    # The kept one of the second group is dropped for what it shows: the largest of the others takes its place.
    assert ALL - set(names(mined)) == {pic(seed).name for seed in (1, 20, 11, 2)}
    assert made.release.dropped == {"near_duplicate": 3, "nsfw": 1}


def test_of_copies_of_one_size_that_of_the_earliest_archive_is_in(mined: LocalStore, tmp_path: Path) -> None:
    last = max(PICTURES[EARLY][:7], key=lambda pic: pic.digest)
    first = min(PICTURES[LATE], key=lambda pic: pic.digest)
    assert first.digest < last.digest
    put_near_duplicates(mined, (11, first.seed, last.seed))
    make(mined, recipe_of(near_duplicates="one", select={"nsfw_below": 0.5}), tmp_path)
    assert ALL - set(names(mined)) == {pic(11).name, first.name}


def test_a_store_may_be_in_a_folder_that_looks_like_a_pattern(mined_once: Path, tmp_path: Path) -> None:
    folder = tmp_path / "we'ird [x] *.\" {y}"
    store = LocalStore(shutil.copytree(mined_once, folder / "store"))
    put_near_duplicates(store, (0, 1, 20))
    release = make(store, recipe_of(near_duplicates="one"), folder).release
    assert release.dropped == {"near_duplicate": 2}
    make(store, recipe_of(select={"formats": ["JPEG"]}), folder)
    diff = diff_between(store, "v1", "v2", folder / "diff")
    assert (diff.came, diff.went) == ({"recipe": 2}, {"format": 1})
    assert export_duckdb(store, release, folder / "v1.duckdb", folder / "export") == release.images


def test_whoever_looks_like_what_is_held_out_is_held_out_too(mined: LocalStore, tmp_path: Path) -> None:
    put_near_duplicates(mined, (0, 1, 20))
    made = make(mined, recipe_of(near_duplicates="one", holdout={"hashes": [pic(20).name]}), tmp_path)
    assert made.release.dropped == {"holdout": 3}


def test_groups_that_a_take_down_took_images_out_of_are_not_used(mined: LocalStore, tmp_path: Path) -> None:
    put_near_duplicates(mined, (0, 1, 20))
    append(mined, Draft(Action.ADD, Kind.HASH, (f"blake2b:{pic(0).name}",), (pic(0).digest,), "asked"))
    (tmp_path / "apply").mkdir()
    apply_log(mined, tmp_path / "mirror", Places(tmp_path / "places", tmp_path / "cache"), tmp_path / "apply")
    with pytest.raises(InputMissing, match="Launch the job find_near_duplicates"):
        make(mined, recipe_of(near_duplicates="one"), tmp_path)
    assert make(mined, recipe_of(), tmp_path).release.images == len(ALL) - 1


def test_near_duplicates_that_nobody_looked_for_are_told(mined: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="Materialize near_duplicates"):
        make(mined, recipe_of(near_duplicates="one"), tmp_path)


def test_a_score_that_no_archive_has_is_told_with_what_to_run(mined: LocalStore, tmp_path: Path) -> None:
    for archive in PICTURES:
        mined.delete(f"anomaly_scores/{archive}.parquet")
    with pytest.raises(InputMissing, match=r"select\.percentile_at_least is asked for.*Launch score_archive"):
        make(mined, recipe_of(select={"percentile_at_least": 5}), tmp_path)


def test_an_archive_that_was_not_mined_is_told(mined: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="imgmine mine nowhere"):
        make(mined, recipe_of(archives=[MIDDLE, "nowhere"]), tmp_path)


def test_a_store_without_a_dataset_is_told(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    put_archive(store, EARLY, PICTURES[EARLY], tmp_path / "scratch")
    with pytest.raises(InputMissing, match="Launch the job statistics"):
        make(store, recipe_of(), tmp_path)


def test_a_recipe_that_leaves_nothing_is_told_with_the_counts(mined: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(NothingChosen, match=f"Dropped: size {len(ALL)}"):
        make(mined, recipe_of(select={"side_at_least": 5000}), tmp_path)


def test_archives_that_the_dataset_does_not_know_yet_are_told(mined: LocalStore, tmp_path: Path) -> None:
    mined.put_bytes("files/newer.parquet", mined.get_bytes(f"files/{LATE}.parquet"))
    assert make(mined, recipe_of(), tmp_path).uncovered == ("newer",)
