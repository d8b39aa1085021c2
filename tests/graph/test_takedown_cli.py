"""`imgmine takedown add`, `undo` and `list`, and what `imgmine explain` says then; `test_takedown` has the rest."""

import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from imgmine.dataset.near_duplicates import NEAR_DUPLICATES_KEY
from imgmine.dataset.takedown_log import Action, Draft, Kind, append, read_log
from imgmine.dataset.warehouse import build_warehouse, open_warehouse, publish_warehouse
from imgmine.decisions import RecordDecision
from imgmine.store.local import LocalStore
from imgmine.store.publish import read_table
from imgmine_assets.cli import main
from tests.dataset.small_store import Entry, digest
from tests.dataset.takedown.stored import put_stored

ENTRIES = [Entry("one"), Entry("two"), Entry("clip", media_type="video/mp4", media_id="abcde")]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGMINE_HOME", str(tmp_path / "home"))
    return LocalStore(tmp_path / "home" / "store")


@pytest.fixture
def store(empty: LocalStore, tmp_path: Path) -> LocalStore:
    put_stored(empty, "early", ENTRIES)
    (tmp_path / "made").mkdir()
    publish_warehouse(empty, build_warehouse(empty, tmp_path, tmp_path / "made"))
    return empty


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def listed(store: LocalStore, folder: Path) -> tuple[set[bytes], int]:
    """The files in the warehouse's views, and how many records are kept."""
    with open_warehouse(store, folder / "mirror", folder / "reading") as warehouse:
        found = {
            row[0]
            for table in ("files", "images", "embeddings")
            for row in warehouse.execute(f"SELECT blake2b FROM {table}").fetchall()
        }
        [(kept,)] = warehouse.execute("SELECT count(*) FROM records WHERE decision = 'kept'").fetchall()
    return found, kept


def test_what_is_added_is_in_no_listing_at_once_and_an_undo_lists_it_again(store: LocalStore, tmp_path: Path) -> None:
    everything = listed(store, tmp_path)
    assert everything[1] == 3
    dry = run("takedown", "add", "--media-id", "abcde", "--reason", "asked for", "--dry-run")
    assert (dry.exit_code, read_log(store).entries) == (0, ())
    assert dry.output.startswith("2 files named by it, in 1 archive: stored.")
    added = run("takedown", "add", "--media-id", "abcde", "--reason", "asked for", "--by", "ann")
    assert added.exit_code == 0, added.output
    assert f"Entry 1 of the log: {read_log(store).head}" in added.output
    assert listed(store, tmp_path) == (everything[0] - {digest("clip"), digest("still of clip")}, 2)

    told = run("explain", digest("still of clip").hex())
    assert told.exit_code == 0
    assert "Taken down (entry 1 of the log): it is in no listing." in told.output
    assert "reason: asked for" in told.output
    assert "shard:" not in told.output
    assert "fetch again" not in told.output

    undone = run("takedown", "undo", "1", "--reason", "a mistake")
    assert undone.exit_code == 0, undone.output
    assert listed(store, tmp_path) == everything
    entries = run("takedown", "list", "--values").output.splitlines()
    assert entries[0].startswith("1: media id, 2 files, ")
    assert entries[0].endswith("ann: asked for, taken back")
    assert entries[1] == "   media_id:abcde"
    assert entries[-1].startswith("2 entries, 0 files blocked now. Hash of the last entry: ")
    again = run("takedown", "undo", "1", "--reason", "once more")
    assert (again.exit_code, "taken back already" in again.output) == (1, True)


def test_a_damaged_table_over_all_archives_holds_no_take_down_up(store: LocalStore, tmp_path: Path) -> None:
    store.put_bytes(NEAR_DUPLICATES_KEY, b"cut")
    added = run("takedown", "add", "--hash", digest("one").hex(), "--reason", "asked for")
    assert added.exit_code == 0, added.output
    assert digest("one") not in listed(store, tmp_path)[0]


@pytest.mark.parametrize(
    "command",
    [
        ("takedown", "add", "--media-id", "abcde", "--reason", "asked for"),
        ("explain", "https://i.imgur.com/abcde.jpg"),
    ],
)
def test_a_damaged_table_of_an_archive_is_named_and_what_to_do(store: LocalStore, command: tuple[str, ...]) -> None:
    [damaged, *_] = store.list("records/")
    store.put_bytes(damaged.key, b"cut")
    ended = run(*command)
    assert ended.exit_code == 1
    assert ended.exception is None or isinstance(ended.exception, SystemExit)
    assert ended.output.startswith("imgmine: ")
    assert damaged.key in ended.output
    assert ended.output.endswith("imgmine doctor says what to do.\n")
    assert read_log(store).entries == ()


