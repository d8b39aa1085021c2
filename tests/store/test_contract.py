"""What every store must do, asked of a local folder and of a real S3 server alike."""

import io
import itertools
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgmine.store.base import NotInStore, Store
from imgmine.store.local import LocalStore
from imgmine.store.object_file import ObjectFile
from imgmine.store.s3 import S3Store
from tests.s3_server import S3Server


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield LocalStore(tmp_path / "a store")
    else:
        server: S3Server = request.getfixturevalue("s3_server")
        yield S3Store(
            server.bucket,
            f"contract/{uuid.uuid4().hex}",
            server.endpoint,
            access_key=server.access_key,
            secret_key=server.secret_key,
            part_bytes=5 << 20,
        )


def keys(store: Store, prefix: str = "") -> list[str]:
    return [stored.key for stored in store.list(prefix)]


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 300])
def test_what_was_put_is_read_back(store: Store, tmp_path: Path, data: bytes) -> None:
    source = tmp_path / "source"
    source.write_bytes(data)
    store.put_bytes("some/bytes", data)
    store.put_file("a/file.tar", source)
    for key in ("some/bytes", "a/file.tar"):
        assert store.get_bytes(key) == data
        assert store.local_copy(key, tmp_path / "copies").read_bytes() == data
        stored = store.stat(key)
        assert stored is not None
        assert (stored.key, stored.size) == (key, len(data))
    assert source.read_bytes() == data


def test_a_second_put_replaces_the_first_and_changes_the_tag(store: Store) -> None:
    store.put_bytes("records/a.parquet", b"first")
    before = store.stat("records/a.parquet")
    store.put_bytes("records/a.parquet", b"other")
    after = store.stat("records/a.parquet")
    assert store.get_bytes("records/a.parquet") == b"other"
    assert before is not None
    assert after is not None
    assert before.tag != after.tag
    assert [after] == list(store.list("records/"))


def test_of_several_who_put_what_is_new_one_is_told_so(store: Store) -> None:
    versions = [b"%d" % number for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda data: store.put_new("takedown/log/1.json", data), versions))
    assert told.count(True) == 1
    assert store.get_bytes("takedown/log/1.json") == versions[told.index(True)]
    assert not store.put_new("takedown/log/1.json", b"later")
    assert store.get_bytes("takedown/log/1.json") == versions[told.index(True)]
    assert keys(store) == ["takedown/log/1.json"]


def test_a_range_is_the_slice(store: Store) -> None:
    data = bytes(range(100))
    store.put_bytes("shard.tar", data)
    for offset, size in itertools.product([0, 1, 99, 100, 101, 5000], [0, 1, 99, 100, 5000]):
        assert store.get_range("shard.tar", offset, size) == data[offset : offset + size], (offset, size)


def test_a_range_of_an_empty_object_is_empty(store: Store) -> None:
    store.put_bytes("empty", b"")
    assert store.get_range("empty", 0, 10) == b""
    assert store.get_range("empty", 5, 10) == b""


def test_a_negative_range_is_refused(store: Store) -> None:
    store.put_bytes("shard.tar", b"0123456789")
    for offset, size in ((-1, 5), (0, -1)):
        with pytest.raises(ValueError):
            store.get_range("shard.tar", offset, size)


def test_what_is_not_there_is_said_to_be_missing(store: Store, tmp_path: Path) -> None:
    store.put_bytes("folder/object", b"1")
    reads: list[Callable[[str], object]] = [
        store.get_bytes,
        lambda key: store.get_range(key, 0, 1),
        lambda key: store.get_range(key, 0, 0),
        lambda key: store.local_copy(key, tmp_path / "copies"),
    ]
    for key in ("nothing", "nothing/at/all", "folder", "folder/object/below"):
        assert store.stat(key) is None
        for read in reads:
            with pytest.raises(NotInStore, match="Materialize"):
                read(key)


NO_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a\\b",
    "a\0b",
    "a\nb",
    ".pending-1",
    "a/.pending-1/b",
]


def test_a_key_that_leaves_the_store_or_is_not_normal_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "source").touch()
    uses: list[Callable[[str], object]] = [
        lambda key: store.put_bytes(key, b""),
        lambda key: store.put_new(key, b""),
        lambda key: store.put_file(key, tmp_path / "source"),
        store.get_bytes,
        lambda key: store.get_range(key, 0, 1),
        lambda key: store.local_copy(key, tmp_path / "copies"),
        store.stat,
        store.delete,
        lambda key: store.mirror(key, "", tmp_path / "mirror"),
    ]
    for key, use in itertools.product(NO_KEYS, uses):
        with pytest.raises(ValueError, match="not a store key"):
            use(key)


# "a-b" and "a.b" sort before "a/b", though a walk over folders would come to them after it.
OBJECTS = ["a-b", "a.b", "a/b", "a/b-c", "a/c/d", "a/c/é", "a/c0", "a0", "aa", "b/.hidden", "with space/x+%#?&=.tar"]
PREFIXES = ["", "a", "a/", "a/b", "a/c", "a/c/", "a-", "b/.", "b/..", "nothing", "nothing/", "a/b/", "with "]
NO_PREFIXES = ["/", "/a", "a//b", "../a", "./a", "a/../b", "a\\", ".pending-"]


def test_a_list_has_all_that_begin_so_in_order_of_key(store: Store) -> None:
    for key in reversed(OBJECTS):
        store.put_bytes(key, key.encode())
    for prefix in PREFIXES:
        found = list(store.list(prefix))
        assert [stored.key for stored in found] == [key for key in OBJECTS if key.startswith(prefix)]
        assert [stored.size for stored in found] == [len(stored.key.encode()) for stored in found]
    assert list(store.list("")) == [store.stat(key) for key in OBJECTS]


