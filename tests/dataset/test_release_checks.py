"""The doctor sees what is wrong with releases and the log of take-downs, and nothing where all is well."""

from pathlib import Path

import pytest

from imgmine.dataset.doctor import Finding, Kind
from imgmine.dataset.mending import see_to_dataset
from imgmine.dataset.releases.release import release_key
from imgmine.dataset.takedown.applying import apply_log
from imgmine.dataset.takedown_log import Action, Draft, append, entry_key
from imgmine.dataset.takedown_log import Kind as Named
from imgmine.places import Places
from imgmine.store.local import LocalStore
from tests.dataset.releases.mined_store import EARLY, Pic, make, own, put_archive, recipe_of


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A store with a release of three images, of which one was taken down since."""
    store = LocalStore(tmp_path / "store")
    pictures = [Pic(seed) for seed in range(3)]
    put_archive(store, EARLY, pictures, tmp_path / "scratch")
    own(store, tmp_path)
    make(store, recipe_of(shard_images=2, layouts=["parquet"]), tmp_path)
    for pic in pictures[:2]:
        append(store, Draft(Action.ADD, Named.HASH, (f"blake2b:{pic.name}",), (), "asked"))
    (tmp_path / "apply").mkdir()
    apply_log(store, tmp_path / "mirror", Places(tmp_path / "places", tmp_path / "cache"), tmp_path / "apply")
    return store


def seen(store: LocalStore, tmp_path: Path, *, checksums: bool = True) -> list[Finding]:
    (tmp_path / "whole").mkdir(exist_ok=True)
    places = Places(tmp_path / "places", tmp_path / "cache")
    found = see_to_dataset(store, places, scratch=tmp_path / "whole" if checksums else None)
    return [diagnosis.finding for diagnosis in found]


def test_what_is_wrong_with_a_release_is_told(store: LocalStore, tmp_path: Path) -> None:
    assert seen(store, tmp_path) == []
    altered, cut, gone = (
        next(stored.key for stored in store.list(f"releases/v1/{folder}")) for folder in ("data/", "samples/", "README")
    )
    data = store.get_bytes(altered)
    store.put_bytes(altered, bytes(len(data)))
    store.put_bytes(cut, store.get_bytes(cut)[:-1])
    store.delete(gone)
    found = {finding.where: finding.message for finding in seen(store, tmp_path)}
    assert found.keys() == {altered, cut, gone}
    assert "other bytes than v1 was made with" in found[altered]
    assert "v1 says" in found[cut]
    assert "not in the store" in found[gone]
    assert {finding.where for finding in seen(store, tmp_path, checksums=False)} == {cut, gone}
    store.put_bytes(release_key("v1"), b'{"version": "v1"}')
    [finding] = seen(store, tmp_path)
    assert (finding.kind, finding.where) == (Kind.RELEASE, release_key("v1"))
    assert "release.json cannot be read" in finding.message


def test_a_log_of_take_downs_that_was_changed_or_cut_short_is_told(store: LocalStore, tmp_path: Path) -> None:
    first, last = (store.get_bytes(entry_key(number)) for number in (1, 2))
    store.put_bytes(entry_key(1), first.replace(b"asked", b"axed"))
    [finding] = seen(store, tmp_path)
    assert finding.kind is Kind.TAKEDOWN_LOG
    assert "one of them was changed. Restore the folder takedown/log" in str(finding)
    store.put_bytes(entry_key(1), first)
    store.delete(entry_key(2))
    assert {finding.where.rpartition(".")[2] for finding in seen(store, tmp_path)} == {"json", "md"}
    store.put_bytes(entry_key(2), last)
    assert seen(store, tmp_path) == []
