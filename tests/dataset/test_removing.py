import shutil
from pathlib import Path

import pytest

from imgmine.archives.cache import in_use
from imgmine.dataset.doctor import Kind, archives_in, examine
from imgmine.dataset.removing import data_of, remove_archive
from imgmine.places import Places
from imgmine.scratch import STAGES, StageBusy, alone_with
from imgmine.store.local import LocalStore
from tests.dataset.small_store import Entry
from tests.dataset.takedown.stored import DyingStore, Killed, contents, put_stored

ENTRIES = [Entry(name) for name in ("one", "two", "three", "four")]


def planted(folder: Path) -> tuple[LocalStore, Places]:
    store = LocalStore(folder / "store")
    put_stored(store, "early", ENTRIES)
    put_stored(store, "early2", ENTRIES[:1])
    places = Places(folder / "scratch", folder / "cache")
    (places.cache / "early").mkdir(parents=True)
    (places.cache / "early" / "a.warc.zst").write_bytes(b"fetched")
    with in_use(places.cache, "early"):
        pass
    (places.scratch_root / "gated").mkdir(parents=True)
    (places.scratch_root / "gated" / "early").write_bytes(b"judged")
    return store, places


def copied(folder: Path, source: Path) -> tuple[LocalStore, Places]:
    shutil.copytree(source, folder)
    return LocalStore(folder / "store"), Places(folder / "scratch", folder / "cache")


def is_of_early(key: str) -> bool:
    return "early" in key.replace(".", "/").split("/")


def test_everything_of_the_archive_goes_and_nothing_of_others(tmp_path: Path) -> None:
    store, places = planted(tmp_path)
    before = contents(store)
    told: list[tuple[int, int]] = []
    removed = remove_archive(store, places, "early", lambda done, total: told.append((done, total)))
    assert {stored.key for stored in removed.objects} == {key for key in before if is_of_early(key)}
    assert removed.size == sum(len(data) for key, data in before.items() if is_of_early(key))
    assert contents(store) == {key: data for key, data in before.items() if not is_of_early(key)}
    assert told == [(done, len(removed.objects)) for done in range(len(removed.objects))]
    assert not any(path.exists() for path in removed.paths)
    assert len(removed.paths) == 2
    assert not [path for path in tmp_path.rglob("early") if places.cache in path.parents]
    assert not any(data_of(store, places, "early"))
    assert archives_in(store) == {"early2"}


def test_killed_at_any_point_the_next_run_finishes_and_no_table_is_left_without_what_it_names(tmp_path: Path) -> None:
    _, places = planted(tmp_path / "whole")
    objects = len(data_of(LocalStore(tmp_path / "whole" / "store"), places, "early").objects)
    assert objects >= 10
    for last in range(1, objects + 1):
        store, places = copied(tmp_path / str(last), tmp_path / "whole")
        with pytest.raises(Killed):
            remove_archive(DyingStore(store.root, last), places, "early")
        assert "early" in archives_in(store)
        half = {Kind.NOT_MADE_FROM_ANYTHING, Kind.SHARD_UNNAMED, Kind.SHARD_WITHOUT_TABLE}
        assert {finding.kind for finding in examine(store, "early")} <= half
        assert remove_archive(store, places, "early").objects
        assert not any(data_of(store, places, "early"))
        assert list(examine(store, "early2")) == []


def test_an_archive_that_is_being_made_stays(tmp_path: Path) -> None:
    store, places = planted(tmp_path)
    before = contents(store)
    with alone_with(places.scratch_root, STAGES[2:3], "early"), pytest.raises(StageBusy):
        remove_archive(store, places, "early")
    assert contents(store) == before
    assert (places.cache / "early").exists()
