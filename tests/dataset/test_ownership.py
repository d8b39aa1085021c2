import io
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgmine.dataset.ownership import OWNERSHIP, BadFilesTable, Holding, assign_ownership
from imgmine.store.tables import DIGEST

# Few prefixes and few tails, so that archives share files, buckets are uneven, and whole 64-bit prefixes collide.
DIGESTS = st.builds(
    lambda prefix, middle, tail: bytes([prefix, *[middle] * 7, *[tail] * 24]),
    st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]),
    st.sampled_from([0, 0xFF]),
    st.integers(0, 3),
)
ARCHIVES = st.lists(st.lists(DIGESTS, max_size=12), max_size=6)


def hold(folder: Path, name: str, digests: list[bytes], **options: int) -> Holding:
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table({"blake2b": pa.array(digests, DIGEST)}), path, **options)
    return Holding(name, path)


def assigned(folder: Path, holdings: list[Holding], bucket_rows: int = 1 << 19) -> bytes:
    out = folder / "ownership.out"
    assign_ownership(holdings, out, folder, {"inputs": "abc"}, bucket_rows=bucket_rows)
    return out.read_bytes()


@given(archives=ARCHIVES, bucket_rows=st.sampled_from([1, 2, 7, 1000]))
def test_the_first_archive_that_has_a_file_owns_it(archives: list[list[bytes]], bucket_rows: int) -> None:
    expected: dict[bytes, str] = {}
    for number, digests in enumerate(archives):
        for digest in digests:
            expected.setdefault(digest, f"archive_{number}")
    copies = Counter(digest for digests in archives for digest in set(digests))
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        holdings = [hold(folder, f"archive_{number}", sorted(digests)) for number, digests in enumerate(archives)]
        found = assign_ownership(holdings, folder / "out", folder, {}, bucket_rows=bucket_rows)
        rows = pq.read_table(folder / "out").to_pylist()
    assert rows == [
        {"blake2b": digest, "archive": expected[digest], "copies": copies[digest]} for digest in sorted(expected)
    ]
    assert found.held == tuple(len(set(digests)) for digests in archives)
    assert found.owned == tuple(list(expected.values()).count(f"archive_{number}") for number, _ in enumerate(archives))
    assert (found.distinct, found.repeated) == (len(expected), sum(count > 1 for count in copies.values()))


@settings(max_examples=25)
@given(archives=ARCHIVES, digits=st.integers(0, 2))
def test_prefixes_made_apart_are_the_whole_one_after_the_other(archives: list[list[bytes]], digits: int) -> None:
    # Of 256 prefixes, those that some files may have and a few more.
    prefixes = sorted({f"{byte:02x}"[:digits] for byte in (0, 1, 2, 0x7E, 0x7F, 0x80, 0x81, 0xFE, 0xFF)})
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        holdings = [hold(folder, f"archive_{number}", sorted(digests)) for number, digests in enumerate(archives)]
        found = assign_ownership(holdings, folder / "out", folder, {})
        made = [
            assign_ownership(holdings, folder / f"part-{prefix}", folder, {}, bucket_rows=2, prefix=prefix)
            for prefix in prefixes
        ]
        rows = [row for prefix in prefixes for row in pq.read_table(folder / f"part-{prefix}").to_pylist()]
        assert rows == pq.read_table(folder / "out").to_pylist()
    assert found.owned == tuple(map(sum, zip(*(part.owned for part in made), strict=True)))
    assert found.repeated == sum(part.repeated for part in made)


@settings(max_examples=25)
@given(archives=ARCHIVES)
def test_the_number_of_buckets_does_not_change_the_bytes(archives: list[list[bytes]]) -> None:
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        holdings = [hold(folder, f"archive_{number}", sorted(digests)) for number, digests in enumerate(archives)]
        assert len({assigned(folder, holdings, bucket_rows) for bucket_rows in (1, 10, 100_000)}) == 1


def test_rows_in_any_order_and_many_row_groups_are_read_alike(tmp_path: Path) -> None:
    digests = [bytes([number % 251]) * 32 for number in range(500)]
    plain = assigned(tmp_path, [hold(tmp_path, "a", sorted(set(digests)))])
    assert assigned(tmp_path, [hold(tmp_path, "a", digests[::-1], row_group_size=7)]) == plain


def test_a_dataset_of_several_row_groups_is_complete_and_sorted(tmp_path: Path) -> None:
    first = [number.to_bytes(4, "big") + bytes(28) for number in range(0, 300_000)]
    second = [number.to_bytes(4, "big") + bytes(28) for number in range(299_000, 400_000)]
    data = assigned(tmp_path, [hold(tmp_path, "a", first), hold(tmp_path, "b", second)], bucket_rows=20_000)
    table = pq.read_table(io.BytesIO(data))
    assert table.schema.equals(OWNERSHIP)
    assert [int.from_bytes(digest[:4], "big") for digest in table["blake2b"].to_pylist()] == list(range(400_000))
    assert Counter(table["archive"].to_pylist()) == {"a": 300_000, "b": 100_000}
    assert pq.ParquetFile(io.BytesIO(data)).num_row_groups == 4


def test_nothing_is_left_in_scratch(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assign_ownership([hold(tmp_path, "a", [bytes(32)])], scratch / "out", scratch, {})
    assert [path.name for path in scratch.iterdir()] == ["out"]


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(BadFilesTable, match=r"broken\.parquet.*files of broken"):
        assigned(tmp_path, [Holding("broken", broken)])
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"blake2b": ["text"]}), other)
    with pytest.raises(BadFilesTable, match=r"other\.parquet: blake2b is string"):
        assigned(tmp_path, [Holding("other", other)])
