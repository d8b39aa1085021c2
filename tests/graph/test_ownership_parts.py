"""Ownership in parts, through Dagster: who never asks for them sees nothing of them, and who does has them joined."""

from pathlib import Path

import dagster as dg

from imgmine.dataset.ownership_parts import publish_part
from imgmine.store.local import LocalStore
from imgmine_assets.dataset import dataset
from imgmine_assets.ownership_parts import ownership_parts
from imgmine_assets.partitions import first_digits
from resources.store import StoreResource
from resources.warehouse import WarehouseResource
from tests.dataset.small_store import Entry, digest, put_archive


def test_dataset_joins_what_the_partitions_have_made(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    put_archive(store, "a", [Entry("one"), Entry("two")], stages=["files"])
    put_archive(store, "b", [Entry("two")], stages=["files"])
    resources = {
        "store": StoreResource(url=store.url, s3_endpoint=None, scratch=str(tmp_path / "scratch")),
        "warehouse": WarehouseResource(mirror=str(tmp_path / "mirror")),
    }
    by_dagster = digest("two").hex()[0]
    for digit in set(first_digits.get_partition_keys()) - {by_dagster}:  # a run of each would take seconds
        publish_part(store, tmp_path / "mirror", tmp_path, digit)
    ran = dg.materialize([ownership_parts], partition_key=by_dagster, resources=resources)
    [part] = ran.asset_materializations_for_node("ownership_parts")
    ran = dg.materialize([dataset], resources=resources)
    [whole] = ran.asset_materializations_for_node("dataset")
    assert (part.metadata["distinct files"].value, part.metadata["in more than one archive"].value) == (1, 1)
    assert part.metadata["dagster/uri"].value == str(store.root / f"ownership_parts/{by_dagster}.parquet")
    assert whole.metadata["joined from"].value == "ownership_parts"
    assert whole.metadata["distinct files"].value == 2


def test_dataset_waits_for_no_part() -> None:
    [spec] = dataset.specs
    assert [dep.asset_key.to_user_string() for dep in spec.deps] == ["unique_files"]
