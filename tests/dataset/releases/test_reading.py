"""A release is read as it is by `datasets`, `webdataset` and `mlcroissant`."""

import sys
import warnings
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from PIL import Image

from imgmine.dataset.releases.rewriting import take_out
from imgmine.store.local import LocalStore
from tests.dataset.releases.conftest import PICTURES
from tests.dataset.releases.mined_store import EARLY, make, recipe_of


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep `datasets` to this machine and this test's folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


@pytest.fixture
def release(mined: LocalStore, tmp_path: Path) -> Path:
    """The folder of a release of previews."""
    made = make(mined, recipe_of(content="previews", short_side=64, shard_images=12), tmp_path)
    assert (made.release.images, len(made.release.shards)) == (21, 2)
    return mined.root / "releases" / "v1"


def test_datasets_reads_both_layouts_and_the_folder(release: Path, tmp_path: Path) -> None:
    import datasets

    cache = str(tmp_path / "cache")
    tables = datasets.load_dataset("parquet", data_files=f"{release}/data/*.parquet", split="train", cache_dir=cache)
    assert len(tables) == 21
    assert isinstance(tables[0]["image"], Image.Image)
    assert min(tables[0]["image"].size) == 64
    assert tables[0]["captured_at"].tzinfo is not None
    tars = datasets.load_dataset("webdataset", data_files=f"{release}/data/*.tar", split="train", cache_dir=cache)
    assert len(tars) == 21
    assert [row["json"]["blake2b"] for row in tars] == list(tables["blake2b"])
    assert min(tars[0]["jpg"].size) == 64
    streamed = datasets.load_dataset(str(release), split="train", streaming=True)
    assert next(iter(streamed))["url"].startswith("https://i.imgur.com/")


@pytest.mark.parametrize("content", ["previews", "originals"])
@pytest.mark.parametrize("layouts", [["parquet"], ["webdataset"], ["webdataset", "parquet"]])
def test_every_config_of_the_card_loads(layouts: list[str], content: str, mined: LocalStore, tmp_path: Path) -> None:
    import datasets

    make(mined, recipe_of(content=content, layouts=layouts, shard_images=12), tmp_path)
    folder = str(mined.root / "releases" / "v1")
    names = datasets.get_dataset_config_names(folder)
    assert names == (["default", "samples"] if "parquet" in layouts else ["default"])
    for name in names:
        rows = datasets.load_dataset(folder, name, split="train", cache_dir=str(tmp_path / "cache"))
        assert len(rows) == 21
        if name == "default":
            pictures = [row[column] for row in rows for column in ("image", "jpg", "png") if row.get(column)]
            formats = Counter(picture.format for picture in pictures)
            assert formats == ({"JPEG": 21} if content == "previews" else {"JPEG": 20, "PNG": 1})


@pytest.mark.parametrize("layouts", [["parquet"], ["webdataset"]])
def test_what_was_taken_down_is_not_loaded_from_the_cache(
    layouts: list[str], mined: LocalStore, tmp_path: Path
) -> None:
    import datasets

    release = make(mined, recipe_of(layouts=layouts, shard_images=12), tmp_path).release
    folder = str(mined.root / "releases" / "v1")
    out = PICTURES[EARLY][0]

    def loaded() -> list[set[str]]:
        found = []
        for name in datasets.get_dataset_config_names(folder):
            rows = datasets.load_dataset(folder, name, split="train", cache_dir=str(tmp_path / "cache"))
            found.append(set(rows["__key__" if "__key__" in rows.column_names else "blake2b"]))
        return found

    before = loaded()
    assert all(out.name in names for names in before)
    take_out(mined, release, [out.digest], tmp_path / "out")
    assert loaded() == [names - {out.name} for names in before]


def test_webdataset_reads_the_tars(release: Path) -> None:
    import webdataset

    tars = sorted(map(str, release.glob("data/*.tar")))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode("pil"))
    assert len(samples) == 21
    assert all(sample["json"]["blake2b"] == sample["__key__"] for sample in samples)
    assert {min(sample["jpg"].size) for sample in samples} == {64}


def test_originals_of_several_formats_are_read_from_both_layouts(mined: LocalStore, tmp_path: Path) -> None:
    import datasets
    import webdataset

    make(mined, recipe_of(shard_images=12), tmp_path)
    data = mined.root / "releases" / "v1" / "data"
    cache = str(tmp_path / "cache")
    rows = datasets.load_dataset("parquet", data_files=f"{data}/*.parquet", split="train", cache_dir=cache)
    formats = dict(zip(rows["blake2b"], (row["image"].format for row in rows), strict=True))
    assert len(formats) == 21
    assert set(formats.values()) == {"JPEG", "PNG"}
    assert formats == dict(zip(rows["blake2b"], rows["original_format"], strict=True))
    tars = sorted(map(str, data.glob("*.tar")))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode("pil"))
    found = {sample["__key__"]: "PNG" if "png" in sample else "JPEG" for sample in samples}
    assert found == formats
    sizes = {sample["__key__"]: (sample.get("jpg") or sample["png"]).size for sample in samples}
    assert sizes == {row["blake2b"]: (row["width"], row["height"]) for row in rows}


@pytest.mark.parametrize("layouts", [["parquet"], ["webdataset"]])
def test_croissant_is_valid_and_its_records_load(layouts: list[str], mined: LocalStore, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import absl.logging
        import mlcroissant

    # It took what pytest has put in the place of stderr for a file of its own, and would close it where logging is set
    # up anew, as Dagster does in the tests of commands: then pytest itself fails.
    absl.logging.get_absl_handler().python_handler.setStream(sys.__stderr__)
    make(mined, recipe_of(layouts=layouts, published=date(2026, 1, 31), url="https://example.org/small"), tmp_path)
    described = mlcroissant.Dataset(str(mined.root / "releases/v1/croissant.json"))
    assert not described.metadata.issues.errors
    assert not described.metadata.issues.warnings
    records = list(described.records("images"))
    assert len({record["images/blake2b"] for record in records}) == 21
    if layouts == ["parquet"]:
        assert all(isinstance(record["images/image"], Image.Image) for record in records)
