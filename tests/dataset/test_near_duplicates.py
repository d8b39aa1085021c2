"""Near-duplicates over archives of real pictures: what is found, what is kept, and that no order matters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from imgmine.dataset.near_duplicates import NEAR_DUPLICATES_KEY, NearDuplicates, publish_near_duplicates
from imgmine.dataset.near_judge import NearDuplicateError
from imgmine.dataset.near_samples import sampled_near_duplicates
from imgmine.dataset.takedown.applying import apply_log
from imgmine.dataset.takedown_log import Action, Draft, Kind, append, undo_of
from imgmine.dataset.warehouse import build_warehouse
from imgmine.decisions import ImageDecision
from imgmine.demo import copies
from imgmine.demo.photographs import reference_photographs
from imgmine.demo.screens_drawn import draw_text_page
from imgmine.places import Places
from imgmine.store.base import Store
from imgmine.store.local import LocalStore
from imgmine.store.publish import read_table, without_rows
from tests.dataset.pictured_store import Pictured, embedder, pictured, put_pictures
from tests.dataset.small_store import CAPTURED

DATES = {"first": CAPTURED, "second": CAPTURED + timedelta(days=1), "third": CAPTURED + timedelta(days=2)}


def photograph(name: str, side: int = 480) -> Image.Image:
    [path] = [path for path in reference_photographs() if path.stem == name]
    with Image.open(path) as picture:
        picture = picture.convert("RGB")
    picture.thumbnail((side, side))
    return picture


@pytest.fixture(scope="module")
def archives() -> dict[str, dict[str, Pictured]]:
    """Three archives: copies of two photographs, and what looks alike and is none."""
    rng = Random(3)
    bison, clock = photograph("bison"), photograph("clock")
    width, height = clock.size
    made = {
        "first": {
            "bison": bison,
            "clock small": copies.resized(clock, 0.4),
            "blank": Image.new("RGB", (400, 300), "white"),
            "page": draw_text_page(Random(1), (480, 640)).convert("RGB"),
        },
        "second": {
            "bison again": copies.recompressed(bison, 90),
            "bison mirrored": copies.recompressed(copies.mirrored(copies.cropped(bison, 0.05, rng)), 80),
            "clock": clock,
            "left half": clock.crop((0, 0, width // 2, height)),
            "nearly blank": copies.recompressed(Image.new("RGB", (420, 300), (254, 254, 254)), 80),
            "another page": draw_text_page(Random(2), (480, 640)).convert("RGB"),
        },
        "third": {
            "bison cropped": copies.cropped(bison, 0.08, rng),
            "bison captioned": copies.captioned(bison, rng),
            "clock bar": copies.under_a_caption(clock, 0.15, rng),
            "right half": clock.crop((width // 2, 0, width, height)),
        },
    }
    return {archive: {name: pictured(picture) for name, picture in named.items()} for archive, named in made.items()}


# By rule the largest is kept: the captioned clock has more pixels than the clock; of the three bisons of one size,
# the first archive's.
EXPECTED = {
    "bison": "bison",
    "bison again": "bison",
    "bison mirrored": "bison",
    "bison cropped": "bison",
    "bison captioned": "bison",
    "clock bar": "clock bar",
    "clock": "clock bar",
    "clock small": "clock bar",
}


@dataclass(repr=False)
class Made:
    """What one run gave: the groups by the pictures' names, its summary, and the table's bytes."""

    groups: dict[str, str]
    how: dict[str, str]
    summary: NearDuplicates
    data: bytes


def run(store: Store, folder: Path, archives: Mapping[str, Mapping[str, Pictured]], **options: object) -> Made:
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    usual = [photograph(name, 300) for name in ("bee", "cow", "dog", "cat")]
    summary = publish_near_duplicates(
        store,
        folder / "mirror",
        scratch,
        embedder=embedder().version,
        usual_vectors=lambda: embedder().embed_pictures(usual),
        **options,  # type: ignore[arg-type]
    )
    names = {one.blake2b: name for pictures in archives.values() for name, one in pictures.items()}
    data = store.get_bytes(NEAR_DUPLICATES_KEY)
    rows = pq.read_table(store.local_copy(NEAR_DUPLICATES_KEY, scratch)).to_pylist()
    assert [row["blake2b"] for row in rows] == sorted(row["blake2b"] for row in rows)
    groups = {names[row["blake2b"]]: names[row["kept_blake2b"]] for row in rows}
    return Made(groups, {names[row["blake2b"]]: row["how"] for row in rows}, summary, data)


def fill(store: Store, archives: Mapping[str, Mapping[str, Pictured]], order: Sequence[str] = tuple(DATES)) -> None:
    for archive in order:
        put_pictures(store, archive, archives[archive], DATES[archive])


@pytest.fixture(scope="module")
def published(archives: dict[str, dict[str, Pictured]], tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("near")
    store = LocalStore(folder / "store")
    fill(store, archives)
    return run(store, folder, archives)


def test_copies_are_found_and_what_looks_alike_is_not(published: Made) -> None:
    assert published.groups == EXPECTED
    assert published.how["bison"] == "kept"
    assert published.how["bison again"] == "pdq"
    assert published.how["bison mirrored"] == "mirrored"
    assert published.how["clock"] == "embedding"
    assert (published.summary.groups, published.summary.dropped) == (2, 6)
    # Both blank ones are left out before anything is compared.
    assert published.summary.images == 12


# What fails is not made smaller: a minute of runs would say little more.
@settings(max_examples=3, phases=[Phase.explicit, Phase.generate])
@given(
    order=st.permutations(list(DATES)),
    rerun=st.sampled_from(list(DATES)),
    part_rows=st.sampled_from([1, 3, 1 << 20]),
    images_at_once=st.integers(1, 20),
    before=st.integers(0, 2),
)
def test_groups_do_not_depend_on_the_order_of_archives_nor_on_buckets(
    archives: dict[str, dict[str, Pictured]],
    published: Made,
    tmp_path_factory: pytest.TempPathFactory,
    order: list[str],
    rerun: str,
    part_rows: int,
    images_at_once: int,
    before: int,
) -> None:
    folder = tmp_path_factory.mktemp("near")
    store = LocalStore(folder / "store")
    # Some archives are mined, and the dataset made of them; then the others are, and one of all is mined again.
    if before:
        fill(store, archives, order[:before])
        run(store, folder / "before", archives)
    fill(store, archives, [*order[before:], rerun])
    again = run(store, folder / "after", archives, part_rows=part_rows, images_at_once=images_at_once)
    assert again.data == published.data


def test_a_pair_is_looked_at_once_and_an_unchanged_dataset_is_not_made_again(
    archives: dict[str, dict[str, Pictured]], tmp_path: Path
) -> None:
    store = LocalStore(tmp_path / "store")
    fill(store, archives, ["first", "second"])
    first = run(store, tmp_path / "1", archives)
    same = run(store, tmp_path / "2", archives)
    assert first.summary.changed
    assert not same.summary.changed
    assert (same.data, same.summary.by_how) == (first.data, first.summary.by_how)
    fill(store, archives, ["third"])
    more = run(store, tmp_path / "3", archives)
    assert more.summary.remembered
    assert more.groups == EXPECTED
    # What was taken away is forgotten, and the groups are what they were before it came.
    for key in ("images/third.parquet", "embeddings/third.parquet"):
        store.delete(key)
    assert run(store, tmp_path / "4", archives).data == first.data


def test_blocked_and_dropped_pictures_take_no_part(archives: dict[str, dict[str, Pictured]], tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    fill(store, archives, ["first"])
    dropped = {"clock": ImageDecision.BLOCKED}
    put_pictures(store, "second", archives["second"], DATES["second"], dropped)
    made = run(store, tmp_path, archives, blocked={archives["first"]["bison"].blake2b})
    # The next in order is kept in the place of the first bison.
    assert made.groups == {"bison again": "bison again", "bison mirrored": "bison again"}


def test_after_a_take_down_was_undone_the_groups_are_what_they_were(
    archives: dict[str, dict[str, Pictured]], tmp_path: Path
) -> None:
    store = LocalStore(tmp_path / "we'ird [x] *" / "store")
    fill(store, archives, ["first", "second"])
    before = run(store, tmp_path / "1", archives)
    assert sampled_near_duplicates(store, tmp_path, tmp_path).keys() == {"pdq", "mirrored"}
    one = archives["first"]["bison"].blake2b
    entry = append(store, Draft(Action.ADD, Kind.HASH, (f"blake2b:{one.hex()}",), (one,), "asked"))
    (tmp_path / "apply").mkdir()
    apply_log(store, tmp_path / "mirror", Places(tmp_path / "places", tmp_path / "cache"), tmp_path / "apply")
    assert one not in pq.read_table(store.local_copy(NEAR_DUPLICATES_KEY, tmp_path))["kept_blake2b"].to_pylist()
    append(store, undo_of(entry.number, "by mistake"))
    fill(store, archives, ["first", "second"])  # as mining them again would
    assert run(store, tmp_path / "2", archives).data == before.data


def test_a_sketch_of_previews_that_a_take_down_moved_since_is_made_again(
    archives: dict[str, dict[str, Pictured]], tmp_path: Path
) -> None:
    store = LocalStore(tmp_path / "store")
    fill(store, archives, ["first", "second"])
    run(store, tmp_path / "1", archives)
    before, after = "previews/second/00000-abc.tar", "previews/second/00000-def.tar"
    store.put_bytes(after, store.get_bytes(before))
    store.delete(before)
    published = read_table(store, "images", "second")
    rows = [{**row, "preview_shard": after} for row in published.read().to_pylist()]
    moved = without_rows(published, pa.Table.from_pylist(rows, published.read().schema))
    assert moved.metadata["inputs"] == published.metadata["inputs"]
    store.put_bytes(moved.key, moved.data)
    fill(store, archives, ["third"])
    assert run(store, tmp_path / "2", archives).groups == EXPECTED


def test_the_warehouse_has_a_view_of_the_groups(archives: dict[str, dict[str, Pictured]], tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    fill(store, archives, ["first", "second"])
    run(store, tmp_path, archives)
    path = build_warehouse(store, tmp_path / "mirror", tmp_path / "scratch")
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute("SELECT how, count(*) FROM near_duplicates GROUP BY how ORDER BY how").fetchall()
    assert found == [("kept", 2), ("mirrored", 1), ("pdq", 2)]


def test_a_lost_preview_is_told(archives: dict[str, dict[str, Pictured]], tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    fill(store, archives)
    store.delete("previews/second/00000-abc.tar")
    with pytest.raises(NearDuplicateError, match=r"previews/second/00000-abc\.tar is gone"):
        run(store, tmp_path, archives)


def test_without_images_there_is_an_empty_table(tmp_path: Path) -> None:
    made = run(LocalStore(tmp_path / "store"), tmp_path, {})
    assert made.groups == {}
    assert np.array_equal((made.summary.images, made.summary.groups), (0, 0))
