"""`imgmine release` as a person runs it, on a store of a few pictures; what it makes is seen by the instance."""

from pathlib import Path

import dagster as dg
import duckdb
import pytest
from click.testing import CliRunner, Result

from imgmine.dataset.releases.recipe import read_recipe
from imgmine.dataset.takedown_log import Action, Draft, Kind, append
from imgmine.scratch import scratch_folder
from imgmine.store.local import LocalStore
from imgmine_assets.cli import main
from tests.dataset.releases.mined_store import EARLY, Pic, make, own, put_archive

RECIPE = "name: small\ndescription: Small.\nlicence: None.\nshard_images: 3\n"


def imgmine(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["release", *map(str, arguments)])


def test_two_releases_one_after_a_take_down_are_made_listed_compared_and_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("IMGMINE_HOME", str(home))
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    store = LocalStore(home / "store")
    pictures = [Pic(seed) for seed in range(5)]
    put_archive(store, EARLY, pictures, tmp_path / "scratch")
    own(store, tmp_path)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)

    assert "no release yet" in imgmine("list").output
    # As the command would, without loading the graph, which takes seconds.
    assert make(store, read_recipe(recipe), tmp_path).release.version == "v1"
    assert "v1 is there already" in imgmine("make", recipe).output
    append(store, Draft(Action.ADD, Kind.HASH, (f"blake2b:{pictures[0].name}",), (pictures[0].digest,), "asked"))
    refused = imgmine("make", recipe, "--version", "v1")
    assert refused.exit_code == 1
    assert "before a take-down" in refused.output
    second = imgmine("make", recipe)
    assert second.output.startswith("v2: small, 4 images in 2 shards, "), second.output

    assert [line.partition(",")[0] for line in imgmine("list").output.splitlines()] == ["v1: small", "v2: small"]
    with scratch_folder(home / "scratch", "export_duckdb", "v2"):  # as while somebody exports it
        assert "is being made by another run" in imgmine("export", "duckdb", "v2", tmp_path / "v2.duckdb").output
        told = imgmine("diff", "v1", "v2").output
        assert imgmine("export", "fiftyone", "v2", tmp_path / "fiftyone", "--limit", 2).exit_code == 0
    assert "4 images stayed, 0 came, 1 went." in told
    assert f"`{pictures[0].name}`: it was taken down" in told
    assert imgmine("export", "duckdb", "v2", tmp_path / "v2.duckdb").exit_code == 0
    with duckdb.connect(str(tmp_path / "v2.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM samples").fetchall() == [(4,)]
    assert len(list((tmp_path / "fiftyone/data").iterdir())) == 2

    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        assert instance.get_dynamic_partitions("versions") == ["v2"]
        made = instance.get_latest_materialization_event(dg.AssetKey("releases"))
        assert made is not None
        assert made.asset_materialization is not None
        assert made.asset_materialization.partition == "v2"
        assert made.asset_materialization.metadata["images"].value == 4


def test_a_wrong_recipe_is_told_and_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGMINE_HOME", str(tmp_path / "home"))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE + "nswf_below: 0.2\n")
    told = imgmine("make", recipe)
    assert told.exit_code == 1
    assert f"{recipe}: unknown: nswf_below." in told.output
