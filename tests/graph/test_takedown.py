"""A take-down through the whole graph: out of everything, not back when the archive is mined again, back by an undo."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from imgmine.dataset.explain import explain
from imgmine.dataset.explanation_text import short_answer
from imgmine.dataset.takedown.names import published_under, url_value
from imgmine.dataset.takedown_log import Action, Draft, Kind, append, read_log, rules_of, undo_of
from imgmine.store.opening import store_of
from imgmine.store.publish import read_table
from imgmine_assets.mining import run_job
from imgmine_assets.partitions import add_archives, archives
from tests.dataset.takedown.stored import members
from tests.graph.conftest import MinedDemo
from tests.graph.mined import Workplace, published, workplace

# What the test makes again: the stages that read shards and tables, without the models that take seconds to load.
STAGES = ("unique_files", "images")


@pytest.fixture
def work(mined: MinedDemo, demo_root: Path, tmp_path: Path) -> Iterator[Workplace]:
    """A copy of the mined demo, which may be changed."""
    home = tmp_path / "home"
    for folder in ("store", "cache"):
        shutil.copytree(mined.work.settings.home / folder, home / folder)
    with workplace(home, demo_root) as work:
        yield work


@pytest.fixture
def defs(work: Workplace) -> dg.Definitions:
    jobs = [
        dg.define_asset_job("mine_again", dg.AssetSelection.assets(*STAGES), partitions_def=archives),
        dg.define_asset_job("judge_again", dg.AssetSelection.assets("embeddings"), partitions_def=archives),
    ]
    return dg.Definitions.merge(work.defs, dg.Definitions(jobs=jobs))


def digests(work: Workplace, *tables: str) -> dict[str, str]:
    return {key: digest for key, digest in published(work.store).items() if key.split("/")[0] in tables}


def test_out_of_everything_not_back_by_mining_and_back_by_an_undo(
    mined: MinedDemo, work: Workplace, defs: dg.Definitions
) -> None:
    store = store_of(work.settings)
    archive = mined.identifiers[0]
    add_archives(work.instance, mined.identifiers)

    def run(job: str, archive: str | None = None) -> None:
        outcome = run_job(defs, work.instance, job, archive)
        assert outcome.succeeded, outcome

    before = digests(work, "records", "files", "images", "previews", "embeddings")
    row = next(
        row
        for row in read_table(store, "files", archive).read().to_pylist()
        if row["video_blake2b"] is None
        and row["blake2b"] in read_table(store, "embeddings", archive).read()["blake2b"].to_pylist()
    )
    values = (url_value(row["url"]),)
    named = published_under(store, work.settings.mirror, rules_of(values))
    assert row["blake2b"] in named.digests
    names = {digest.hex() for digest in named.digests}
    append(store, Draft(Action.ADD, Kind.URL, values, tuple(named.digests), "asked for"))

    run("take_down")
    assert not {name.partition(".")[0] for _, name, _ in members(store, "")} & names
    told = explain(row["url"], store, work.settings.mirror, "https://archive.org")
    assert "Taken down (entry 1 of the log)" in short_answer(told)
    taken_down = digests(work, "records", "files", "images", "previews", "embeddings")
    assert {key.split("/")[0] for key in before.keys() - taken_down.keys()} == {"files", "previews"}

    run("judge_again", archive)
    assert digests(work, "embeddings").items() <= taken_down.items(), "counts as up to date"

    store.delete(f"files/{archive}.parquet")
    run("mine_again", archive)
    assert not {name.partition(".")[0] for _, name, _ in members(store, "")} & names
    records = read_table(store, "records", archive).read().to_pylist()
    assert names >= {found["blake2b"].hex() for found in records if found["decision"] == "blocked"} != set()

    append(store, undo_of(1, "a mistake"))
    run("take_down")
    run("mine_again", archive)
    of_archive = {key: digest for key, digest in before.items() if archive in key and "embeddings" not in key}
    assert of_archive.items() <= digests(work, "records", "files", "images", "previews").items(), "byte for byte"


def test_what_is_named_while_the_archive_is_read_is_not_left_in_it(
    mined: MinedDemo, work: Workplace, defs: dg.Definitions
) -> None:
    store = store_of(work.settings)
    archive = mined.identifiers[0]
    row = next(row for row in read_table(store, "files", archive).read().to_pylist() if row["video_blake2b"] is None)
    add_archives(work.instance, [archive])
    for table in ("records", "files"):
        store.delete(f"{table}/{archive}.parquet")
    key = work.store / f"records/{archive}.parquet"

    def name_it(event: str, details: tuple[Any, ...]) -> None:
        """Add the entry, which finds nothing, when the pass is over and the first table is about to be there."""
        if event == "os.rename" and str(details[1]) == str(key) and not read_log(store).entries:
            append(store, Draft(Action.ADD, Kind.URL, (url_value(row["url"]),), (), "asked for"))

    sys.addaudithook(name_it)
    outcome = run_job(defs, work.instance, "mine_again", archive)
    assert outcome.succeeded, outcome
    assert row["blake2b"] in read_log(store).blocked
    assert not [name for _, name, _ in members(store, "") if name.startswith(row["blake2b"].hex())]
    assert row["blake2b"] not in read_table(store, "files", archive).read()["blake2b"].to_pylist()
    records = {found["url"]: found["decision"] for found in read_table(store, "records", archive).read().to_pylist()}
    assert records[row["url"]] == "blocked"
