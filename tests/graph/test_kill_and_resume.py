"""A run that is killed at any moment leaves nothing half-published, and the next run finishes what it began."""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pyarrow.compute as pc
import pytest

from imgmine.demo.archives import DemoArchive, make_archives
from imgmine.demo.damage import Damage
from imgmine.demo.exchanges import Kind
from imgmine.demo.server import ArchiveServer, serve
from imgmine.settings import load_settings
from imgmine.store.base import Store
from imgmine.store.local import LocalStore
from imgmine.store.publish import read_table
from imgmine_assets.dead_runs import end_dead_runs
from imgmine_assets.definitions import build_defs
from imgmine_assets.instance import open_instance
from imgmine_assets.mining import mine
from tests.graph.killed_runs import Command, mining
from tests.graph.mined import NO_WATERMARKS, contents

# Just before these happen a run is stopped, and killed: an audit event, and the path that it names.
DECODING_BEGINS = ("subprocess.Popen", "*imgmine.images.worker*")
SHARDS_COME_EARLY = ("os.rename", "*/store/files/*/00003-*.tar")
SHARDS_ARE_THERE = ("os.rename", "*/store/records/*.parquet")
ONE_TABLE_IS_THERE = ("os.rename", "*/store/files/*.parquet")
PREVIEWS_ARE_THERE = ("os.rename", "*/store/images/*.parquet")
FORMER_SHARD_GOES = ("os.remove", "*/store/files/*.tar")

SHARD_BYTES = 400_000


@dataclass(frozen=True)
class Home:
    """An IMGMINE_HOME that mines from a server, by commands that are killed and by runs that are not."""

    folder: Path
    server: ArchiveServer
    archive: str

    @property
    def environ(self) -> dict[str, str]:
        return {
            **NO_WATERMARKS,
            "IMGMINE_HOME": str(self.folder),
            "IMGMINE_ARCHIVE_ORG": self.server.url,
            # Several shards, so that some are uploaded while the archive is still read.
            "IMGMINE_SHARD_BYTES": str(SHARD_BYTES),
        }

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.folder / "store")

    def mine(self) -> None:
        """Mine the archive in this process."""
        settings = load_settings(self.environ)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DAGSTER_HOME", str(self.folder / "dagster"))
            with open_instance(settings) as instance:
                [outcome] = mine(build_defs(settings=settings), instance, [self.archive])
        assert outcome.succeeded, outcome.reason

    def kill_at(self, moment: tuple[str, str]) -> None:
        """Run the command, stop it at a moment, kill it; see that its decoders are gone with it."""
        self.folder.mkdir(exist_ok=True)
        with mining(self.archive, self.environ, self.folder, moment) as command:
            command.wait_until_stopped()
            assert _SEEN.get(moment, lambda *_: True)(self, command)
            with self.instance() as instance:
                assert end_dead_runs(instance) == [], "it is stopped, not dead"
            command.kill()
            assert_gone(command.decoders)

    def instance(self) -> dg.DagsterInstance:
        """Open Dagster's instance."""
        return dg.DagsterInstance.from_config(str(self.folder / "dagster"))

    def statuses(self) -> list[dg.DagsterRunStatus]:
        """Return what Dagster's instance says of each run, oldest first."""
        with self.instance() as instance:
            return [run.status for run in reversed(instance.get_runs())]

    def leftovers(self) -> list[str]:
        """Return what a run that came to its end should have taken away."""
        in_scratch = [path for path in (self.folder / "scratch").glob("*/*") if path.suffix != ".lock"]
        drafts = [*self.folder.glob("cache/**/*.part*"), *self.folder.glob("store/**/.pending-*")]
        return [path.relative_to(self.folder).as_posix() for path in in_scratch + drafts]


def spooled(home: Home, _: Command) -> bool:
    return any(path.stat().st_size > 0 for path in home.folder.glob("scratch/unique_files/*/spool.bin"))


def shards_without_table(home: Home, command: Command) -> bool:
    return shards(contents(home.store)) != set() and bool(command.decoders())


def judged(home: Home, _: Command) -> bool:
    return any(path.stat().st_size > 10_000 for path in home.folder.glob("scratch/gated/*"))


# How it is seen that the run is in the middle of its work then.
_SEEN: dict[tuple[str, str], Callable[[Home, Command], bool]] = {
    DECODING_BEGINS: spooled,
    SHARDS_COME_EARLY: shards_without_table,
    PREVIEWS_ARE_THERE: judged,
}


def shards(found: dict[str, str]) -> set[str]:
    """Return the keys of the originals' shards; their names have the digests of what is in them."""
    return {key for key in found if key.startswith("files/") and key.endswith(".tar")}


def assert_gone(processes: Callable[[], list[int]]) -> None:
    deadline = time.monotonic() + 10
    while processes():
        assert time.monotonic() < deadline, f"{processes()} outlive the run that was killed"
        time.sleep(0.02)


def assert_readable(store: Store, archive: str) -> None:
    """Read every file and preview that the published tables name out of its shard."""
    for row in read_table(store, "files", archive).read().to_pylist():
        payload = store.get_range(row["shard"], row["shard_offset"], row["size"])
        assert hashlib.blake2b(payload, digest_size=32).digest() == row["blake2b"]
    images = read_table(store, "images", archive).read()
    for row in images.filter(pc.is_valid(images["preview_shard"])).to_pylist():
        preview = store.get_range(row["preview_shard"], row["preview_offset"], row["preview_size"])
        assert preview.startswith(b"\xff\xd8")
        assert preview.endswith(b"\xff\xd9")


