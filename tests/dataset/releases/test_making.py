"""Releases never change, and are the same from the same; `test_killed_making` has what a kill leaves."""

import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imgmine.dataset.releases.gathering import SourceChanged
from imgmine.dataset.releases.making import shard_bounds
from imgmine.dataset.releases.release import ReleaseRefused, list_versions, read_release
from imgmine.dataset.takedown_log import Action, Draft, Kind, append
from imgmine.store.base import Store, StoreError
from imgmine.store.local import LocalStore
from imgmine.store.s3 import S3Store
from tests.dataset.releases.conftest import PICTURES
from tests.dataset.releases.mined_store import EARLY, LATE, contents, make, recipe_of
from tests.s3_server import S3Server
from tests.store.refusing_proxy import refusing_proxy

V1 = "releases/v1/"


class Killed(BaseException):
    """The end of a process, as far as one can be had within it."""


class DyingStore(LocalStore):
    """A store whose process ends at its nth change."""

    def __init__(self, root: Path, dies_at: int) -> None:
        super().__init__(root)
        self.left = dies_at

    def _change(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise Killed

    def put_file(self, key: str, source: Path) -> None:
        self._change()
        super().put_file(key, source)

    def put_bytes(self, key: str, data: bytes) -> None:
        self._change()
        super().put_bytes(key, data)

    def delete(self, key: str) -> None:
        self._change()
        super().delete(key)


@given(st.integers(1, 10_000), st.integers(1, 500))
def test_shards_are_as_few_as_hold_all_and_differ_by_one_image_at_most(images: int, most: int) -> None:
    bounds = shard_bounds(images, most)
    assert [bounds[0][0], *(stop for _, stop in bounds)] == [*(start for start, _ in bounds), images]
    sizes = [stop - start for start, stop in bounds]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= most
    assert len(bounds) == -(-images // most)


@pytest.mark.parametrize("said", [{"content": "originals"}, {"content": "previews", "short_side": 64}])
def test_the_same_recipe_and_inputs_give_the_same_bytes(
    said: dict[str, object], mined: LocalStore, mined_once: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(**said)
    make(mined, recipe, tmp_path)
    other = LocalStore(shutil.copytree(mined_once, tmp_path / "other"))
    make(other, recipe, tmp_path, group_bytes=1, memory="200MB")
    assert contents(mined, V1) == contents(other, V1)
    assert contents(mined, V1).keys() > {f"{V1}README.md", f"{V1}croissant.json", f"{V1}release.json"}
    libraries = {"pillow", "cykooz-resizer", "pyarrow", "duckdb"}
    assert read_release(mined, "v1").inputs["code"].keys() == {"imgmine", "release"} | libraries


def test_another_seed_gives_another_order_of_the_same_images(mined: LocalStore, tmp_path: Path) -> None:
    orders = []
    for seed in (1, 2):
        release = make(mined, recipe_of(seed=seed, layouts=["parquet"]), tmp_path).release
        orders.append([row["blake2b"] for file in release.files("samples") for row in rows_of(mined, file.key)])
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def rows_of(store: Store, key: str) -> list[dict[str, object]]:
    table: pa.Table = pq.read_table(io.BytesIO(store.get_bytes(key)))
    return list(table.to_pylist())


def test_originals_are_the_mined_bytes_under_their_names_with_their_origin(mined: LocalStore, tmp_path: Path) -> None:
    release = make(mined, recipe_of(), tmp_path).release
    pictures = 0
    for shard, file in zip(release.shards, release.files("webdataset"), strict=True):
        data = mined.get_bytes(file.key)
        assert hashlib.sha256(data).hexdigest() == file.sha256
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            members = [(member.name, tar.extractfile(member).read(), member.mtime) for member in tar]  # type: ignore[union-attr]
        assert len(members) == 2 * shard.images
        for (name, payload, mtime), (told, _, _) in zip(members[::2], members[1::2], strict=True):
            assert hashlib.blake2b(payload, digest_size=32).hexdigest() == name.partition(".")[0] == told[:-5]
            assert mtime == 0
            pictures += 1
        for row in rows_of(mined, shard.files["samples"].key):
            start, size = int(str(row["tar_offset"])), int(str(row["size"]))
            assert hashlib.blake2b(data[start : start + size], digest_size=32).hexdigest() == row["blake2b"]
    assert pictures == release.images


def test_previews_have_the_short_side_that_is_asked_for_and_are_never_made_larger(
    mined: LocalStore, tmp_path: Path
) -> None:
    release = make(mined, recipe_of(content="previews", short_side=135, layouts=["parquet"]), tmp_path).release
    sizes = set()
    for file in release.files("parquet"):
        for row in rows_of(mined, file.key):
            with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:  # type: ignore[index]
                assert picture.size == (row["width"], row["height"])
                sizes.add(((row["original_width"], row["original_height"]), picture.size))
    assert sizes == {((160, 130), (160, 130)), ((140, 400), (135, 386))}


def test_a_version_that_is_there_is_said_to_be_there_and_refused_to_other_inputs(
    mined: LocalStore, tmp_path: Path
) -> None:
    recipe = recipe_of()
    assert make(mined, recipe, tmp_path).changed
    before = contents(mined, V1)
    again = make(mined, recipe, tmp_path)
    assert (again.changed, again.release.version) == (False, "v1")
    assert not make(mined, recipe, tmp_path, "v1").changed
    with pytest.raises(ReleaseRefused, match=r"v1 is there, and was made from another recipe.*make v2"):
        make(mined, recipe_of(seed=1), tmp_path, "v1")
    append(mined, Draft(Action.ADD, Kind.HASH, (f"blake2b:{PICTURES[EARLY][0].name}",), (), "asked"))
    with pytest.raises(ReleaseRefused, match="before a take-down"):
        make(mined, recipe, tmp_path, "v1")
    with pytest.raises(ReleaseRefused, match="'first' is no version"):
        make(mined, recipe, tmp_path, "first")
    assert contents(mined, V1) == before
    assert make(mined, recipe, tmp_path).release.version == "v2"
    assert list_versions(mined) == ["v1", "v2"]


def test_a_mined_shard_with_other_bytes_makes_no_release(mined: LocalStore, tmp_path: Path) -> None:
    key = next(stored.key for stored in mined.list(f"files/{LATE}/"))
    mined.put_bytes(key, bytes(len(mined.get_bytes(key))))
    with pytest.raises(SourceChanged, match=key):
        make(mined, recipe_of(), tmp_path)
    mined.delete(key)
    with pytest.raises(SourceChanged, match="Make the release again"):
        make(mined, recipe_of(), tmp_path)
    assert not list_versions(mined)


class TakenDownMeanwhile(LocalStore):
    """A store in which somebody takes an image down as soon as there is an object whose key ends so."""

    def __init__(self, root: Path, ending: str, digest: bytes) -> None:
        super().__init__(root)
        self._ending = ending
        self._digests = [digest]

    def put_bytes(self, key: str, data: bytes) -> None:
        super().put_bytes(key, data)
        if key.endswith(self._ending) and self._digests:
            digest = self._digests.pop()
            append(self, Draft(Action.ADD, Kind.HASH, (f"blake2b:{digest.hex()}",), (digest,), "asked"))


@pytest.mark.parametrize("ending", ["releases/v1/recipe.yaml", "releases/v1/release.json"])
def test_what_is_taken_down_while_a_release_is_made_is_not_in_it(
    ending: str, mined: LocalStore, tmp_path: Path
) -> None:
    out = PICTURES[LATE][0]
    recipe = recipe_of(archives=[LATE], shard_images=2)
    made = make(TakenDownMeanwhile(mined.root, ending, out.digest), recipe, tmp_path)
    assert (made.release.images, made.release.taken_out) == (3, 1)
    assert read_release(mined, "v1") == made.release
    there = contents(mined, V1)
    assert not any(out.payload in data for data in there.values())
    documents = {f"{V1}{name}" for name in ("README.md", "croissant.json", "recipe.yaml", "release.json")}
    assert there.keys() == documents | {file.key for shard in made.release.shards for file in shard.files.values()}
    assert make(mined, recipe, tmp_path).release.version == "v2"


def test_what_a_killed_run_of_another_recipe_left_is_not_used(mined: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        make(DyingStore(mined.root, 9), recipe_of(archives=[LATE], shard_images=2, seed=9), tmp_path)
    recipe = recipe_of(archives=[LATE], shard_images=2, layouts=["webdataset"])
    made = make(mined, recipe, tmp_path)
    assert made.resumed_shards == 0
    named = {file.key for shard in made.release.shards for file in shard.files.values()}
    documents = {f"{V1}{name}" for name in ("README.md", "croissant.json", "recipe.yaml", "release.json")}
    assert contents(mined, V1).keys() == named | documents


def test_on_s3_a_server_that_fails_in_the_middle_leaves_no_release_and_the_next_run_finishes(
    s3_server: S3Server, mined: LocalStore, tmp_path: Path
) -> None:
    recipe = recipe_of(archives=[LATE], shard_images=2, layouts=["webdataset"])
    opened: Callable[[str], S3Store] = lambda endpoint: S3Store(  # noqa: E731
        s3_server.bucket,
        "releases-fail",
        endpoint,
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
        attempts=1,
    )
    store = opened(s3_server.endpoint)
    for key, data in contents(mined).items():
        store.put_bytes(key, data)
    second_shard = r"PUT \S*/releases/v1/data/00001"
    with refusing_proxy(s3_server.endpoint, second_shard, 500, "InternalError") as (address, allow):
        behind = opened(address)
        with pytest.raises(StoreError):
            make(behind, recipe, tmp_path)
        assert not list_versions(store)
        allow()
        made = make(behind, recipe, tmp_path)
    assert made.resumed_shards == 1
    make(mined, recipe, tmp_path / "local")
    assert contents(store, V1) == contents(mined, V1)
    assert read_release(store, "v1") == read_release(mined, "v1")
