"""What only a local folder can get wrong: files beside objects, drafts of killed processes, a disk that refuses."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgmine.store.base import StoreError, StoreRefused
from imgmine.store.local import LocalStore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def files(store: LocalStore) -> list[str]:
    return sorted(path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file())


def test_an_object_below_another_is_refused_and_harms_neither(store: LocalStore) -> None:
    store.put_bytes("records/a", b"1")
    with pytest.raises(StoreRefused, match="file is where a folder should be"):
        store.put_bytes("records/a/below", b"2")
    with pytest.raises(StoreRefused, match="folder where a file should"):
        store.put_bytes("records", b"3")
    assert files(store) == ["records/a"]
    assert store.get_bytes("records/a") == b"1"


def test_a_put_that_fails_leaves_the_former_object_and_no_draft(store: LocalStore, tmp_path: Path) -> None:
    store.put_bytes("files/0.tar", b"former")
    # The kernel refuses to let a file of this process grow past the limit, as it does when a disk is full.
    script = (
        "import resource, sys; from pathlib import Path; from imgmine.store.local import LocalStore\n"
        "from imgmine.store.base import StoreError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: LocalStore(Path(sys.argv[1])).put_bytes('files/0.tar', bytes(1_000_000))\n"
        "except StoreError as error: print(error)\n"
    )
    command = [sys.executable, "-c", script, str(store.root)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(r"files/0\.tar: File too large\. .*IMGMINE_STORE", done.stdout)
    assert store.get_bytes("files/0.tar") == b"former"
    assert files(store) == ["files/0.tar"]


def test_the_draft_of_a_killed_process_is_never_listed_and_goes_with_the_next_put_beside_it(
    store: LocalStore, tmp_path: Path
) -> None:
    store.put_bytes("files/0.tar", b"0")
    left = store.root / "files" / ".pending-left"
    left.write_bytes(b"half a sha")
    assert [stored.key for stored in store.list("")] == ["files/0.tar"]
    LocalStore(store.root).put_bytes("files/1.tar", b"1")
    assert not left.exists()
    assert [stored.key for stored in store.list("")] == ["files/0.tar", "files/1.tar"]


def test_what_a_killed_process_left_as_it_tried_the_store_goes_with_the_next_try(
    store: LocalStore,
) -> None:
    store.put_bytes("files/0.tar", b"0")
    child = """
import sys, os, pathlib
from imgmine.store.local import LocalStore
sys.addaudithook(lambda event, details: event == "os.remove" and ".pending-" in str(details[0]) and os._exit(9))
LocalStore(pathlib.Path(sys.argv[1])).check()
"""
    assert subprocess.run([sys.executable, "-c", child, str(store.root)], check=False).returncode == 9
    assert len(list(store.root.glob(".pending-*"))) == 1
    LocalStore(store.root).check()
    assert files(store) == ["files/0.tar"]
    assert not list(store.root.glob(".pending-*"))


def test_who_tries_the_store_and_who_puts_something_beside_take_no_draft_from_each_other(store: LocalStore) -> None:
    def often(use: Callable[[LocalStore], None]) -> None:
        for _ in range(100):
            use(LocalStore(store.root))

    with ThreadPoolExecutor(4) as pool:
        uses = [LocalStore.check, LocalStore.check, lambda store: store.put_bytes("a", b""), LocalStore.check]
        for done in [pool.submit(often, use) for use in uses]:
            done.result()
    assert not list(store.root.glob(".pending-*"))


def test_a_draft_whose_writer_is_alive_is_left_alone(store: LocalStore, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    os.mkfifo(slow)
    writer = threading.Thread(target=store.put_file, args=("files/0.tar", slow), daemon=True)
    writer.start()
    with slow.open("wb") as source:
        while not list(store.root.glob("files/.pending-*")):
            time.sleep(0.01)
        LocalStore(store.root).put_bytes("files/1.tar", b"1")
        source.write(b"0")
    writer.join(10)
    assert files(store) == ["files/0.tar", "files/1.tar"]


def test_empty_folders_are_no_objects(store: LocalStore) -> None:
    store.put_bytes("files/x/0.tar", b"0")
    store.delete("files/x/0.tar")
    assert list(store.list("")) == []
    assert store.stat("files/x") is None
    store.delete("files/x")
    store.delete("files")
    assert list(store.list("files/x/")) == []


def test_a_table_may_live_on_another_disk_behind_a_link(store: LocalStore, tmp_path: Path) -> None:
    elsewhere = tmp_path / "big disk"
    elsewhere.mkdir()
    store.put_bytes("records/a.parquet", b"a")
    (store.root / "files").symlink_to(elsewhere)
    (store.root / "broken").symlink_to(tmp_path / "nowhere")
    store.put_bytes("files/x/0.tar", b"0")
    assert [stored.key for stored in store.list("")] == ["files/x/0.tar", "records/a.parquet"]
    assert (elsewhere / "x" / "0.tar").read_bytes() == b"0"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everywhere")
def test_a_folder_that_may_not_be_read_is_an_error_and_not_an_empty_list(store: LocalStore) -> None:
    store.put_bytes("files/0.tar", b"0")
    (store.root / "files").chmod(0)
    try:
        with pytest.raises(StoreRefused, match="permissions"):
            list(store.list("files/"))
        with pytest.raises(StoreRefused, match="permissions"):
            store.stat("files/0.tar")
    finally:
        (store.root / "files").chmod(0o755)


def test_a_check_says_what_is_wrong_with_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for root in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(StoreError, match="folder should be"):
            LocalStore(root).check()
    LocalStore(tmp_path / "new" / "store").check()
    assert (tmp_path / "new" / "store").is_dir()


def test_a_missing_source_is_an_error_of_the_caller(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put_file("files/0.tar", tmp_path / "nothing")
    assert list(store.list("")) == []