def make(root: Path, damage: Damage | None = None) -> DemoArchive:
    """Make the archive of the latest kind: it has videos, and two WARC files."""
    [archive] = make_archives(root, kinds=[Kind.MAY_15], records=100, damage=damage)
    return archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> DemoArchive:
    return make(tmp_path_factory.mktemp("archive.org"))


@pytest.fixture(scope="module")
def server(archive: DemoArchive) -> Iterator[ArchiveServer]:
    with serve(archive.folder.parent) as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed(
    archive: DemoArchive, server: ArchiveServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What a run that nobody disturbs publishes."""
    home = Home(tmp_path_factory.mktemp("undisturbed"), server, archive.identifier)
    home.mine()
    assert_readable(home.store, home.archive)
    assert home.leftovers() == []
    assert len(shards(contents(home.store))) > 5
    return contents(home.store)


@pytest.fixture
def home(archive: DemoArchive, server: ArchiveServer, tmp_path: Path) -> Iterator[Home]:
    server.clear_requests()
    yield Home(tmp_path / "home", server, archive.identifier)
    server.faults.clear()


def test_a_killed_download_goes_on_at_the_byte_where_it_stopped(home: Home, undisturbed: dict[str, str]) -> None:
    """Twice, so that all places in the pool of downloads would be taken if a killed run kept its own."""
    kept = 0
    home.folder.mkdir()
    for _ in range(2):
        home.server.faults.add("throttle", rate=400_000, path="*.zst")
        with mining(home.archive, home.environ, home.folder) as command:
            command.wait_for(lambda before=kept: part_size(home) > before + 100_000)
            command.kill()
        home.server.faults.clear()
        assert contents(home.store) == {}
        assert asked_for(home)[0] == (f"bytes={kept}-" if kept else None)
        kept = part_size(home)
        home.server.clear_requests()

    home.mine()
    assert asked_for(home)[0] == f"bytes={kept}-"
    total = sum(path.stat().st_size for path in home.folder.glob("cache/*/*.zst"))
    assert sum(request.sent for request in home.server.requests if request.path.endswith(".zst")) == total - kept
    assert contents(home.store) == undisturbed
    assert home.leftovers() == []
    failed, done = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS
    assert home.statuses() == [failed, failed, done]


def part_size(home: Home) -> int:
    return sum(path.stat().st_size for path in home.folder.glob("cache/*/*.part"))


def asked_for(home: Home) -> list[str | None]:
    """Return the ranges of the requests for files, as they were asked for at the second machine."""
    return [
        request.range for request in home.server.requests if request.status in (200, 206) and "/items/" in request.path
    ]


@pytest.mark.parametrize(
    ("moment", "tables"),
    [
        pytest.param(DECODING_BEGINS, [], id="in the pass"),
        pytest.param(SHARDS_COME_EARLY, [], id="while shards are put before the archive is read"),
        pytest.param(SHARDS_ARE_THERE, [], id="between shards and tables"),
        pytest.param(ONE_TABLE_IS_THERE, ["records"], id="between tables"),
        pytest.param(PREVIEWS_ARE_THERE, ["files", "records"], id="between previews and table"),
    ],
)
def test_a_killed_run_publishes_nothing_by_halves_and_the_next_run_finishes(
    home: Home, undisturbed: dict[str, str], moment: tuple[str, str], tables: list[str]
) -> None:
    home.kill_at(moment)
    found = contents(home.store)
    # Of shards that no table names yet, one may have a file that turns out to be a lesser one.
    named = {key: digest for key, digest in found.items() if tables or key not in shards(found)}
    assert named.items() <= undisturbed.items()
    assert sorted({key.split("/")[0] for key in found if key.endswith(".parquet")}) == tables
    assert home.statuses() == [dg.DagsterRunStatus.STARTED]

    home.mine()
    assert contents(home.store) == undisturbed
    assert_readable(home.store, home.archive)
    assert home.leftovers() == []
    assert home.statuses() == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveServer]:
    """A server that has another version of the same item, with a damaged record."""
    with serve(make(tmp_path_factory.mktemp("former"), Damage.FRAME).folder.parent) as server:
        yield server


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(SHARDS_ARE_THERE, id="between shards and tables"),
        pytest.param(FORMER_SHARD_GOES, id="before the former shards go"),
    ],
)
def test_a_kill_while_an_archive_is_mined_anew_leaves_a_version_that_can_be_read(
    home: Home, former: ArchiveServer, undisturbed: dict[str, str], moment: tuple[str, str]
) -> None:
    Home(home.folder, former, home.archive).mine()
    before = contents(home.store)
    assert before["files/" + home.archive + ".parquet"] != undisturbed["files/" + home.archive + ".parquet"]

    home.kill_at(moment)
    found = contents(home.store)
    table = f"files/{home.archive}.parquet"
    assert found[table] == (before if moment == SHARDS_ARE_THERE else undisturbed)[table]
    assert shards(found) >= shards(before) | shards(undisturbed)
    assert_readable(home.store, home.archive)

    home.mine()
    assert contents(home.store) == undisturbed
    assert_readable(home.store, home.archive)
    assert home.leftovers() == []
