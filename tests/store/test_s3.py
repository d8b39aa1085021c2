"""What only a store over a network can get wrong, tried on a real S3 server: parts, pages, refusals, cuts, crashes."""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgmine.store.base import NotInStore, Store, StoreError, StoreRefused
from imgmine.store.opening import open_store
from imgmine.store.s3 import S3Store
from tests.s3_server import S3Server, running_s3
from tests.store.cutting_proxy import cutting_proxy

PART = 5 << 20
PATTERN = bytes(range(251))  # of a prime length, so that a shifted part shows


def content(size: int) -> bytes:
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def opened(server: S3Server, prefix: str, endpoint: str | None = None, attempts: int = 4) -> S3Store:
    return S3Store(
        server.bucket,
        prefix,
        endpoint or server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        part_bytes=PART,
        attempts=attempts,
    )


@pytest.fixture
def prefix() -> str:
    return f"s3/{uuid.uuid4().hex}"


@pytest.fixture
def store(s3_server: S3Server, prefix: str) -> S3Store:
    return opened(s3_server, prefix)


def test_a_big_file_is_put_in_parts_and_read_back(store: S3Store, tmp_path: Path) -> None:
    data = content(20_000_000)
    (tmp_path / "shard.tar").write_bytes(data)
    store.put_file("files/x/0.tar", tmp_path / "shard.tar")
    stored = store.stat("files/x/0.tar")
    assert stored is not None
    assert stored.size == len(data)
    assert stored.tag.endswith("-4"), "an ETag of four parts"
    assert [stored] == list(store.list("files/"))
    assert store.get_bytes("files/x/0.tar") == data
    assert store.get_range("files/x/0.tar", PART - 3, 7) == data[PART - 3 : PART + 4]
    assert store.get_range("files/x/0.tar", 19_999_990, 100) == data[-10:]


def test_a_list_goes_on_over_its_pages(store: S3Store) -> None:
    names = [f"records/{number:04d}.parquet" for number in range(1_040)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: store.put_bytes(name, b"1"), [*names, "recordsx", "other/0"]))
    assert [stored.key for stored in store.list("records/")] == names
    assert len(list(store.list(""))) == len(names) + 2
    assert [stored.key for stored in store.list("records/000")] == names[:10]


def test_what_consoles_leave_to_mark_a_folder_is_no_object(store: S3Store, s3_server: S3Server, prefix: str) -> None:
    s3_server.client().put_object(Bucket=s3_server.bucket, Key=f"{prefix}/records/", Body=b"")
    store.put_bytes("records/a.parquet", b"a")
    assert [stored.key for stored in store.list("")] == ["records/a.parquet"]


def test_stores_with_neighbouring_prefixes_do_not_see_each_other(s3_server: S3Server, prefix: str) -> None:
    one, other = opened(s3_server, f"{prefix}/a"), opened(s3_server, f"{prefix}/ab")
    one.put_bytes("x", b"1")
    other.put_bytes("y", b"2")
    assert [stored.key for stored in one.list("")] == ["x"]
    assert [stored.key for stored in other.list("")] == ["y"]
    assert one.uri("x") == f"s3://{s3_server.bucket}/{prefix}/a/x"


def test_a_mirror_fetches_only_what_changed(store: S3Store, tmp_path: Path) -> None:
    for name in "abc":
        store.put_bytes(f"records/{name}.parquet", name.encode())
    store.put_bytes("records/note.json", b"{}")

    def inodes() -> dict[str, int]:
        folder = store.mirror("records", ".parquet", tmp_path)
        assert folder == tmp_path / "records"
        return {path.stem: path.stat().st_ino for path in folder.glob("*.parquet")}

    first = inodes()
    assert set(first) == {"a", "b", "c"}
    assert inodes() == first
    store.put_bytes("records/b.parquet", b"B")
    store.delete("records/c.parquet")
    second = inodes()
    assert set(second) == {"a", "b"}
    assert second["a"] == first["a"]
    assert second["b"] != first["b"]
    assert (tmp_path / "records" / "b.parquet").read_bytes() == b"B"

    # Of another suffix in the same folder, each call minds its own.
    store.mirror("records", ".json", tmp_path)
    assert (tmp_path / "records" / "note.json").read_bytes() == b"{}"
    assert inodes() == second

    # What somebody did to the copies is put right.
    (tmp_path / "records" / "a.parquet").unlink()
    (tmp_path / "records" / "b.parquet").write_bytes(b"cut sho")
    (tmp_path / "records" / "stray.parquet").write_bytes(b"?")
    (tmp_path / "records" / ".pending-of-a-killed-process").write_bytes(b"?")
    assert set(inodes()) == {"a", "b"}
    assert (tmp_path / "records" / "b.parquet").read_bytes() == b"B"
    assert not list((tmp_path / "records").glob(".pending-*"))


