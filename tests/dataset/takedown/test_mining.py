"""What the log of take-downs has to say while an archive is mined."""

from pathlib import Path

from imgmine.archives.blocked import HashKind
from imgmine.dataset.takedown.mining import blocklist_of, is_as_named, named_hashes_of
from imgmine.dataset.takedown_log import Action, Draft, Kind, append, read_log, rules_of
from imgmine.decisions import RecordDecision
from imgmine.store.local import LocalStore
from tests.dataset.small_store import Entry, digest, tables_of

VIDEO, STILL = digest("clip"), digest("still of clip")
BLAKE2B = HashKind.BLAKE2B


def test_a_still_takes_a_video_with_it_only_where_somebody_named_it(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    append(store, Draft(Action.ADD, Kind.URL, ("url:https://i.imgur.com/clip.jpg",), (VIDEO, STILL), "asked for"))
    log = read_log(store)
    assert all(blocklist_of(log).has(BLAKE2B, each) for each in (VIDEO, STILL))
    assert not named_hashes_of(log)
    append(store, Draft(Action.ADD, Kind.HASH, (f"blake2b:{STILL.hex()}", f"md5:{'0' * 32}"), (VIDEO, STILL), "too"))
    assert sorted(named_hashes_of(read_log(store)).names()) == [f"blake2b:{STILL.hex()}", f"md5:{'0' * 32}"]


def test_an_archive_in_which_a_name_is_not_blocked_yet_is_not_as_named() -> None:
    kept = tables_of("early", [Entry("one", media_id="abcde"), Entry("two"), Entry("page", RecordDecision.NO_MEDIA)])
    for values, expected in (
        (["media_id:abcde"], False),
        (["url:http://i.imgur.com/two.jpg"], False),
        (["domain:imgur.com"], False),
        (["url:https://i.imgur.com/page.jpg", "media_id:fghij"], True),
        (["md5:" + "0" * 32], True),
    ):
        assert is_as_named(rules_of(values), kept["records"]) is expected, values
    blocked = kept["records"].to_pylist()
    for row in blocked:
        row |= {"decision": "blocked"} if row["blake2b"] else {}
    assert is_as_named(rules_of(["domain:imgur.com"]), kept["records"].from_pylist(blocked, kept["records"].schema))