def test_what_was_read_and_not_kept_is_told_apart(store: LocalStore) -> None:
    wanted = {"url": "https://example.org/", "media_id": "abcde"}
    put_stored(store, "late", [Entry("late", **wanted), Entry("lesser", RecordDecision.LESSER_COPY, **wanted)])
    dry = run("takedown", "add", "--domain", "example.org", "--reason", "asked for", "--dry-run")
    assert dry.output.startswith("2 files named by it, in 1 archive: 1 stored, 1 read but not kept.")


def test_what_a_killed_add_left_listed_is_in_no_listing_after_the_next_command(
    store: LocalStore, tmp_path: Path
) -> None:
    everything = listed(store, tmp_path)[0]
    append(store, Draft(Action.ADD, Kind.HASH, (f"blake2b:{digest('one').hex()}",), (), "asked for"))
    assert listed(store, tmp_path)[0] == everything
    assert run("takedown", "list").exit_code == 0
    assert listed(store, tmp_path)[0] == everything - {digest("one")}


def test_names_of_several_kinds_make_one_entry_and_hold_for_what_is_mined_later(
    empty: LocalStore, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text(f"# what was asked for\n{digest('one').hex()}\nhttps://i.imgur.com/two.jpg\ndomain:example.org\n")
    added = run("takedown", "add", "--list", str(names), "--hash", "0" * 32, "--reason", "asked for")
    assert added.exit_code == 0, added.output
    assert added.output.startswith("No file that was mined is named by it; it holds for what is mined later.")
    log = read_log(empty)
    assert (len(log.entries), log.blocked, log.rules.domains) == (1, {digest("one")}, {"example.org"})
    assert (log.rules.urls, log.rules.md5) == ({"i.imgur.com/two.jpg"}, {bytes(16)})


def test_what_is_published_while_an_entry_is_added_is_named_by_it_too(store: LocalStore, tmp_path: Path) -> None:
    late = Entry("late", url="https://i.imgur.com/abcde.gif", media_id="abcde")

    def publish_it(event: str, details: tuple[Any, ...]) -> None:
        """Publish an archive when the entry, which could not find it, is about to be there."""
        if event == "os.link" and str(details[1]).startswith(str(store.root / "takedown/log/00000001")):
            put_stored(store, "late", [late])

    sys.addaudithook(publish_it)
    added = run("takedown", "add", "--media-id", "abcde", "--reason", "asked for")
    assert added.exit_code == 0, added.output
    assert late.digest in read_table(store, "files", "late").read()["blake2b"].to_pylist()
    assert late.digest in read_log(store).blocked
    assert late.digest not in listed(store, tmp_path)[0]


def test_what_names_nearly_everything_is_asked_about(store: LocalStore) -> None:
    many = [Entry(f"number {number}", url=f"https://example.org/{number}") for number in range(25)]
    put_stored(store, "late", many)
    for domain in ("imgur.com", "example.org"):
        arguments = ("takedown", "add", "--domain", domain, "--reason", "asked for")
        asked = run(*arguments)
        assert (asked.exit_code, "more than half of what was mined" in asked.output) == (1, True), asked.output
        assert read_log(store).entries == ()
    added = run(*arguments, "--yes")
    assert added.exit_code == 0, added.output
    assert len(read_log(store).blocked) == 25


def test_what_is_no_name_is_wrong_usage(empty: LocalStore) -> None:
    for arguments, message in WRONG:
        said = run("takedown", "add", *arguments)
        assert (said.exit_code, message in said.output) == (2, True), said.output
    assert read_log(empty).entries == ()


WRONG: list[tuple[list[str], str]] = [
    (["--reason", "r"], "Nothing is named"),
    (["--hash", "abc", "--reason", "r"], "no hash of a file"),
    (["--hash", "sha1:" + "0" * 64, "--reason", "r"], "no hash of a file"),
    (["--url", "nothing", "--reason", "r"], "no URL"),
    (["--url", "https://i.imgur.com/abcdefgs.jpg", "--reason", "r"], "--media-id abcdefg."),
    (["--url", "i.imgur.com/abcdefg_d.jpg?maxwidth=520", "--reason", "r"], "--media-id abcdefg."),
    (["--url", "https://imgur.com/abcdefg", "--reason", "r"], "--media-id abcdefg."),
    (["--url", "http://www.imgur.com/abcde?tags", "--reason", "r"], "--media-id abcde."),
    (["--url", "m.imgur.com/abcdefg.jpg", "--reason", "r"], "--media-id abcdefg."),
    (["--url", "https://imgur.com/a/abcde", "--reason", "r"], "is no picture but a page"),
    (["--url", "https://i.imgur.com/removed.png", "--reason", "r"], "no picture"),
    (["--domain", "imgur", "--reason", "r"], "no domain"),
    (["--media-id", "a/b", "--reason", "r"], "no media id"),
    (["--hash", "0" * 64, "--reason", " "], "The reason is empty"),
    (["--hash", "0" * 64], "Missing option '--reason'"),
]
