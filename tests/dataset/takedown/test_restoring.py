"""What an undo wants back, whoever had blocked it, and which WARC files have what is blocked still."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from imgmine.archives.blocked import Blocklist, HashKind
from imgmine.dataset.takedown.applying import apply_log
from imgmine.dataset.takedown.archive import take_out
from imgmine.dataset.takedown.report import Report
from imgmine.dataset.takedown_log import Action, Draft, Kind, append, undo_of
from imgmine.decisions import ImageDecision
from imgmine.places import Places
from imgmine.store.base import Store
from imgmine.store.local import LocalStore
from imgmine.store.publish import read_table, without_rows
from tests.dataset.small_store import Entry, digest, list_hashes
from tests.dataset.takedown.stored import put_stored

LEFT, BLOCKED = Entry("left"), Entry("blocked")
CLIP = Entry("clip", media_type="video/mp4")
MD5 = f"md5:{list_hashes('blocked')['md5'].hex()}"
STILL_MD5 = f"md5:{list_hashes('still of clip')['md5'].hex()}"
BY_MD5 = Blocklist.of([(HashKind.MD5, list_hashes("blocked")["md5"])])
ARCHIVE = "early"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """What the pass leaves of an archive of which it blocked a file by its MD5, and a video by that of its still."""
    store = LocalStore(tmp_path / "store")
    put_stored(store, ARCHIVE, [LEFT, BLOCKED, CLIP])
    (tmp_path / "made").mkdir()
    take_out(store, ARCHIVE, {BLOCKED.digest, CLIP.digest}, tmp_path / "made", lambda change: None)
    by = {BLOCKED.digest: MD5, CLIP.digest: STILL_MD5}
    change(store, "records", lambda row: {"blocked_by": by.get(row["blake2b"])})
    return store


def change(store: Store, table: str, changed) -> None:  # type: ignore[no-untyped-def]
    published = read_table(store, table, ARCHIVE)
    rows = published.read()
    altered = pa.Table.from_pylist([{**row, **changed(row)} for row in rows.to_pylist()], rows.schema)
    store.put_bytes(published.key, without_rows(published, altered, sorted(published.shards)).data)


def name(store: Store, *values: str, found: Sequence[bytes] = ()) -> None:
    append(store, Draft(Action.ADD, Kind.HASH, values, tuple(found), "asked for"))


def applied(store: Store, folder: Path, lists: Blocklist | None = None, *, drop_raw: bool = False) -> Report:
    (folder / "apply").mkdir(exist_ok=True)
    places = Places(folder / "scratch", folder / "cache")
    lists = lists or Blocklist()
    return apply_log(store, folder / "mirror", places, folder / "apply", lists=lists, drop_raw=drop_raw)


def test_what_the_pass_blocked_by_a_hash_comes_back_by_an_undo(store: LocalStore, tmp_path: Path) -> None:
    name(store, MD5)
    assert applied(store, tmp_path).to_mine == []
    append(store, undo_of(1, "a mistake"))
    report = applied(store, tmp_path)
    assert (report.to_mine, report.undone, report.restored) == ([ARCHIVE], 1, 0)
    assert read_table(store, "files", ARCHIVE).metadata["inputs"] == "to be made again"
    put_stored(store, ARCHIVE, [LEFT, BLOCKED, CLIP])  # as mining it again would
    report = applied(store, tmp_path)
    assert (report.to_mine, report.undone, report.restored) == ([], 1, 1)


def test_a_video_that_the_pass_blocked_by_its_still_comes_back_by_an_undo(store: LocalStore, tmp_path: Path) -> None:
    name(store, STILL_MD5)
    append(store, undo_of(1, "a mistake"))
    report = applied(store, tmp_path)
    assert (report.to_mine, report.undone) == ([ARCHIVE], 1)


@pytest.mark.parametrize("by", ["a list of hashes", "another entry", "another entry's file"])
def test_what_something_else_blocks_is_not_mined_again_and_again(store: LocalStore, tmp_path: Path, by: str) -> None:
    name(store, MD5, found=[BLOCKED.digest])
    if by == "another entry":
        name(store, MD5)
    elif by == "another entry's file":
        name(store, "url:https://i.imgur.com/blocked.jpg", found=[BLOCKED.digest])
    append(store, undo_of(1, "a mistake"))
    report = applied(store, tmp_path, BY_MD5 if by == "a list of hashes" else None)
    assert report.to_mine == []
    assert read_table(store, "files", ARCHIVE).metadata["inputs"] != "to be made again"


def test_what_a_list_alone_had_blocked_is_no_undo_s_business(store: LocalStore, tmp_path: Path) -> None:
    name(store, f"blake2b:{digest('other').hex()}")
    append(store, undo_of(1, "a mistake"))
    assert applied(store, tmp_path).to_mine == []


def test_what_the_gate_blocked_by_its_picture_comes_back_by_an_undo(store: LocalStore, tmp_path: Path) -> None:
    picture = f"pdq:{LEFT.digest[::-1].hex()}"
    blocked = {"decision": ImageDecision.BLOCKED.value, "detail": f"{picture} differs in 0 bits"}
    change(store, "images", lambda row: blocked)
    name(store, picture)
    append(store, undo_of(1, "a mistake"))
    report = applied(store, tmp_path)
    assert report.to_mine == [ARCHIVE]
    # `images` sees by itself that it has something to do; the archive need not be read again.
    assert read_table(store, "files", ARCHIVE).metadata["inputs"] != "to be made again"
    assert applied(store, tmp_path, Blocklist.of([(HashKind.PDQ, LEFT.digest[::-1])])).to_mine == []


def test_warc_files_of_what_the_pass_blocked_are_told_and_those_of_what_was_taken_back_are_not(
    store: LocalStore, tmp_path: Path
) -> None:
    raw = tmp_path / "cache" / ARCHIVE / f"{ARCHIVE}.warc.zst"
    raw.parent.mkdir(parents=True)
    raw.write_bytes(b"all of it")
    name(store, MD5)
    assert applied(store, tmp_path).raw_kept == [f"{ARCHIVE}/{raw.name}"]
    append(store, undo_of(1, "a mistake"))
    report = applied(store, tmp_path, drop_raw=True)
    assert (report.raw_kept, report.raw_dropped, raw.is_file()) == ([], [], True)
    name(store, MD5)
    assert applied(store, tmp_path, drop_raw=True).raw_dropped == [f"{ARCHIVE}/{raw.name}"]
    assert not raw.exists()
