"""Shards on their way into a store from another thread."""

import threading
import time
from pathlib import Path

import pytest

from imgmine.store.local import LocalStore
from imgmine.store.outbox import Outbox, OutboxLeft
from imgmine.store.shards import Shard, ShardWriter


def made(folder: Path, count: int = 6) -> list[Shard]:
    with ShardWriter(folder, "files/an_archive", limit=4 << 10) as writer:
        for number in range(count):
            writer.add(f"{number}.bin", bytes([number]) * 2000)
    assert len(writer.shards) == count
    return writer.shards


class Gated(LocalStore):
    """A store whose puts wait until they may."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.may = threading.Event()
        self.asked = False
        self.puts: list[str] = []

    def put_file(self, key: str, source: Path) -> None:
        self.asked = True
        assert self.may.wait(30)
        self.puts.append(key)
        super().put_file(key, source)


def test_shards_are_put_in_order_and_their_local_files_go(tmp_path: Path) -> None:
    shards = made(tmp_path / "drafts")
    contents = [shard.path.read_bytes() for shard in shards]
    store = LocalStore(tmp_path / "store")
    told: list[tuple[int, int]] = []
    with Outbox(store, lambda *now: told.append(now)) as outbox:
        for shard in shards:
            outbox.send(shard)
        outbox.finish()
        assert [store.get_bytes(shard.key) for shard in shards] == contents
    assert not any(shard.path.exists() for shard in shards)
    total = sum(shard.size for shard in shards)
    assert told[-1] == (total, total)


def test_those_that_wait_are_bounded_and_whoever_waits_can_be_told_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = made(tmp_path / "drafts")
    monkeypatch.setattr("imgmine.store.outbox.MOST_WAITING", 2 * shards[0].size)
    store, stop = Gated(tmp_path / "store"), threading.Event()
    with Outbox(store) as outbox:
        outbox.send(shards[0])
        while not store.asked:
            time.sleep(0.01)
        for shard in shards[1:3]:
            outbox.send(shard)
        threading.Timer(0.3, stop.set).start()
        with pytest.raises(OutboxLeft):
            outbox.send(shards[3], stop)
        store.may.set()
        outbox.finish()
    assert store.puts == [shard.key for shard in shards[:3]]


def test_a_shard_that_still_waits_can_be_taken_back_and_all_can_be_forgotten(tmp_path: Path) -> None:
    shards = made(tmp_path / "drafts")
    store = Gated(tmp_path / "store")
    with Outbox(store) as outbox:
        for shard in shards[:4]:
            outbox.send(shard)
        outbox.recall(shards[2])
        store.may.set()
        outbox.finish()
        assert store.puts == [shards[number].key for number in (0, 1, 3)]
        store.may.clear()
        outbox.send(shards[4])
        outbox.send(shards[5])
        outbox.forget()
        store.may.set()
        outbox.finish()
    assert shards[5].key not in store.puts


def test_what_a_put_raises_is_raised_to_whoever_sends_or_waits(tmp_path: Path) -> None:
    shards = made(tmp_path / "drafts")
    shards[0].path.unlink()
    with Outbox(LocalStore(tmp_path / "store")) as outbox:
        outbox.send(shards[0])
        with pytest.raises(FileNotFoundError):
            outbox.finish()
        with pytest.raises(FileNotFoundError):
            outbox.send(shards[1])


def test_what_the_listener_raises_is_raised_too_and_nobody_waits_for_ever(tmp_path: Path) -> None:
    def broken(done: int, total: int) -> None:
        raise RuntimeError(f"{done} of {total}")

    with Outbox(LocalStore(tmp_path / "store"), broken) as outbox:
        outbox.send(made(tmp_path / "drafts")[0])
        with pytest.raises(RuntimeError, match=" of "):
            outbox.finish()


def test_a_put_that_was_forgotten_is_waited_for(tmp_path: Path) -> None:
    shards = made(tmp_path / "drafts")
    store = Gated(tmp_path / "store")
    with Outbox(store) as outbox:
        outbox.send(shards[0])
        while not store.asked:
            time.sleep(0.01)
        outbox.forget()
        threading.Timer(0.3, store.may.set).start()
        outbox.finish()
        assert store.puts == [shards[0].key]


def test_an_error_is_handed_on_once_no_put_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgmine.store.outbox._FAREWELL_S", 0.01)
    shards = made(tmp_path / "drafts")
    store = Gated(tmp_path / "store")

    def fail(outbox: Outbox) -> None:
        outbox.send(shards[0])
        while not store.asked:
            time.sleep(0.01)
        threading.Timer(0.3, store.may.set).start()
        raise ValueError("wrong bytes")

    with pytest.raises(ValueError, match="wrong"), Outbox(store) as outbox:
        fail(outbox)
    assert store.puts == [shards[0].key]
