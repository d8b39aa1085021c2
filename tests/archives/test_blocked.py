"""Lists of hashes in memory: what is on them, in whatever order and how often it was given."""

import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imgmine.archives.blocked import BYTE_KINDS, Blocklist, HashKind, packed

# Few bytes, most of them zero: equal beginnings, and zeros at the end, which NumPy's strings do not have.
DIGESTS = {
    kind: st.lists(st.sampled_from([0, 0, 0, 1, 255]), min_size=kind.size, max_size=kind.size).map(bytes)
    for kind in HashKind
}
HASHES = st.sampled_from(list(HashKind)).flatmap(lambda kind: st.tuples(st.just(kind), DIGESTS[kind]))


@given(st.lists(HASHES, max_size=40), st.lists(HASHES, max_size=10))
@example([(HashKind.MD5, bytes(16))], [(HashKind.MD5, bytes(15) + b"\1")])
def test_what_was_given_is_on_the_list_and_nothing_else(given_hashes, others):
    blocklist = Blocklist.of(given_hashes)
    assert len(blocklist) == len(set(given_hashes))
    for kind, digest in given_hashes + others:
        assert blocklist.has(kind, digest) == ((kind, digest) in given_hashes)
    for kind in HashKind:
        asked = [digest for each, digest in others + given_hashes if each is kind]
        assert blocklist.mask(kind, packed(kind, asked)).tolist() == [(kind, each) in given_hashes for each in asked]
    assert sorted(map(bytes, blocklist.pdq)) == sorted({each for kind, each in given_hashes if kind is HashKind.PDQ})


@given(st.lists(HASHES, max_size=30), st.integers(0, 30), st.randoms())
def test_a_list_is_the_same_in_whatever_order_and_parts_it_came(hashes, cut, random):
    shuffled = [*hashes, *hashes[:3]]
    random.shuffle(shuffled)
    parted = Blocklist.of(shuffled[:cut]) | Blocklist.of(shuffled[cut:])
    assert parted.digest == Blocklist.of(hashes).digest
    assert parted.counts == Blocklist.of(hashes).counts


def test_lists_of_different_hashes_differ():
    digests = [
        Blocklist.of(hashes).digest
        for hashes in (
            [],
            [(HashKind.SHA256, bytes(32))],
            [(HashKind.BLAKE2B, bytes(32))],
            [(HashKind.MD5, bytes(16)), (HashKind.MD5, b"\1" * 16)],
            [(HashKind.SHA256, bytes(16) + b"\1" * 16)],
        )
    ]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("kind", BYTE_KINDS)
def test_a_file_is_found_by_each_hash_of_its_bytes(kind):
    hashes = {"blake2b": hashlib.blake2b(b"x", digest_size=32).digest()}
    hashes |= {name: hashlib.new(name, b"x").digest() for name in ("md5", "sha1", "sha256")}
    blocklist = Blocklist.of([(kind, hashes[kind])])
    found = blocklist.find(hashes)
    assert found == f"{kind}:{hashes[kind].hex()}"
    assert blocklist.still_blocks(found)
    assert Blocklist().find(hashes) is None
    assert not Blocklist.of([(kind, bytes(kind.size))]).still_blocks(found)
    assert not blocklist.still_blocks("something else")


def test_a_hash_of_another_size_is_refused():
    with pytest.raises(ValueError, match="md5: 20 bytes"):
        Blocklist.of([(HashKind.MD5, bytes(20))])