@pytest.mark.parametrize("index", ["", "{", "[]", '{"a.parquet": "of another content"}'])
def test_a_mirror_whose_index_is_lost_is_fetched_again(store: S3Store, tmp_path: Path, index: str) -> None:
    store.put_bytes("records/a.parquet", b"a")
    folder = store.mirror("records", ".parquet", tmp_path)
    (folder / ".mirror-index").write_text(index)
    (folder / "a.parquet").write_bytes(b"x")
    store.mirror("records", ".parquet", tmp_path)
    assert (folder / "a.parquet").read_bytes() == b"a"


def test_processes_that_mirror_one_folder_at_once_do_not_disturb_each_other(store: S3Store, tmp_path: Path) -> None:
    for number in range(20):
        store.put_bytes(f"records/{number}.parquet", b"%d" % number)
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: store.mirror("records", ".parquet", tmp_path), range(4)))
    for folder in folders:
        assert {path.name: path.read_bytes() for path in folder.glob("*.parquet")} == {
            f"{number}.parquet": b"%d" % number for number in range(20)
        }


def test_an_upload_whose_body_never_comes_leaves_the_former_object(
    s3_server: S3Server, store: S3Store, prefix: str
) -> None:
    store.put_bytes("table", b"former")
    with cutting_proxy(s3_server.endpoint, sent=3_000, cuts=1_000) as endpoint:
        cut = opened(s3_server, prefix, endpoint, attempts=1)
        with pytest.raises(StoreError):
            cut.put_bytes("table", bytes(200_000))
        with pytest.raises(StoreError):
            cut.put_new("entry", bytes(200_000))
    time.sleep(0.5)  # until the server has seen the end of it
    assert store.get_bytes("table") == b"former"
    assert store.stat("entry") is None


def uses(store: Store, folder: Path) -> list[Callable[[], object]]:
    big = folder / "big"
    big.write_bytes(bytes(2 * PART))
    return [
        store.check,
        lambda: store.put_bytes("a", b""),
        lambda: store.put_file("a", big),
        lambda: store.get_bytes("a"),
        lambda: store.get_range("a", 0, 1),
        lambda: store.local_copy("a", folder),
        lambda: store.stat("a"),
        lambda: list(store.list("")),
        lambda: store.delete("a"),
        lambda: store.mirror("records", ".parquet", folder / "mirror"),
    ]


@pytest.mark.parametrize(("access_key", "secret_key"), [("nobody", "no-secret-at-all"), ("imgmine-tests", "wrong")])
def test_wrong_credentials_are_named_at_once(
    s3_server: S3Server, tmp_path: Path, access_key: str, secret_key: str
) -> None:
    store = S3Store(
        s3_server.bucket, "x", s3_server.endpoint, access_key=access_key, secret_key=secret_key, part_bytes=PART
    )
    started = time.monotonic()
    for use in uses(store, tmp_path):
        with pytest.raises(StoreRefused, match="AWS_ACCESS_KEY_ID"):
            use()
    assert time.monotonic() - started < 10, "refusals are not asked again"


