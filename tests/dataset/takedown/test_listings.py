"""The warehouse hides what the log blocks, and what others publish meanwhile is not lost by it."""

from pathlib import Path

import pytest

from imgmine.dataset.takedown.listings import make_listings_true
from imgmine.dataset.takedown_log import Action, Draft, Kind, append, undo_of
from imgmine.dataset.warehouse import WAREHOUSE_KEY, build_warehouse, hide_blocked, open_warehouse, publish_warehouse
from imgmine.store.local import LocalStore
from tests.dataset.small_store import Entry, digest
from tests.dataset.takedown.stored import put_stored


class Overtaken(LocalStore):
    """A store in which somebody publishes statistics right after the warehouse was read for the first time."""

    overtaken = False

    def local_copy(self, key: str, folder: Path) -> Path:
        path = super().local_copy(key, folder)
        if key == WAREHOUSE_KEY and not self.overtaken:
            self.overtaken = True
            copy = folder / "copy of the former"
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            put_stored(self, "late", [Entry("three")])
            make_statistics(self, folder / "of others")
            return copy
        return path


def make_statistics(store: LocalStore, folder: Path) -> None:
    folder.mkdir(parents=True)
    publish_warehouse(store, build_warehouse(store, folder, folder))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")
    put_stored(store, "early", [Entry("one"), Entry("two")])
    make_statistics(store, tmp_path / "made")
    append(store, Draft(Action.ADD, Kind.HASH, (f"blake2b:{digest('two').hex()}",), (), "asked for"))
    return store


def listed(store: LocalStore, folder: Path) -> tuple[set[bytes], set[str]]:
    with open_warehouse(store, folder / "mirror", folder / "reading") as warehouse:
        files = {name for (name,) in warehouse.execute("SELECT blake2b FROM files").fetchall()}
        return files, {archive for (archive,) in warehouse.execute("SELECT archive FROM funnel").fetchall()}


def test_what_is_published_meanwhile_is_not_overwritten_and_hides_it_too(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "hiding").mkdir()
    assert hide_blocked(Overtaken(store.root), tmp_path / "mirror", tmp_path / "hiding")
    assert listed(store, tmp_path) == ({digest("one"), digest("three")}, {"early", "late"})


def test_the_warehouse_is_published_again_only_where_it_does_not_follow_the_log(
    store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / "hiding").mkdir()
    assert make_listings_true(store, tmp_path, tmp_path / "hiding")
    assert digest("two") not in listed(store, tmp_path)[0]
    before = store.stat(WAREHOUSE_KEY)
    assert not make_listings_true(store, tmp_path, tmp_path / "hiding")
    assert store.stat(WAREHOUSE_KEY) == before
    append(store, undo_of(1, "back"))
    assert make_listings_true(store, tmp_path, tmp_path / "hiding")
    assert digest("two") in listed(store, tmp_path)[0]


def test_without_a_warehouse_there_is_nothing_to_do(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    append(store, Draft(Action.ADD, Kind.HASH, (f"blake2b:{digest('two').hex()}",), (), "asked for"))
    (tmp_path / "hiding").mkdir()
    assert not make_listings_true(store, tmp_path, tmp_path / "hiding")
    assert store.stat(WAREHOUSE_KEY) is None
