"""The command line as a person runs it: separate processes, nothing else running, exit statuses that mean something."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from imgmine.demo.archives import DemoArchive, make_archives
from imgmine.demo.exchanges import Kind
from imgmine.demo.server import ArchiveServer, serve
from tests.graph.mined import NO_WATERMARKS


@dataclass(frozen=True)
class Terminal:
    """A folder to work in, and the environment there."""

    folder: Path
    environ: dict[str, str]
    server: ArchiveServer

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "ignore", "-m", "imgmine_assets.cli", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=240, check=False
        )

    @property
    def home(self) -> Path:
        return self.folder / ".imgmine"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> DemoArchive:
    [archive] = make_archives(tmp_path_factory.mktemp("archive.org"), kinds=[Kind.MAY_15], records=40)
    return archive


@pytest.fixture(scope="module")
def terminal(archive: DemoArchive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A terminal in which the one archive has been discovered and mined."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("IMGMINE_", "DAGSTER_"))}
    with serve(archive.folder.parent) as server:
        environ = {**clean, **NO_WATERMARKS, "IMGMINE_ARCHIVE_ORG": server.url}
        terminal = Terminal(tmp_path_factory.mktemp("terminal"), environ, server)
        discovered = terminal.run("discover")
        assert (discovered.returncode, discovered.stdout) == (0, f"{archive.identifier}\n"), discovered.stderr
        mined = terminal.run("mine", archive.identifier)
        assert (mined.returncode, mined.stdout) == (0, f"{archive.identifier}: mined\n"), mined.stderr
        told = mined.stderr.splitlines()
        assert any(line.startswith(f"  raw_archives: {archive.identifier}: ") for line in told)
        assert not any("did not yield" in line for line in told)
        yield terminal


def test_help_names_every_command(terminal: Terminal) -> None:
    shown = terminal.run("--help")
    assert shown.returncode == 0
    commands = re.findall(r"^  (\w+)", shown.stdout, re.MULTILINE)
    assert {"demo", "discover", "mine", "run", "explain", "setup"} <= set(commands)


@pytest.mark.parametrize(
    "arguments", [("mine",), ("mine", "a,b"), ("unknown",), ("explain",), ("demo", "--port", "x"), ("run", "unknown")]
)
def test_wrong_usage_exits_with_2(terminal: Terminal, arguments: tuple[str, ...]) -> None:
    assert terminal.run(*arguments).returncode == 2


def test_what_was_mined_is_seen_by_the_instance_of_the_ui(terminal: Terminal, archive: DemoArchive) -> None:
    with dg.DagsterInstance.from_config(str(terminal.home / "dagster")) as instance:
        assert instance.get_dynamic_partitions("archives") == [archive.identifier]
        assert instance.get_materialized_partitions(dg.AssetKey("embeddings")) == {archive.identifier}
        assert not instance.telemetry_enabled


def test_a_misspelt_archive_exits_with_1_says_why_and_is_no_partition(terminal: Terminal) -> None:
    failed = terminal.run("mine", misspelt := "archiveteam_imgur_20230501000000_00000000")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.splitlines()[-1] == f"{misspelt}: IA has no such item. Check the identifier."
    with dg.DagsterInstance.from_config(str(terminal.home / "dagster")) as instance:
        assert misspelt not in instance.get_dynamic_partitions("archives")


def test_a_job_is_run_for_the_partitions_that_are_named(terminal: Terminal) -> None:
    ran = terminal.run("run", "own_in_parts", "f")
    assert (ran.returncode, ran.stdout) == (0, "f: done\n"), ran.stderr
    assert [path.name for path in terminal.home.glob("store/ownership_parts/*")] == ["f.parquet"]
    assert terminal.run("run", "own_in_parts", "g").returncode == 2


def test_explain_tells_the_story_of_a_hash_a_url_and_a_file(
    terminal: Terminal, archive: DemoArchive, tmp_path: Path
) -> None:
    files = pq.read_table(terminal.home / "store" / "files" / f"{archive.identifier}.parquet").to_pylist()
    row = next(row for row in files if row["media_type"] == "image/jpeg")
    picture = tmp_path / "picture.jpg"
    with (terminal.home / "store" / row["shard"]).open("rb") as shard:
        shard.seek(row["shard_offset"])
        picture.write_bytes(shard.read(row["size"]))
    for query in (row["blake2b"].hex(), row["url"], str(picture)):
        told = terminal.run("explain", query)
        assert told.returncode == 0, told.stderr
        assert row["blake2b"].hex() in told.stdout
        assert archive.identifier in told.stdout
        assert str(row["warc_offset"]) in told.stdout


def test_the_command_that_explain_prints_fetches_the_record_again(terminal: Terminal, archive: DemoArchive) -> None:
    files = pq.read_table(terminal.home / "store" / "files" / f"{archive.identifier}.parquet").to_pylist()
    digest = next(row["blake2b"].hex() for row in files if row["video_blake2b"] is None)
    told = terminal.run("explain", digest)
    [command] = [line.strip() for line in told.stdout.splitlines() if "imgmine.archives.origin" in line][:1]
    words = command.split()
    arguments = words[words.index("imgmine.archives.origin") + 1 :]
    fetched = subprocess.run(
        [sys.executable, "-m", "imgmine.archives.origin", *arguments], capture_output=True, text=True, check=False
    )
    assert (fetched.returncode, digest in fetched.stdout) == (0, True), fetched.stderr


def test_explain_of_what_is_not_there_exits_with_1(terminal: Terminal) -> None:
    assert terminal.run("explain", "0" * 64).returncode == 1


def test_explain_of_no_query_exits_with_2(terminal: Terminal) -> None:
    assert terminal.run("explain", "not a hash").returncode == 2


def test_labels_are_added_taken_back_and_listed(terminal: Terminal, tmp_path: Path) -> None:
    one, two = "0" * 64, "1" * 64
    assert terminal.run("label", "add", one, two, "--label", "bad", "--by", "me").returncode == 0
    table = tmp_path / "labels.csv"
    table.write_text(f"blake2b,label\n{one},comics\n")
    assert "1 labels added" in terminal.run("label", "import", str(table)).stdout
    assert terminal.run("label", "remove", two, "--label", "bad").returncode == 0
    listed = terminal.run("label", "list").stdout
    assert listed.splitlines() == ["comics: 1 yes, 0 no", "good: 0 yes, 1 no", "4 entries in the log."]
    wrong = terminal.run("label", "add", "abc", "--label", "good")
    assert (wrong.returncode, "is no BLAKE2b-256" in wrong.stderr) == (1, True)


def test_a_setting_that_cannot_be_used_is_named(terminal: Terminal) -> None:
    terminal.environ["IMGMINE_ANOMALY_PERCENTILE"] = "many"
    try:
        failed = terminal.run("discover")
    finally:
        del terminal.environ["IMGMINE_ANOMALY_PERCENTILE"]
    assert failed.returncode == 1
    assert failed.stderr.startswith("imgmine: IMGMINE_ANOMALY_PERCENTILE='many'")
