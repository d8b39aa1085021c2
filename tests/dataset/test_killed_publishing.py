"""A process that makes the dataset is killed before each step: a reader has the former answer or the new one."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from imgmine.dataset.ownership_parts import PREFIXES, publish_part
from imgmine.dataset.publishing import DatasetSummary, publish_dataset, remove_former_ownership
from imgmine.dataset.relations import connect, dataset_table
from imgmine.store.local import LocalStore
from tests.dataset.ended import ENDED, Steps
from tests.dataset.small_store import Entry, put_archive
from tests.forked import exit_status

DATE = datetime(2023, 5, 1, tzinfo=UTC)

Answer = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]


def put(store: LocalStore, archive: str, names: str, day: int) -> None:
    put_archive(store, archive, [Entry(name) for name in names], DATE + timedelta(day), ["files"])


def make(home: Path, most_changes: int) -> DatasetSummary:
    store = LocalStore(home / "store")
    shutil.rmtree(home / "scratch", ignore_errors=True)
    (home / "scratch").mkdir()
    summary = publish_dataset(store, home / "mirror", home / "scratch", most_changes=most_changes)
    remove_former_ownership(store)
    return summary


def make_until(home: Path, most_changes: int, end_before: int) -> None:
    """Make the dataset, in a process of its own, and end it before the step of this number."""
    Steps(home, end_before)
    make(home, most_changes)


def answer(home: Path) -> Answer:
    """Return what a reader sees: who owns what, and how many files each archive has and owns."""
    with connect() as connection:
        owners = connection.execute(f"FROM ({dataset_table('ownership', home / 'store/dataset')}) ORDER BY ALL")
        rows = owners.fetchall()
        counts = connection.execute(
            f"SELECT archive, files, owned FROM ({dataset_table('archives', home / 'store/dataset')}) ORDER BY ALL"
        ).fetchall()
    assert sum(owned or 0 for *_, owned in counts) == len(rows), "both tables are of one answer"
    return rows, counts


@pytest.mark.parametrize(
    ("most_changes", "in_parts"),
    [(0, False), (0, True), (100, False)],
    ids=["the whole is made anew", "the whole is joined of its parts", "an archive is added"],
)
def test_killed_before_any_step_the_former_answer_is_there_and_the_next_run_finishes(
    tmp_path: Path, most_changes: int, in_parts: bool
) -> None:
    begun = tmp_path / "begun"
    store = LocalStore(begun / "store")
    put(store, "b", "1234", 2)
    put(store, "c", "4567", 3)
    make(begun, 0)
    put(store, "d", "78", 4)
    make(begun, most_changes)
    former = answer(begun)
    put(store, "a", "1568", 1)
    for prefix in PREFIXES if in_parts else ():
        publish_part(store, begun / "mirror", begun / "scratch", prefix)
    new = tmp_path / "new"
    shutil.copytree(begun, new)
    assert make(new, most_changes).joined == in_parts
    expected = answer(new)
    assert expected != former
    left_over = sorted(stored.key for stored in LocalStore(new / "store").list("dataset/"))

    seen = []
    # Each step but those of joining is one of the whole made anew, too.
    for steps in range(0, 200, 3 if in_parts else 1):
        home = tmp_path / "home"
        shutil.copytree(begun, home)
        code = exit_status(make_until, home, most_changes, steps)
        seen.append(answer(home))
        make(home, most_changes)
        assert answer(home) == expected
        assert sorted(stored.key for stored in LocalStore(home / "store").list("dataset/")) == left_over
        assert list((home / "scratch").iterdir()) == []
        shutil.rmtree(home)
        if code == 0:
            break
        assert code == ENDED
    assert code == 0, "the last one had all its steps"
    switched = seen.index(expected)
    assert seen == [former] * switched + [expected] * (len(seen) - switched)
    assert switched > 5
