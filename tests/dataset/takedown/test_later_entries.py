"""A second look at the log when a stage has published: what was added meanwhile goes, by whatever it is named."""

from pathlib import Path

import pytest

from imgmine.dataset.takedown.later_entries import see_to_later_entries
from imgmine.dataset.takedown.report import noted_of_archive
from imgmine.dataset.takedown_log import Action, Draft, Kind, TakedownLog, append, read_log
from imgmine.scratch import StageBusy, alone_with
from imgmine.store.local import LocalStore
from tests.dataset.small_store import Entry, digest, list_hashes
from tests.dataset.takedown.stored import contents, members, put_stored, rows

ARCHIVE = "early"
ENTRIES = [Entry("one", media_id="abcde"), Entry("two")]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")
    put_stored(store, ARCHIVE, ENTRIES)
    return store


def look_again(store: LocalStore, folder: Path, since: TakedownLog) -> frozenset[str] | None:
    (folder / "own").mkdir(exist_ok=True)
    change = see_to_later_entries(
        store, folder / "mirror", folder / "scratch", folder / "own", stage="images", archive=ARCHIVE, since=since
    )
    return None if change is None else frozenset(change.files)


@pytest.mark.parametrize(
    "value",
    [
        "media_id:abcde",
        "url:http://i.imgur.com/one.jpg",
        f"sha1:{list_hashes('one')['sha1'].hex()}",
        f"pdq:{digest('one')[::-1].hex()}",
    ],
)
def test_what_is_added_meanwhile_goes(store: LocalStore, tmp_path: Path, value: str) -> None:
    since = read_log(store)
    before = contents(store)
    assert look_again(store, tmp_path, since) is None
    assert contents(store) == before
    append(store, Draft(Action.ADD, Kind.LIST, (value,), (), "asked for"))
    assert look_again(store, tmp_path, since) == {digest("one").hex()}
    assert read_log(store).blocked == {digest("one")}
    assert not [name for _, name, _ in members(store, "") if name.startswith(digest("one").hex())]
    assert [row["decision"] for row in rows(store, "records", ARCHIVE)] == ["blocked", "kept"]
    assert [change.files for change in noted_of_archive(store, ARCHIVE)] == [(digest("one").hex(),)]
    assert look_again(store, tmp_path, since) is None


def test_what_another_stage_is_reading_is_left_to_the_next_run(store: LocalStore, tmp_path: Path) -> None:
    append(store, Draft(Action.ADD, Kind.LIST, ("media_id:abcde",), (), "asked for"))
    with alone_with(tmp_path / "scratch", ["embeddings"], ARCHIVE), pytest.raises(StageBusy):
        look_again(store, tmp_path, TakedownLog())
    assert read_log(store).blocked == {digest("one")}, "it is in no listing"
