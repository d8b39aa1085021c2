"""A list of hashes that arrives after archives were mined: found in the tables alone, and taken out by the log."""

from pathlib import Path

import pytest

from imgmine.archives.blocked import Blocklist, HashKind, named
from imgmine.dataset.blocklist import Listed, are_pictures_as_listed, is_as_listed, listed_files
from imgmine.dataset.takedown.applying import apply_log
from imgmine.dataset.takedown.from_lists import note_listed
from imgmine.dataset.takedown.mining import blocklist_of
from imgmine.dataset.takedown.names import list_values, published_under
from imgmine.dataset.takedown_log import Kind, read_log, rules_of, undo_of
from imgmine.dataset.takedown_log import append as append_to_log
from imgmine.images.pdq_index import PdqIndex
from imgmine.places import Places
from imgmine.store.local import LocalStore
from imgmine.store.publish import read_table
from tests.dataset.small_store import Entry, digest, list_hashes
from tests.dataset.takedown.stored import contents, payload_of, put_stored

LONG = " of some length" * 40
SHARED = Entry(f"shared{LONG}", url="https://i.imgur.com/abcde.jpg")
CLIP = Entry("clip", media_type="video/mp4")
ARCHIVES = {"first": [Entry(f"one{LONG}"), SHARED], "second": [SHARED, CLIP], "third": [Entry(f"two{LONG}")]}
STILL = digest("still of clip")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")
    for archive, entries in ARCHIVES.items():
        put_stored(store, archive, entries)
    return store


def near(blake2b: bytes, bits: int) -> bytes:
    """Return a PDQ hash so many bits from the picture's, as `small_store` makes it."""
    return (int.from_bytes(blake2b[::-1]) ^ ((1 << bits) - 1)).to_bytes(32)


def hashes_of(entry: Entry) -> dict[HashKind, bytes]:
    return {
        HashKind.BLAKE2B: entry.digest,
        **{HashKind(name): value for name, value in list_hashes(entry.payload).items()},
        HashKind.PDQ: near(entry.digest, 31),
    }


@pytest.mark.parametrize("kind", HashKind)
def test_what_a_later_list_names_is_found_in_the_tables_of_every_archive(kind, store, tmp_path):
    listing = Blocklist.of([(kind, hashes_of(SHARED)[kind]), (kind, bytes(kind.size))])
    wanted = named(kind, hashes_of(SHARED)[kind])
    assert sorted(listed_files(store, tmp_path / "mirror", listing)) == [
        Listed("first", SHARED.digest, wanted),
        Listed("second", SHARED.digest, wanted),
    ]
    # The stages see it too: those two archives are not what they would be with this list.
    as_listed = {}
    for archive in ARCHIVES:
        records, files, images = (read_table(store, name, archive).read() for name in ("records", "files", "images"))
        pictures = are_pictures_as_listed(PdqIndex(listing.pdq), images)
        as_listed[archive] = is_as_listed(listing, records, files) and pictures
    assert as_listed == {"first": False, "second": False, "third": True}


def test_a_picture_further_away_is_another(store, tmp_path):
    listing = Blocklist.of([(HashKind.PDQ, near(SHARED.digest, 32))])
    assert list(listed_files(store, tmp_path / "mirror", listing)) == []


@pytest.mark.parametrize("kind", [HashKind.MD5, HashKind.PDQ])
def test_a_later_list_takes_the_bytes_out_and_keeps_them_out(kind, store, tmp_path):
    mirror = tmp_path / "mirror"
    before = contents(store)
    assert any(payload_of(SHARED.payload) in data for data in before.values())
    listing = Blocklist.of([(kind, hashes_of(SHARED)[kind])])
    assert note_listed(store, mirror, listing) == 1
    assert note_listed(store, mirror, listing) == 0  # it is on the log
    [entry] = read_log(store).entries
    assert (entry.kind, entry.values, entry.resolved) == (
        Kind.LIST,
        (named(kind, hashes_of(SHARED)[kind]),),
        (SHARED.digest,),
    )
    (tmp_path / "apply").mkdir()
    report = apply_log(store, mirror, Places(tmp_path / "scratch", tmp_path / "cache"), tmp_path / "apply")
    assert report.is_complete
    after = contents(store)
    assert not any(payload_of(SHARED.payload) in data for data in after.values())
    assert [key for key in before if "third" in key and before[key] != after.get(key)] == []
    # Mined again without the list, it stays out: the log blocks it, by all that is known of it.
    blocked = blocklist_of(read_log(store))
    assert blocked.has(HashKind.BLAKE2B, SHARED.digest)
    assert blocked.has(kind, hashes_of(SHARED)[kind])


def test_a_video_goes_with_a_still_that_is_on_a_list(store, tmp_path):
    listing = Blocklist.of([(HashKind.PDQ, near(STILL, 5))])
    assert note_listed(store, tmp_path / "mirror", listing) == 2
    assert read_log(store).blocked == {STILL, CLIP.digest}


def test_what_is_taken_back_comes_onto_the_log_again_while_the_list_has_it(store, tmp_path):
    listing = Blocklist.of([(HashKind.MD5, hashes_of(SHARED)[HashKind.MD5])])
    note_listed(store, tmp_path / "mirror", listing)
    append_to_log(store, undo_of(1, "not that one"))
    assert read_log(store).blocked == frozenset()
    assert note_listed(store, tmp_path / "mirror", listing) == 1
    assert note_listed(store, tmp_path / "mirror", Blocklist()) == 0


def test_a_list_of_a_takedown_may_be_a_list_of_hashes(store, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(f"name,pdq\nx,{near(SHARED.digest, 20).hex()}\n")
    values = list_values(path)
    assert values == (f"pdq:{near(SHARED.digest, 20).hex()}",)
    assert published_under(store, tmp_path / "mirror", rules_of(values)).digests == {SHARED.digest}
    path.write_text(f"{SHARED.digest.hex()}\nmedia_id:abcde\n")
    assert len(list_values(path)) == 3  # 64 digits may be of either hash of bytes
