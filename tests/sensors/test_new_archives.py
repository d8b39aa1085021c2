"""The sensor that finds new archives: nothing is missed, nothing is asked for twice, a failed tick changes nothing."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from imgmine.archives.archive_org import FoundItem
from imgmine.archives.item import parse_date
from imgmine.demo.server_faults import FaultKind
from imgmine_assets.definitions import build_resources
from sensors.new_archives import LOOKED_AT_A_TICK, Cursor, choose_runs, new_identifiers
from tests.graph.mined import Workplace, workplace


def list_items(root: Path, count: int, start: int = 0) -> list[str]:
    """Let the server in `root` list this many more items, a minute apart, and return their identifiers."""
    names = []
    with (root / "items.jsonl").open("a") as listing:
        for number in range(start, start + count):
            day, minute = divmod(number, 24 * 60)
            hour, minute = divmod(minute, 60)
            moment = f"2023-{5 + day // 28:02d}-{1 + day % 28:02d} {hour:02d}:{minute:02d}:00"
            names.append(f"archiveteam_imgur_{moment.translate(str.maketrans('', '', '-: '))}_{number:08x}")
            about = {"identifier": names[-1], "publicdate": moment, "collection": ["archiveteam_imgur"]}
            listing.write(json.dumps({"metadata": about, "files": [], "item_size": 0}) + "\n")
    return names


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "archive.org"
    folder.mkdir()
    return folder


@pytest.fixture
def work(root: Path, tmp_path: Path) -> Iterator[Workplace]:
    with workplace(tmp_path / "home", root, discover_runs_per_tick=3) as work:
        yield work


def tick(work: Workplace, cursor: str | None) -> dg.SensorResult:
    """Evaluate the sensor once, and do what the daemon does with the answer."""
    repository = work.defs.get_repository_def()
    # Not `build_sensor_context`: run requests for partitions that the same tick adds want an instance's reference.
    context = dg.SensorEvaluationContext(
        instance_ref=work.instance.get_ref(),
        instance=work.instance,
        last_tick_completion_time=None,
        last_run_key=None,
        cursor=cursor,
        repository_name=repository.name,
        repository_def=repository,
        resources={"archive_org": build_resources(work.settings)["archive_org"]},
    )
    with context:
        answer = repository.get_sensor_def("new_archives").evaluate_tick(context)
    for request in answer.dynamic_partitions_requests:
        work.instance.add_dynamic_partitions("archives", list(request.partition_keys))
    return answer


def asked(answer: object) -> list[str]:
    return [request.partition_key for request in answer.run_requests]  # type: ignore[attr-defined]


def test_every_archive_is_added_and_asked_for_once_oldest_first(root: Path, work: Workplace) -> None:
    names = list_items(root, 7)
    cursor, all_asked = None, []
    for _ in range(4):
        answer = tick(work, cursor)
        cursor = answer.cursor
        all_asked.append(asked(answer))
    assert list(work.instance.get_dynamic_partitions("archives")) == names
    assert all_asked == [names[:3], names[3:6], names[6:], []]


def test_a_later_archive_is_found_and_an_earlier_is_not_added_again(root: Path, work: Workplace) -> None:
    names = list_items(root, 2)
    first = tick(work, None)
    later = list_items(root, 1, start=2)
    second = tick(work, first.cursor)
    assert [key for request in second.dynamic_partitions_requests for key in request.partition_keys] == later
    assert asked(second) == later
    assert list(work.instance.get_dynamic_partitions("archives")) == names + later


def test_an_item_that_is_indexed_late_is_still_found(root: Path, work: Workplace) -> None:
    list_items(root, 1, start=3 * 24 * 60)
    first = tick(work, None)
    late = list_items(root, 1, start=60)
    assert asked(tick(work, first.cursor)) == late


def test_a_failed_search_fails_the_tick_and_loses_nothing(root: Path, work: Workplace) -> None:
    names = list_items(root, 2)
    work.server.faults.add(FaultKind.STATUS, status=500, times=None)
    with pytest.raises(Exception, match="500"):
        tick(work, None)
    work.server.faults.clear()
    assert asked(tick(work, None)) == names


def test_rate_0_discovers_alone_and_says_so(root: Path, work: Workplace) -> None:
    names = list_items(root, 2)
    quiet = replace(work, settings=replace(work.settings, discover_runs_per_tick=0))
    answer = tick(quiet, None)
    assert asked(answer) == []
    assert "IMGMINE_DISCOVER_RUNS is 0" in str(answer.skip_message)
    assert list(work.instance.get_dynamic_partitions("archives")) == names


def test_an_archive_that_a_person_has_run_is_not_asked_for(root: Path, work: Workplace) -> None:
    names = list_items(root, 2)
    [outcome] = work.mine([names[0]])
    assert "no WARC file" in outcome.reason
    assert asked(tick(work, None)) == names[1:]


def test_the_whole_collection_at_once_stays_well_inside_the_tick_limit(root: Path, work: Workplace) -> None:
    names = list_items(root, 49_731)
    started = time.monotonic()
    first = tick(work, None)
    assert time.monotonic() - started < 45
    assert asked(first) == names[:3]
    assert len(work.instance.get_dynamic_partitions("archives")) == 49_731
    assert all(len(request.partition_keys) <= 5_000 for request in first.dynamic_partitions_requests)
    assert asked(tick(work, first.cursor)) == names[3:6]


def test_the_cursor_survives_being_written_and_read() -> None:
    cursor = Cursor(FoundItem(parse_date("2023-05-03 12:00:00"), "archiveteam_imgur_x"), "archiveteam_imgur_w")
    assert Cursor.parse(cursor.dumps()) == cursor
    assert Cursor.parse(None) == Cursor()


def test_runs_are_chosen_after_the_last_one_considered() -> None:
    assert choose_runs(["a", "b", "c", "d"], "a", lambda archive: archive == "b", 1) == (["c"], "c")
    assert choose_runs(["a", "b"], "b", lambda _: False, 5) == ([], "b")


def test_all_are_looked_at_again_where_the_last_one_considered_was_deleted() -> None:
    assert choose_runs(["a", "b"], "gone", lambda archive: archive == "a", 5) == (["b"], "b")


def test_a_tick_looks_at_a_bounded_number_of_archives_with_runs() -> None:
    many = [f"{number:05d}" for number in range(3 * LOOKED_AT_A_TICK)]
    chosen, considered = choose_runs(many, None, lambda _: True, 5)
    assert (chosen, considered) == ([], many[LOOKED_AT_A_TICK - 1])


def test_known_partitions_are_not_new() -> None:
    found = [FoundItem(parse_date("2023-05-03 12:00:00"), name) for name in ("a", "b")]
    assert new_identifiers(found, ["b"]) == ["a"]