def test_a_prefix_that_no_key_can_have_is_refused(store: Store) -> None:
    for prefix in NO_PREFIXES:
        with pytest.raises(ValueError, match="no store key begins so"):
            store.list(prefix)


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert keys(store) == []
    assert keys(store, "files/") == []


def test_a_list_leaves_out_what_is_removed_while_it_is_read(store: Store) -> None:
    for number in range(5):
        store.put_bytes(f"files/{number}", b"")
    listing = store.list("files/")
    next(listing)
    for number in range(5):
        store.delete(f"files/{number}")
    assert {stored.key for stored in listing} <= {f"files/{number}" for number in range(1, 5)}
    assert keys(store, "files/") == []


def test_what_is_deleted_is_gone_and_nothing_else(store: Store) -> None:
    for key in ("files/x/0.tar", "files/x/1.tar", "files/xy/0.tar"):
        store.put_bytes(key, b"1")
    for key in ("files/x/0.tar", "files/x/0.tar", "files/x", "files/x/1.tar/below", "nothing"):
        store.delete(key)
    assert keys(store) == ["files/x/1.tar", "files/xy/0.tar"]
    store.delete("files/x/1.tar")
    assert keys(store, "files/x/") == []
    store.put_bytes("files/x/2.tar", b"2")
    assert keys(store, "files/x/") == ["files/x/2.tar"]


def test_a_mirror_holds_the_files_of_one_folder_as_they_are_now(store: Store, tmp_path: Path) -> None:
    def mirrored() -> dict[str, bytes]:
        folder = store.mirror("records", ".parquet", tmp_path / "mirror")
        return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}

    assert mirrored() == {}
    store.put_bytes("records/a.parquet", b"a")
    store.put_bytes("records/b.parquet", b"b")
    store.put_bytes("records/c.json", b"c")
    store.put_bytes("records_of_others/d.parquet", b"d")
    store.put_bytes("records/below/e.parquet", b"e")
    assert mirrored() == {"a.parquet": b"a", "b.parquet": b"b"}
    documents = store.mirror("records", ".json", tmp_path / "mirror").glob("*.json")
    assert [path.name for path in documents] == ["c.json"], "nothing of the mirror's own looks like a document"
    store.put_bytes("records/a.parquet", b"A")
    store.delete("records/b.parquet")
    store.put_bytes("records/f.parquet", b"f")
    assert mirrored() == {"a.parquet": b"A", "f.parquet": b"f"}


def test_a_check_of_a_good_store_passes_and_leaves_nothing(store: Store) -> None:
    store.check()
    assert keys(store) == []


def test_an_address_for_people_ends_in_the_key(store: Store) -> None:
    assert store.uri("files/a/0.tar") == f"{store.url}/files/a/0.tar"


@pytest.mark.parametrize("size", [1_000, 6_000_000])
def test_a_reader_never_sees_a_part_of_a_put(store: Store, tmp_path: Path, size: int) -> None:
    # Each version is one byte repeated: a mixture of two, or a shorter one, would show.
    versions = {bytes([letter]) * (size + letter) for letter in b"abc"}
    sources = []
    for version in versions:
        sources.append(tmp_path / f"{version[0]}")
        sources[-1].write_bytes(version)
    store.put_file("table", sources[0])
    done = threading.Event()

    def read() -> int:
        seen = 0
        while not done.is_set():
            assert store.get_bytes("table") in versions
            (stored,) = store.list("table")
            assert stored.size in {len(version) for version in versions}
            seen += 1
        return seen

    with ThreadPoolExecutor(2) as readers:
        reading = [readers.submit(read) for _ in range(2)]
        try:
            for source in itertools.islice(itertools.cycle(sources), 8):
                store.put_file("table", source)
        finally:
            done.set()
        assert all(future.result() > 0 for future in reading)


def test_threads_may_put_and_delete_in_one_folder_at_once(store: Store) -> None:
    def work(number: int) -> None:
        for turn in range(5):
            store.put_bytes(f"files/{number}/{turn}.tar", b"%d" % number)
            store.put_bytes("files/shared.tar", b"%d" % number)
            with suppress(NotInStore):
                store.get_bytes("files/0/0.tar")
            store.delete(f"files/{number}/{turn - 1}.tar") if turn else None

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert keys(store) == [*(f"files/{number}/4.tar" for number in range(8)), "files/shared.tar"]
    assert store.get_bytes("files/shared.tar") in {b"%d" % number for number in range(8)}


def test_a_column_of_a_table_is_read_without_the_others(store: Store) -> None:
    random = np.random.default_rng(0)
    table = pa.table({"name": list(range(1000)), "picture": [random.bytes(500) for _ in range(1000)]})
    out = io.BytesIO()
    pq.write_table(table, out)
    store.put_bytes("t/a.parquet", out.getvalue())
    source = ObjectFile(store, "t/a.parquet")
    with pq.ParquetFile(pa.PythonFile(source, mode="r"), pre_buffer=True) as parquet:
        assert parquet.read(columns=["name"]).equals(table.select(["name"]))
    assert source.bytes_read < len(out.getvalue()) / 3
    assert (source.seek(-4, io.SEEK_END), source.read(), source.read()) == (len(out.getvalue()) - 4, b"PAR1", b"")
    with pytest.raises(NotInStore):
        ObjectFile(store, "t/b.parquet")


def test_a_table_that_goes_while_it_is_read_is_not_in_the_store(store: Store) -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"name": [1]}), out)
    store.put_bytes("t/a.parquet", out.getvalue())
    source = ObjectFile(store, "t/a.parquet")
    store.delete("t/a.parquet")
    with pytest.raises(NotInStore):
        pq.ParquetFile(pa.PythonFile(source, mode="r"))
