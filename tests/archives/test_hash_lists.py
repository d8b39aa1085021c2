"""Files of hashes as others write them: prefixes, headings, columns, and what is told of a line that is none."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgmine.archives.blocked import Blocklist, HashKind
from imgmine.archives.hash_lists import HashListError, list_files, lists_version, parse_hash, read_blocklist

MD5, SHA1, LONG = "0123456789abcdef" * 2, "0123456789" * 4, "ab" * 32


def read(folder: Path, text: str | bytes) -> Blocklist:
    path = folder / "list.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_blocklist([path])


def of(**hashes: str) -> Blocklist:
    return Blocklist.of((HashKind(kind), bytes.fromhex(digits)) for kind, digits in hashes.items())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", of()),
        ("# nothing yet\n\n", of()),
        (f"{MD5}\n{SHA1}\n", of(md5=MD5, sha1=SHA1)),
        (f"  {MD5.upper()}\t# seen twice\r\n{MD5}\r\n", of(md5=MD5)),
        (f"{MD5}  picture of a cat.jpg\n{SHA1},2024-01-01", of(md5=MD5, sha1=SHA1)),
        (f"\ufeff{MD5}", of(md5=MD5)),
        (
            f"sha256:{LONG}\nblake2b: {LONG}\nPDQ:{LONG}\nSHA-1:{SHA1}",
            of(sha256=LONG, blake2b=LONG, pdq=LONG, sha1=SHA1),
        ),
        (f"# of last week\nSHA-256\n{LONG}\npdq\n{LONG}\nmd5:{MD5}", of(sha256=LONG, pdq=LONG, md5=MD5)),
        (f'id,MD5,"sha_1",note\n7,{MD5},{SHA1},"a, b"\n8,,,nothing\n9,"{MD5}"\n', of(md5=MD5, sha1=SHA1)),
        (f"pdq;quality\n{LONG};100\n", of(pdq=LONG)),
        (f"name\tblake2b-256\nx\t{LONG}\n", of(blake2b=LONG)),
    ],
)
def test_lists_as_others_write_them(tmp_path, text, wanted):
    found = read(tmp_path, text)
    assert (found.counts, found.digest) == (wanted.counts, wanted.digest)


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (f"{MD5}\n{LONG}\n", 2, "may be SHA-256, BLAKE2b or PDQ: put sha256:"),
        (f"{MD5[:-1]}", 1, "31 digits"),
        (f"{'ab' * 64}", 1, "128 digits, which is no hash that is known here"),
        (f"\n\n{MD5[:-1]}g", 3, "is not hexadecimal"),
        (f"sha256\n{MD5}", 2, "32 digits, where sha256 has 64"),
        (f"sha1:{MD5}", 1, "where sha1 has 40"),
        (f"crc32:{MD5}", 1, "'crc32' is no kind of hash; there are blake2b, sha256, sha1, md5, pdq"),
        (f"id,sha1\n1,{SHA1}\n2,{MD5}\n", 3, "where sha1 has 40"),
        ("https://example.org/list", 1, "is no"),
        (b"\xff\xd8\xff\xe0" + bytes(100), 1, "is no hash"),
        (f"{MD5}\n{MD5[:8]} {MD5[8:]}\n", 2, "8 digits"),
        ("0" * 200_000, 0, "this is no list of hashes"),
    ],
)
def test_a_line_that_is_no_hash_is_told_with_its_place(tmp_path, text, line, told):
    with pytest.raises(HashListError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'list.txt'}, line {line}: ")
    assert told in str(error.value)
    assert len(str(error.value)) < 500


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(list(HashKind)), st.randoms(use_true_random=False)), max_size=30),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_what_is_written_is_read_again(tmp_path, drawn, end, upper, chance):
    hashes = [(kind, digest.randbytes(kind.size)) for kind, digest in drawn]
    lines = []
    for kind, digest in hashes:
        digits = digest.hex().upper() if upper else digest.hex()
        ways = [f"{kind}:{digits}", f"{kind}{end}{digits}"]
        ways += [f"{digits} # one"] * (kind.size < 32 and not any(line.find(end) > 0 for line in lines))
        lines.append(chance.choice(ways))
    found = read(tmp_path, end.join(lines))
    assert found.digest == Blocklist.of(hashes).digest


def test_long_lists_are_read_across_blocks(tmp_path):
    chance = random.Random(0)
    digests = [chance.randbytes(16) for _ in range(100_000)]  # 3.3 MB
    found = read(tmp_path, "\n".join(digest.hex() for digest in digests))
    assert found.digest == Blocklist.of((HashKind.MD5, digest) for digest in digests).digest
    with pytest.raises(HashListError, match="line 100001: 'nothing' has 7 digits"):
        read(tmp_path, "\r\n".join([*(digest.hex() for digest in digests), "nothing"]))


def test_a_folder_is_all_of_its_files(tmp_path):
    folder = tmp_path / "lists"
    folder.mkdir()
    with pytest.raises(HashListError, match="has no file"):
        list_files([folder])
    (folder / "a").write_text(MD5)
    (folder / "b.csv").write_text(f"sha1\n{SHA1}\n")
    (folder / ".c").write_text("not one")
    assert read_blocklist([folder]).digest == of(md5=MD5, sha1=SHA1).digest
    with pytest.raises(HashListError, match="nowhere: the list of hashes cannot be read: No such file"):
        read_blocklist([folder, tmp_path / "nowhere"])


def test_another_content_is_another_version(tmp_path):
    assert lists_version([]) == ""
    assert lists_version([tmp_path / "nowhere"]) == "unreadable"
    path = tmp_path / "list.txt"
    path.write_text(MD5)
    one = lists_version([path])
    path.write_text(SHA1)
    assert one != lists_version([path])
    path.write_text(MD5)
    assert one == lists_version([tmp_path])


def test_one_hash_alone():
    assert parse_hash(f" pdq:{LONG} ") == (HashKind.PDQ, bytes.fromhex(LONG))
    with pytest.raises(ValueError, match="may be"):
        parse_hash(LONG)
