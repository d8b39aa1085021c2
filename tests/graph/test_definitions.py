"""The graph as Dagster loads it: a change of it that nobody meant is seen here, beside `definitions.txt`.

A change that is meant: `UPDATE_SNAPSHOT=1 pytest tests/graph/test_definitions.py`, and look at the difference.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from imgmine.settings import load_settings
from imgmine_assets.definitions import build_defs

SNAPSHOT = Path(__file__).with_name("definitions.txt")


@pytest.fixture(scope="module")
def defs(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_defs(settings=load_settings({"IMGMINE_HOME": str(tmp_path_factory.mktemp("home"))}))


def test_the_graph_is_as_it_was(defs: dg.Definitions) -> None:
    described = "\n".join([*assets(defs), *jobs(defs), *automation(defs), ""])
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(described)
    assert described == SNAPSHOT.read_text()


def test_another_detector_is_another_version_of_the_anomaly_model(defs: dg.Definitions, tmp_path: Path) -> None:
    others = build_defs(settings=load_settings({"IMGMINE_HOME": str(tmp_path), "IMGMINE_DETECTOR": "knn"}))
    before, after = ({spec.key: spec.code_version for spec in of.resolve_all_asset_specs()} for of in (defs, others))
    assert [key.to_user_string() for key in before if before[key] != after[key]] == ["gmm_model"]


def assets(defs: dg.Definitions) -> Iterator[str]:
    graph = defs.resolve_asset_graph()
    specs = {spec.key: spec for spec in defs.resolve_all_asset_specs()}
    for group in sorted({spec.group_name or "" for spec in specs.values()}):
        yield f"group {group}"
        for key in graph.toposorted_asset_keys:
            if specs[key].group_name == group:
                yield from asset(specs[key], graph.assets_def_for_key(key), check_specs(defs))


def asset(spec: dg.AssetSpec, made_by: dg.AssetsDefinition, checks: list[dg.AssetCheckSpec]) -> Iterator[str]:
    deps = ", ".join(sorted(dep.asset_key.to_user_string() for dep in spec.deps)) or "nothing"
    yield f"  {spec.key.to_user_string()} of {deps}"
    step = made_by.op
    facts = [
        over(spec.partitions_def) if spec.partitions_def else "one",
        f"pool {step.pool}" if step.pool else "",
        f"up to {step.retry_policy.max_retries} retries" if step.retry_policy else "",
        "" if is_dbts(spec) else f"code {spec.code_version}",
        ", ".join(sorted(spec.kinds)),
    ]
    yield f"    {'; '.join(filter(None, facts))}"
    mine = sorted((check for check in checks if check.asset_key == spec.key), key=lambda check: check.name)
    yield from (
        f"    check {check.name}{', blocking' if check.blocking else ''}" for check in mine if not is_dbts(check)
    )
    if dbts := sum(is_dbts(check) for check in mine):
        yield f"    {dbts} tests of dbt"


def over(partitions: dg.PartitionsDefinition) -> str:
    if isinstance(partitions, dg.DynamicPartitionsDefinition):
        return f"each of {partitions.name}"
    return f"each of {', '.join(partitions.get_partition_keys())}"


def check_specs(defs: dg.Definitions) -> list[dg.AssetCheckSpec]:
    return [spec for made_by in defs.resolve_asset_graph().assets_defs for spec in made_by.check_specs]


def is_dbts(spec: dg.AssetSpec | dg.AssetCheckSpec) -> bool:
    return "dagster_dbt/unique_id" in spec.metadata


def jobs(defs: dg.Definitions) -> Iterator[str]:
    for job in sorted(defs.resolve_all_job_defs(), key=lambda job: job.name):
        if not job.name.startswith("__"):
            keys = sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)
            each = f" {over(job.partitions_def)}:" if job.partitions_def else ""
            yield f"job {job.name}:{each} {', '.join(keys) or 'checks alone'}; {job.executor_def.name}"


def automation(defs: dg.Definitions) -> Iterator[str]:
    repository = defs.get_repository_def()
    for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name):
        targets = ", ".join(target.job_name for target in sensor.targets) or "nothing"
        every = f"every {sensor.minimum_interval_seconds} s, {sensor.default_status.value.lower()} at first"
        yield f"sensor {sensor.name}: {targets}; {every}"
    for schedule in sorted(repository.schedule_defs, key=lambda schedule: schedule.name):
        at = f"{schedule.cron_schedule}, {schedule.default_status.value.lower()} at first"
        yield f"schedule {schedule.name}: {schedule.job_name}; {at}"


def test_everything_is_described_and_owned(defs: dg.Definitions) -> None:
    specs = list(defs.resolve_all_asset_specs())
    assert {tuple(spec.owners) for spec in specs} == {("team:imgmine",)}
    repository = defs.get_repository_def()
    told: dict[str, str | None] = {
        **{spec.key.to_user_string(): spec.description for spec in specs},
        **{check.name: check.description for check in check_specs(defs) if not is_dbts(check)},
        **{job.name: job.description for job in defs.resolve_all_job_defs() if not job.name.startswith("__")},
        **{each.name: each.description for each in (*repository.sensor_defs, *repository.schedule_defs)},
    }
    assert [name for name, description in told.items() if not description] == []


def test_a_resource_can_be_replaced_by_name(tmp_path: Path) -> None:
    settings = load_settings({"IMGMINE_HOME": str(tmp_path)})
    assert build_defs({"models": "another"}, settings).resources["models"] == "another"
