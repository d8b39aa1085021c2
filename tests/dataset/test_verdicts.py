"""Verdicts: what one run found of pairs the next one knows, in few bytes, and what nobody asks for is forgotten."""

import tracemalloc
from pathlib import Path

import pytest

from imgmine.dataset.verdicts import VERDICTS, Verdict, Verdicts
from imgmine.store.base import Store
from imgmine.store.local import LocalStore


def opened(store: Store, part_pairs: int = 1000) -> Verdicts:
    return Verdicts(store, "1", part_pairs)


def pairs(verdicts: Verdicts, count: int) -> list[bytes]:
    return [verdicts.pair((bytes(32), 1), (number.to_bytes(32), 1)) for number in range(count)]


def test_a_run_leaves_what_it_asked_for_and_what_it_found(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    first = opened(store)
    one, two, three = pairs(first, 3)
    assert first.get(one) is None
    first.put(one, Verdict(0.5, True))
    first.put(two, Verdict(0.0, False))
    first.publish()
    second = opened(store)
    assert second.get(one) == second.get(one) == Verdict(0.5, True)
    second.put(three, Verdict(1.0, False))
    assert (second.reused, second.found) == (2, 1)
    second.publish()
    third = opened(store)
    assert [third.get(pair) for pair in (one, two, three)] == [Verdict(0.5, True), None, Verdict(1.0, False)]
    assert len(list(store.list(f"{VERDICTS}/"))) == 1


@pytest.mark.parametrize("part_pairs", [3, 1000])
def test_in_how_many_files_they_are_changes_nothing(part_pairs: int, tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    found = {}
    for asked in (range(8), range(4, 12)):
        verdicts = opened(store, part_pairs)
        names = pairs(verdicts, 12)
        for number in asked:
            known = verdicts.get(names[number])
            assert known == found.get(number)
            if known is None:
                found[number] = Verdict(number / 64, number % 2 == 1)
                verdicts.put(names[number], found[number])
        verdicts.publish()
        # As a run leaves it that is killed before it removes what is there twice.
        [first, *_] = [stored.key for stored in store.list(f"{VERDICTS}/")]
        store.put_bytes(f"{VERDICTS}/again.parquet", store.get_bytes(first))
    last = opened(store, part_pairs)
    names = pairs(last, 12)
    assert {number: last.get(name) for number, name in enumerate(names) if last.get(name) is not None} == {
        number: found[number] for number in range(4, 12)
    }
    last.publish()
    assert (len(list(store.list(f"{VERDICTS}/"))) > 1) == (part_pairs < 8)


def test_to_ask_for_what_is_remembered_takes_no_memory(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    first = opened(store)
    names = pairs(first, 2000)
    for name in names:
        first.put(name, Verdict(0.5, False))
    first.publish()
    second = opened(store)
    tracemalloc.start()
    try:
        assert all(second.get(name) is not None for name in names)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 8 * len(names)
