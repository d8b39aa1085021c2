"""The archive cache is held to its limit, and never loses what is being read or still has to be."""

import os
from pathlib import Path

import pytest

from imgmine.archives.cache import CacheUnusable, in_use, make_room


def fetched(cache: Path, archive: str, size: int, used_at: float) -> None:
    folder = cache / archive
    folder.mkdir(parents=True)
    (folder / "a.warc.zst").write_bytes(bytes(size))
    with in_use(cache, archive):
        pass
    os.utime(cache / ".uses" / archive, (used_at, used_at))


def archives_in(cache: Path) -> set[str]:
    return {folder.name for folder in cache.iterdir() if not folder.name.startswith(".")}


def test_the_ones_unused_for_longest_go_until_there_is_room(tmp_path):
    for number, archive in enumerate(["new", "old", "older"]):
        fetched(tmp_path, archive, 100, used_at=1000.0 - number)
    assert make_room(tmp_path, 300, 0, lambda _: True) == []
    assert make_room(tmp_path, 300, 50, lambda _: True) == ["older"]
    assert make_room(tmp_path, 300, 150, lambda _: True) == ["old"]
    assert archives_in(tmp_path) == {"new"}
    assert make_room(tmp_path, 300, 1000, lambda _: True) == ["new"]


def test_using_an_archive_makes_it_the_last_to_go(tmp_path):
    fetched(tmp_path, "a", 100, used_at=1.0)
    fetched(tmp_path, "b", 100, used_at=2.0)
    with in_use(tmp_path, "a"):
        pass
    assert make_room(tmp_path, 200, 100, lambda _: True) == ["b"]


def test_what_is_used_or_was_not_read_stays(tmp_path):
    for archive in ("reading", "waiting", "read"):
        fetched(tmp_path, archive, 100, used_at=1.0)
    with in_use(tmp_path, "reading"), in_use(tmp_path, "reading"):
        assert make_room(tmp_path, 0, 0, lambda archive: archive != "waiting") == ["read"]
    assert archives_in(tmp_path) == {"reading", "waiting"}
    assert make_room(tmp_path, 0, 0, lambda archive: archive != "waiting") == ["reading"]


def test_one_from_before_uses_were_noted_goes_first(tmp_path):
    fetched(tmp_path, "noted", 100, used_at=1.0)
    (tmp_path / "unnoted").mkdir()
    (tmp_path / "unnoted" / "a.warc.gz").write_bytes(bytes(100))
    assert make_room(tmp_path, 100, 0, lambda _: True) == ["unnoted"]


@pytest.mark.parametrize(
    "use", [lambda cache: in_use(cache, "a").__enter__(), lambda cache: make_room(cache, 0, 0, bool)]
)
def test_a_cache_that_is_no_folder_is_told(tmp_path, use):
    (tmp_path / "cache").symlink_to(tmp_path / "gone")
    with pytest.raises(CacheUnusable, match=r"/cache is not a folder\. .* IMGMINE_CACHE"):
        use(tmp_path / "cache")
