"""Shards against an independent reader, the standard library's tarfile: what was put in comes out where it should."""

import hashlib
import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imgmine.store.shards import Member, Shard, ShardDamaged, ShardWriter, shard_members, tar_header

LIMIT = 8 << 10

names = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="/\\"), min_size=1, max_size=90
)
payloads = st.binary(max_size=3_000) | st.sampled_from(
    [0, 1, 511, 512, 513, 1024, LIMIT - 1537, LIMIT - 1536, 20_000]
).map(bytes)
contents = st.lists(st.tuples(names, payloads), max_size=20)


def packed(folder: Path, content: list[tuple[str, bytes]], limit: int = LIMIT) -> tuple[list[Shard], list[Member]]:
    with ShardWriter(folder, "files/an_archive", limit) as writer:
        members = [writer.add(name, payload) for name, payload in content]
    return writer.shards, members


@given(contents)
@example([("at.limit", bytes(LIMIT - 1536)), ("one.more", b"")])
def test_tarfile_finds_every_payload_where_its_member_says(content: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shards, members = packed(Path(folder), content)
        found = []
        for number, shard in enumerate(shards):
            data = shard.path.read_bytes()
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for info in tar:
                    stream = tar.extractfile(info)
                    assert stream is not None
                    found.append((info.name, stream.read(), Member(number, info.offset_data)))
                    assert (info.uid, info.gid, info.mtime, info.mode) == (0, 0, 0, 0o644)
        assert found == [(name, payload, member) for (name, payload), member in zip(content, members, strict=True)]
        for (_, payload), member in zip(content, members, strict=True):
            data = shards[member.shard].path.read_bytes()
            assert data[member.offset : member.offset + len(payload)] == payload


@given(contents)
def test_a_shard_keeps_to_the_limit_unless_one_payload_alone_passes_it(content: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shards, members = packed(Path(folder), content)
        for number, shard in enumerate(shards):
            data = shard.path.read_bytes()
            assert shard.size == len(data)
            assert shard.key == f"files/an_archive/{number:05d}-{hashlib.blake2b(data, digest_size=16).hexdigest()}.tar"
            held = sum(member.shard == number for member in members)
            assert held >= 1
            assert shard.size <= LIMIT or held == 1
        if not content:
            assert shards == []


@given(contents)
def test_the_same_payloads_give_the_same_shards_however_they_are_handed_over(content: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        shards, members = packed(Path(one), content)
        spool = io.BytesIO(b"".join(payload for _, payload in content))
        with ShardWriter(Path(other) / "made", "files/an_archive", LIMIT) as writer:
            from_spool = [writer.add_from(name, spool, len(payload)) for name, payload in content]
        assert from_spool == members
        assert [(shard.key, shard.size) for shard in writer.shards] == [(shard.key, shard.size) for shard in shards]
        for shard, again in zip(shards, writer.shards, strict=True):
            assert shard.path.read_bytes() == again.path.read_bytes()


@given(contents)
def test_members_are_read_back_in_order(content: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shards, members = packed(Path(folder), content)
        read = [
            (name, Member(number, offset), size)
            for number, shard in enumerate(shards)
            for name, offset, size in shard_members(shard.path)
        ]
        assert read == [(name, member, len(data)) for (name, data), member in zip(content, members, strict=True)]


@given(st.lists(st.tuples(names, payloads), min_size=1, max_size=4), st.data())
def test_a_shard_that_is_cut_short_is_said_to_be_damaged(content: list[tuple[str, bytes]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (shard, *_), _ = packed(Path(folder), content, limit=1 << 20)
        whole = shard.path.read_bytes()
        shard.path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1025))])
        with pytest.raises(ShardDamaged, match=shard.path.name):
            list(shard_members(shard.path))


def test_an_altered_header_is_said_to_be_damaged(tmp_path: Path) -> None:
    (shard,), _ = packed(tmp_path, [("a.jpg", b"1"), ("b.jpg", b"2")])
    data = bytearray(shard.path.read_bytes())
    data[1024] ^= 1
    shard.path.write_bytes(data)
    with pytest.raises(ShardDamaged, match="byte 1024"):
        list(shard_members(shard.path))


@pytest.mark.parametrize(("name", "size"), [("", 1), ("x" * 101, 1), ("é", 1), ("a\0b", 1), ("a", -1), ("a", 8 << 30)])
def test_what_does_not_fit_a_header_is_refused(tmp_path: Path, name: str, size: int) -> None:
    with pytest.raises(ValueError):
        tar_header(name, size)
    assert tarfile.TarInfo.frombuf(tar_header("x" * 100, (8 << 30) - 1), "ascii", "strict").size == (8 << 30) - 1


def test_a_name_that_is_refused_leaves_the_shard_as_it_was(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, "files/a") as writer:
        writer.add("a.jpg", b"1")
        with pytest.raises(ValueError):
            writer.add("é.jpg", b"2")
        writer.add("b.jpg", b"3")
    assert [name for name, _, _ in shard_members(writer.shards[0].path)] == ["a.jpg", "b.jpg"]


def test_a_source_that_ends_early_is_an_error_and_makes_no_shard(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "files/a")
    with pytest.raises(EOFError, match=r"a\.jpg.*7 bytes early"), writer:
        writer.add_from("a.jpg", io.BytesIO(b"123"), 10)
    assert writer.shards == []
