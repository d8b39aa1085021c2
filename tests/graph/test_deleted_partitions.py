"""A partition that is deleted in the UI takes its data with it, once the sensor is on; nothing else ever does."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from imgmine.dataset.doctor import archives_in
from imgmine.settings import Settings, load_settings
from imgmine.store.local import LocalStore
from imgmine_assets.definitions import build_defs, build_resources
from imgmine_assets.instance import open_instance
from imgmine_assets.partitions import ARCHIVES, add_archives
from sensors.deleted_partitions import deleted_partitions
from tests.dataset.small_store import Entry
from tests.dataset.takedown.stored import put_stored


@dataclass(frozen=True)
class Place:
    """A store with two archives, both of which are partitions of an instance that has had runs of them."""

    settings: Settings
    instance: dg.DagsterInstance
    store: LocalStore

    def delete(self, archive: str) -> None:
        """Do what the UI's "Delete partitions" does."""
        self.instance.delete_dynamic_partition(ARCHIVES, archive)

    def tick(self, cursor: str | None = None) -> tuple[list[str], str | None]:
        """Return which archives are to be removed, and the cursor."""
        resources = build_resources(self.settings)
        with dg.build_sensor_context(instance=self.instance, cursor=cursor) as context:
            answer = deleted_partitions(context, store=resources["store"], archive_org=resources["archive_org"])
        assert isinstance(answer, dg.SensorResult)
        configs = [request.run_config for request in answer.run_requests or []]
        asked = [name for config in configs for name in config["ops"]["remove_data"]["config"]["archives"]]
        return asked, answer.cursor

    def remove(self, *names: str) -> bool:
        """Run the job that the sensor asks for; return whether it succeeded."""
        config = {"ops": {"remove_data": {"config": {"archives": list(names)}}}}
        job = build_defs(settings=self.settings).resolve_job_def("remove_deleted")
        return job.execute_in_process(config, instance=self.instance, raise_on_error=False).success

    def begin_run(self, archive: str, status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS) -> None:
        anything = dg.GraphDefinition(name="anything").to_job()
        self.instance.create_run_for_job(anything, status=status, tags={"dagster/partition": archive})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGMINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = load_settings()
    store = LocalStore(Path(settings.store))
    for archive in ("early", "late"):
        put_stored(store, archive, [Entry("one"), Entry("two")])
    with open_instance(settings) as instance:
        add_archives(instance, ["early", "late"])
        place = Place(settings, instance, store)
        for archive in ("early", "late"):
            place.begin_run(archive)
        yield place


def test_the_data_of_a_deleted_partition_go_and_of_no_other(place: Place) -> None:
    asked, cursor = place.tick()
    assert asked == []
    place.delete("late")
    asked, cursor = place.tick(cursor)
    assert asked == ["late"]
    assert place.tick(cursor) == ([], cursor), "it is asked for once"
    before = {key.key for key in place.store.list("") if "early" in key.key}
    assert place.remove("late")
    assert archives_in(place.store) == {"early"}
    assert {key.key for key in place.store.list("") if "early" in key.key} == before


def test_one_that_is_mined_again_and_deleted_again_goes_again(place: Place) -> None:
    place.delete("late")
    _, cursor = place.tick()
    assert place.remove("late")
    add_archives(place.instance, ["late"])
    put_stored(place.store, "late", [Entry("one")])
    asked, cursor = place.tick(cursor)
    assert asked == []
    place.delete("late")
    assert place.tick(cursor)[0] == ["late"]


def test_what_is_a_partition_again_by_then_stays(place: Place) -> None:
    assert place.remove("late")
    assert archives_in(place.store) == {"early", "late"}


def test_a_new_home_over_a_store_deletes_nothing(place: Place, tmp_path: Path) -> None:
    (new_home := tmp_path / "new home").mkdir()
    with dg.DagsterInstance.local_temp(str(new_home)) as instance:
        assert Place(place.settings, instance, place.store).tick()[0] == []


def test_what_is_being_mined_stays_and_the_run_says_so(place: Place) -> None:
    place.begin_run("late", dg.DagsterRunStatus.STARTED)
    for archive in ("early", "late"):
        place.delete(archive)
    assert not place.remove("early", "late")
    assert archives_in(place.store) == {"late"}


def test_it_is_off_until_somebody_turns_it_on() -> None:
    assert deleted_partitions.default_status == dg.DefaultSensorStatus.STOPPED
