"""A list of hashes and the whole graph: what it names is nowhere, and only what it concerns is made anew."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from imgmine.demo.archives import make_archives
from imgmine.demo.exchanges import Kind
from imgmine.settings import load_settings
from imgmine_assets.definitions import build_defs
from imgmine_assets.partitions import add_archives
from resources.blocklist import BlocklistResource
from tests.graph.mined import Workplace, workplace

MINING = ("raw_archives", "unique_files", "images")


def test_a_list_of_other_content_is_another_version_of_two_assets(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    settings = load_settings({"IMGMINE_HOME": str(tmp_path / "home"), "IMGMINE_BLOCKLIST": str(path)})
    versions = []
    for line in ("ab" * 16, "cd" * 16):
        path.write_text(line)
        specs = build_defs(settings=settings).resolve_all_asset_specs()
        versions.append({spec.key.to_user_string(): spec.code_version for spec in specs})
    one, other = versions
    assert {key for key in one if one[key] != other[key]} == {"unique_files", "images"}


def test_a_list_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("ab" * 16)
    resource = BlocklistResource(paths=[str(path)])
    first = resource.load()
    assert resource.load() is first
    path.write_text("ab" * 16 + "\n" + "cd" * 20)
    assert len(resource.load()) == 2
    assert len(BlocklistResource(paths=[]).load()) == 0


def test_what_a_list_names_is_nowhere_and_what_it_looks_like_goes_with_the_next_take_down(tmp_path: Path) -> None:
    [archive] = make_archives(tmp_path / "archive.org", kinds=[Kind.MAY_15], records=25)
    name = archive.folder.name
    listing = tmp_path / "list.txt"
    with workplace(tmp_path / "home", archive.folder.parent) as free:
        add_archives(free.instance, [name])
        as_before(free, name)
        files, images = rows(free, "files", name), rows(free, "images", name)
        kept = [digest for digest, row in images.items() if row["decision"] == "kept" and row["pdq_quality"] >= 50]
        by_bytes, by_picture = [digest for digest in kept if files[digest]["video_blake2b"] is None][:2]
        listed_bytes, listed_picture = bytes_of(free, files[by_bytes]), bytes_of(free, files[by_picture])

        listing.write_text(f"{files[by_bytes]['md5'].hex()}\npdq:{images[by_picture]['pdq'].hex()}\n")
        work = replace(free, settings=replace(free.settings, blocklist=(listing,)))
        assert as_before(work, name) == {"unique_files": False, "images": False}
        records = pq.read_table(work.store / f"records/{name}.parquet").to_pylist()
        blocked = {row["blake2b"]: row["blocked_by"] for row in records if row["decision"] == "blocked"}
        assert blocked == {by_bytes: f"md5:{files[by_bytes]['md5'].hex()}"}
        assert by_bytes not in rows(work, "files", name)
        assert not places_with(listed_bytes, work)
        found = rows(work, "images", name)
        assert (found[by_picture]["decision"], found[by_picture]["preview_shard"]) == ("blocked", None)
        assert all(
            f"{by_picture.hex()}.jpg".encode() not in path.read_bytes()
            for path in (work.store / "previews").rglob("*.tar")
        )

        # Nothing more is to be done, with a longer list neither, while that concerns other archives.
        with listing.open("a") as more:
            more.write("# new\n" + "\n".join(f"sha1:{number:040x}" for number in range(100)))
        assert as_before(work, name) == {"unique_files": True, "images": True}

        assert places_with(listed_picture, work) != []
        outcome = work.run("take_down")
        assert outcome.succeeded, outcome
        assert not places_with(listed_picture, work)
        assert by_picture not in rows(work, "images", name)
        assert as_before(work, name) == {"unique_files": True, "images": True}


def places_with(payload: bytes, work: Workplace) -> list[Path]:
    """Return the files with these bytes, but for the archive cache."""
    home = work.settings.home
    paths = (path for path in home.rglob("*") if path.is_file() and work.settings.cache not in path.parents)
    return [path for path in paths if payload in path.read_bytes()]


def rows(work: Workplace, table: str, archive: str) -> Mapping[bytes, dict[str, Any]]:
    return {row["blake2b"]: row for row in pq.read_table(work.store / f"{table}/{archive}.parquet").to_pylist()}


def bytes_of(work: Workplace, row: Mapping[str, Any]) -> bytes:
    return (work.store / row["shard"]).read_bytes()[row["shard_offset"] :][: row["size"]]


def as_before(work: Workplace, archive: str) -> dict[str, bool]:
    """Run the first assets of the graph; return which of them found that nothing had changed."""
    result = work.defs.resolve_job_def("mine_archive").execute_in_process(
        instance=work.instance, partition_key=archive, asset_selection=[dg.AssetKey(name) for name in MINING]
    )
    made = {name: result.asset_materializations_for_node(name)[0] for name in MINING[1:]}
    return {name: bool(each.metadata["unchanged"].value) for name, each in made.items()}
