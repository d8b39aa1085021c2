"""A file on its way into the cache."""

import hashlib
import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgmine.archives.cache import CacheUnusable
from imgmine.archives.item import ItemFile
from imgmine.archives.part_file import CacheLost, FetchBusy, PartFile, Validators, is_verified, verify

CONTENT = random.Random(0).randbytes(2_500_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
EXPECTED = ItemFile("a.zst", "Web ARChive ZST", len(CONTENT), MD5, None, None, None, False)
HERE = Validators('"1"', None)


def test_the_md5_follows_what_is_written_through_restarts_and_reopening(tmp_path):
    path = tmp_path / "a.zst"
    with PartFile(path, EXPECTED) as part:
        part.belongs_to(HERE)
        part.write(part.position, b"rubbish" * 100_000)
        part.restart()
        part.belongs_to(HERE)
        part.write(part.position, CONTENT[:1_000_001])
        assert part.md5() == hashlib.md5(CONTENT[:1_000_001]).hexdigest()
    with PartFile(path, EXPECTED) as part:
        assert part.position == 1_000_001
        assert part.validators == HERE
        part.write(part.position, CONTENT[1_000_001:])
        assert part.md5() == MD5
        part.publish(MD5)
    assert path.read_bytes() == CONTENT
    assert is_verified(path, EXPECTED)
    assert {each.name for each in tmp_path.iterdir()} == {"a.zst", "a.zst.ok"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=5_000), st.none()), max_size=12))
def test_any_order_of_writing_and_restarting_gives_the_md5_of_what_is_there(tmp_path_factory, steps):
    with PartFile(tmp_path_factory.mktemp("cache") / "a.zst", EXPECTED) as part:
        content = b""
        for step in steps:
            if step is None:
                part.restart()
                content = b""
            else:
                part.write(part.position, step)
                content += step
        assert part.position == len(content)
        assert part.md5() == hashlib.md5(content).hexdigest()
        part.discard()


@pytest.mark.parametrize(
    "journal", [None, b"", b"{", b"[]", b'{"size": 1}', b'{"size": 1, "md5": "0", "etag": null, "last_modified": null}']
)
def test_a_part_of_which_nobody_knows_of_what_is_begun_anew(tmp_path, journal):
    (tmp_path / "a.zst.part").write_bytes(b"left")
    if journal is not None:
        (tmp_path / "a.zst.part.json").write_bytes(journal)
    with PartFile(tmp_path / "a.zst", EXPECTED) as part:
        assert part.position == 0


def test_a_part_longer_than_the_file_is_begun_anew(tmp_path):
    with PartFile(tmp_path / "a.zst", EXPECTED) as part:
        part.belongs_to(HERE)
        part.write(part.position, CONTENT + b"more")
    with PartFile(tmp_path / "a.zst", EXPECTED) as part:
        assert part.position == 0


def test_one_process_at_a_time(tmp_path):
    with (
        PartFile(tmp_path / "a.zst", EXPECTED),
        pytest.raises(FetchBusy, match=r"a\.zst is being fetched"),
    ):
        PartFile(tmp_path / "a.zst", EXPECTED)
    with PartFile(tmp_path / "a.zst", EXPECTED) as part:
        part.discard()


def remove_cache(cache):
    shutil.rmtree(cache)


def remove_files(cache):
    for path in cache.iterdir():
        path.unlink()


def put_another(cache):
    remove_files(cache)
    (cache / "a.zst.part").write_bytes(b"another's")


def put_a_file(cache):
    shutil.rmtree(cache)
    cache.write_bytes(b"")


@pytest.mark.parametrize("take_away", [remove_cache, remove_files, put_another, put_a_file])
@pytest.mark.parametrize(
    "write",
    [
        lambda part: part.write(part.position, b"more"),
        lambda part: part.belongs_to(Validators('"2"', None)),
        lambda part: part.publish(part.md5()),
    ],
)
def test_a_part_that_is_taken_away_is_told_by_whatever_writes_next(tmp_path, take_away, write):
    cache = tmp_path / "cache"
    with PartFile(cache / "a.zst", EXPECTED) as part:
        part.belongs_to(HERE)
        part.write(part.position, CONTENT)
        take_away(cache)
        with pytest.raises(CacheLost, match=r"a\.zst\.part was removed or replaced .* IMGMINE_CACHE"):
            write(part)
    assert not (cache / "a.zst").exists()


def test_a_cache_that_is_no_folder_is_told(tmp_path):
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(CacheUnusable, match=r"/cache is not a folder\. .* IMGMINE_CACHE"):
        PartFile(tmp_path / "cache" / "archive" / "a.zst", EXPECTED)


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        (("1", "a"), ("1", "a"), False),
        (("1", "a"), ("2", "b"), True),
        (("1", "a"), ("2", "a"), False),
        (("1", None), ("2", None), True),
        ((None, None), ("2", "b"), False),
        (("1", None), (None, "b"), False),
    ],
)
def test_validators_differ_where_nothing_agrees(one, other, differ):
    assert Validators(*one).differ_from(Validators(*other)) is differ


def test_only_the_right_bytes_are_verified(tmp_path):
    path = tmp_path / "a.zst"
    assert not is_verified(path, EXPECTED)
    path.write_bytes(CONTENT[:-1])
    assert not verify(path, EXPECTED)
    path.write_bytes(CONTENT[::-1])
    assert not verify(path, EXPECTED)
    assert not is_verified(path, EXPECTED)
    path.write_bytes(CONTENT)
    assert verify(path, EXPECTED)
    assert is_verified(path, EXPECTED)
