"""Which originals share a shard: by the order of the records alone."""

from hypothesis import given
from hypothesis import strategies as st

from imgmine.archives.shard_groups import Original, ShardGroups, StillFile, members_of
from imgmine.store.shards import END_BYTES

sizes = st.integers(0, 30_000)
stills = st.none() | st.integers(1, 20_000)
contents = st.lists(st.tuples(sizes, stills), max_size=40)
LIMIT = 40_000


def originals(content: list[tuple[int, int | None]]) -> list[Original]:
    made = []
    for number, (size, still_size) in enumerate(content):
        digest = number.to_bytes(32, "big")
        is_video = still_size is not None
        original = Original(digest, "video/mp4" if is_video else "image/png", size)
        if still_size is not None:
            original.still = StillFile(still_size.to_bytes(32, "little"), still_size, 0.0)
        made.append(original)
    return made


def grouped(made: list[Original]) -> list[list[Original]]:
    groups = ShardGroups(LIMIT)
    ended = [groups.add(original) for original in made]
    assert sum(ended) == max(0, len(groups.groups) - 1)
    assert groups.bytes == sum(original.size_in_shard for original in made)
    return groups.groups


@given(contents)
def test_each_original_is_in_one_group_in_order_and_each_group_fits(content: list[tuple[int, int | None]]) -> None:
    made = originals(content)
    groups = grouped(made)
    assert [original for group in groups for original in group] == made
    for group in groups:
        assert len(group) == 1 or sum(one.size_in_shard for one in group) + END_BYTES <= LIMIT


@given(contents, st.integers(0, 40))
def test_what_comes_later_changes_no_group_but_the_last(content: list[tuple[int, int | None]], cut: int) -> None:
    made = originals(content)
    early, all_of_them = grouped(made[:cut]), grouped(made)
    assert early[:-1] == all_of_them[: max(0, len(early) - 1)]


@given(contents, st.sets(st.integers(0, 40)))
def test_a_shard_has_the_kept_ones_and_each_still_once(
    content: list[tuple[int, int | None]], dropped: set[int]
) -> None:
    made = originals(content)
    kept = {original.blake2b for number, original in enumerate(made) if number not in dropped}
    seen: set[bytes] = set()
    members = [file for group in grouped(made) for file in members_of(group, kept.__contains__, seen)]
    assert [file.blake2b for file in members if file.blake2b == file.original.blake2b] == [
        original.blake2b for original in made if original.blake2b in kept
    ]
    found_stills = [file.blake2b for file in members if file.blake2b != file.original.blake2b]
    wanted = {one.still.blake2b for one in made if one.still is not None and one.blake2b in kept} - kept
    assert len(found_stills) == len(set(found_stills))
    assert set(found_stills) == wanted == seen
    for file in members:
        assert file.original.blake2b in kept