def test_missing_credentials_are_named(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreRefused, match=r"no credentials.*AWS_ACCESS_KEY_ID"):
        open_store(f"s3://{s3_server.bucket}/x", s3_server.endpoint).check()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreRefused, match=r"no credentials.*nobody"):
        open_store(f"s3://{s3_server.bucket}/x", s3_server.endpoint).check()


def test_a_store_is_opened_from_its_address_and_the_environment(
    s3_server: S3Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environ(prefix).items():
        monkeypatch.setenv(name, value)
    store = open_store(os.environ["IMGMINE_STORE"], os.environ["IMGMINE_S3_ENDPOINT"])
    store.put_bytes("a/b", b"1")
    assert opened(s3_server, prefix).get_bytes("a/b") == b"1"
    assert store.url == f"s3://{s3_server.bucket}/{prefix}"


def test_a_bucket_that_is_not_there_is_named_and_never_made(s3_server: S3Server, tmp_path: Path) -> None:
    store = S3Store(
        "no-such-bucket",
        "x",
        s3_server.endpoint,
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
        part_bytes=PART,
    )
    for use in uses(store, tmp_path)[:-2]:  # to delete what is not there is no error
        with pytest.raises(StoreRefused, match=r"no-such-bucket.*Create the bucket"):
            use()
    assert [bucket["Name"] for bucket in s3_server.client().list_buckets()["Buckets"]] == [s3_server.bucket]


def test_a_name_that_no_bucket_can_have_is_refused() -> None:
    store = S3Store("no bucket!", "x", "http://127.0.0.1:9", access_key="a", secret_key="b")
    with pytest.raises(StoreRefused, match="IMGMINE_STORE"):
        store.check()


@pytest.mark.parametrize("endpoint", ["nonsense", "http://", "ftp//x"])
def test_an_endpoint_that_is_no_address_is_refused(endpoint: str) -> None:
    with pytest.raises(StoreRefused, match="IMGMINE_S3_ENDPOINT"):
        S3Store("bucket", "x", endpoint, access_key="a", secret_key="b")


def test_a_server_that_does_not_run_is_named_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    store = S3Store("bucket", "x", f"http://127.0.0.1:{port}", access_key="a", secret_key="b")
    for use in (store.check, lambda: store.put_bytes("a", b"")):
        started = time.monotonic()
        with pytest.raises(StoreError, match=f"127.0.0.1:{port}.*cannot be reached.*IMGMINE_S3_ENDPOINT") as caught:
            use()
        assert not isinstance(caught.value, StoreRefused), "it may run later"
        assert time.monotonic() - started < 15


def test_an_address_that_does_not_answer_is_named_soon() -> None:
    # Its queue of connections is full: a further one is neither taken nor refused.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(8)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        started = time.monotonic()
        with pytest.raises(StoreError, match="cannot be reached"):
            S3Store("bucket", "x", f"http://127.0.0.1:{address[1]}", access_key="a", secret_key="b").check()
        assert time.monotonic() - started < 15
        for client in waiting:
            client.close()


def test_a_server_that_is_none_of_s3_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    page = b"<html><body>It works!</body></html>"
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page))

        threading.Thread(target=answer, daemon=True).start()
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(StoreError, match="IMGMINE_S3_ENDPOINT"):
            S3Store("bucket", "x", endpoint, access_key="a", secret_key="b").check()
        listener.shutdown(socket.SHUT_RDWR)


def test_a_download_that_is_cut_goes_on_where_it_was_cut(
    store: S3Store, s3_server: S3Server, prefix: str, tmp_path: Path
) -> None:
    data = content(12_000_000)
    store.put_bytes("shard.tar", data)
    with cutting_proxy(s3_server.endpoint, received=5_000_000, cuts=2) as endpoint:
        assert opened(s3_server, prefix, endpoint).get_bytes("shard.tar") == data
    with cutting_proxy(s3_server.endpoint, received=5_000_000, cuts=2) as endpoint:
        copy = opened(s3_server, prefix, endpoint).local_copy("shard.tar", tmp_path)
        assert copy.read_bytes() == data
    with cutting_proxy(s3_server.endpoint, received=5_000_000, cuts=1) as endpoint:
        assert opened(s3_server, prefix, endpoint).get_range("shard.tar", 1_000, 11_000_000) == data[1_000:11_001_000]


