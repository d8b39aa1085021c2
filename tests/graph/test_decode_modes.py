"""Switching how previews are decoded makes `images`, and what comes after it, anew: nothing else."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq

from imgmine.demo.archives import DemoArchive
from imgmine.images.decoding import Decoding
from imgmine.settings import Settings, load_settings
from imgmine_assets.definitions import build_defs
from imgmine_assets.partitions import add_archives
from tests.graph.mined import Workplace, published, workplace

ASSETS = ("raw_archives", "unique_files", "images", "embeddings")


def test_only_images_is_of_another_version(tmp_path: Path) -> None:
    settings = load_settings({"IMGMINE_HOME": str(tmp_path)})
    one, other = versions(settings), versions(replace(settings, decode=Decoding.SCALED))
    assert {key for key in one if one[key] != other[key]} == {"images"}


def versions(settings: Settings) -> dict[str, str | None]:
    specs = build_defs(settings=settings).resolve_all_asset_specs()
    return {spec.key.to_user_string(): spec.code_version for spec in specs}


def test_switching_makes_anew_what_depends_on_it_and_back_again(
    demo_archives: list[DemoArchive], demo_root: Path, tmp_path: Path
) -> None:
    archive = min(demo_archives, key=lambda archive: archive.size).identifier
    with workplace(tmp_path / "home", demo_root) as work:
        add_archives(work.instance, [archive])
        assert not any(as_before(work, archive).values())
        exact, verdicts = published(work.store), of_images(work, archive)
        scaling = replace(work, settings=replace(work.settings, decode=Decoding.SCALED))
        assert as_before(scaling, archive) == {"unique_files": True, "images": False, "embeddings": False}
        scaled = published(work.store)
        changed = {key for key in scaled if key.endswith(".parquet") and scaled[key] != exact[key]}
        assert changed == {f"images/{archive}.parquet", f"embeddings/{archive}.parquet"}
        assert of_images(scaling, archive) == verdicts
        assert as_before(work, archive) == {"unique_files": True, "images": False, "embeddings": False}
        assert published(work.store) == exact


def as_before(work: Workplace, archive: str) -> dict[str, bool]:
    """Run the first assets of the graph; return which of them found that nothing had changed."""
    result = work.defs.resolve_job_def("mine_archive").execute_in_process(
        instance=work.instance, partition_key=archive, asset_selection=[dg.AssetKey(name) for name in ASSETS]
    )
    found = {}
    for name in ASSETS[1:]:
        [made] = result.asset_materializations_for_node(name)
        found[name] = bool(made.metadata["unchanged"].value)
    return found


def of_images(work: Workplace, archive: str) -> list[dict[str, object]]:
    """Return what the gate says of each picture."""
    table = pq.read_table(work.store / f"images/{archive}.parquet")
    return table.drop_columns(
        ["preview_shard", "preview_offset", "preview_size", "dhash", "pdq", "pdq_quality"]
    ).to_pylist()