def test_a_download_whose_object_is_replaced_while_it_is_cut_is_of_one_version(
    store: S3Store, s3_server: S3Server, prefix: str
) -> None:
    former, latter = content(12_000_000), b"latter" * 1_500_000
    store.put_bytes("table", former)

    def replace() -> None:
        store.put_bytes("table", latter)

    with cutting_proxy(s3_server.endpoint, received=5_000_000, at_cut=replace) as endpoint:
        assert opened(s3_server, prefix, endpoint).get_bytes("table") == latter


def test_a_download_that_is_cut_each_time_fails_and_leaves_no_file(
    store: S3Store, s3_server: S3Server, prefix: str, tmp_path: Path
) -> None:
    store.put_bytes("shard.tar", content(1_000_000))
    with (
        cutting_proxy(s3_server.endpoint, received=100, cuts=1_000) as endpoint,
        pytest.raises(StoreError, match=r"shard\.tar.*broke off"),
    ):
        opened(s3_server, prefix, endpoint).local_copy("shard.tar", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_upload_that_is_cut_is_sent_again(store: S3Store, s3_server: S3Server, prefix: str, tmp_path: Path) -> None:
    data = content(3 * PART)
    (tmp_path / "shard.tar").write_bytes(data)
    for key, put in (
        ("parts", lambda store: store.put_file("parts", tmp_path / "shard.tar")),
        ("whole", lambda store: store.put_bytes("whole", data)),
    ):
        with cutting_proxy(s3_server.endpoint, sent=2_000_000, cuts=2) as endpoint:
            put(opened(s3_server, prefix, endpoint))
        assert store.get_bytes(key) == data


def test_a_put_whose_sender_dies_leaves_the_former_object(
    store: S3Store, s3_server: S3Server, prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "shard.tar").write_bytes(content(3 * PART))
    for put in (
        lambda store: store.put_file("shard.tar", tmp_path / "shard.tar"),
        lambda store: store.put_bytes("shard.tar", content(3 * PART)),
    ):
        store.put_bytes("shard.tar", b"former")
        with (
            cutting_proxy(s3_server.endpoint, sent=2_000_000, cuts=1_000) as endpoint,
            pytest.raises(StoreError, match=r"shard\.tar.*broke off"),
        ):
            put(opened(s3_server, prefix, endpoint))
        assert store.get_bytes("shard.tar") == b"former"
    # What was begun was also ended: nothing of it is kept, and paid for.
    uploads = s3_server.client().list_multipart_uploads(Bucket=s3_server.bucket, Prefix=prefix).get("Uploads", [])
    assert uploads == []


def test_a_server_that_is_killed_during_an_upload_keeps_the_former_object_and_no_half(tmp_path: Path) -> None:
    data = content(5 * PART)
    (tmp_path / "shard.tar").write_bytes(data)
    with running_s3(tmp_path / "server") as server:
        store = opened(server, "x")
        store.put_bytes("records/a.parquet", b"former table")
        store.put_bytes("files/0.tar", b"former shard")
        with cutting_proxy(server.endpoint, sent=3_000_000, at_cut=server.kill) as endpoint:
            cut_off = opened(server, "x", endpoint, attempts=2)
            with pytest.raises(StoreError, match=r"files/0\.tar.*(reached|broke off)"):
                cut_off.put_file("files/0.tar", tmp_path / "shard.tar")
            with pytest.raises(StoreError, match="cannot be reached"):
                cut_off.check()
        server.restart()
        assert [stored.key for stored in store.list("")] == ["files/0.tar", "records/a.parquet"]
        assert store.get_bytes("files/0.tar") == b"former shard"
        assert store.get_bytes("records/a.parquet") == b"former table"
        with pytest.raises(NotInStore):
            store.get_bytes("files/1.tar")
        store.put_file("files/0.tar", tmp_path / "shard.tar")
        assert store.get_bytes("files/0.tar") == data
