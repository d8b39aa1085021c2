"""The asset `near_duplicates`: what it publishes, and what it shows."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from imgmine.dataset.sketches import put_centre
from imgmine.dataset.warehouse import build_warehouse, open_warehouse, publish_warehouse
from imgmine.demo import copies
from imgmine.demo.photographs import reference_photographs
from imgmine.store.local import LocalStore
from tests.dataset.pictured_store import embedder, pictured, put_pictures
from tests.dataset.small_store import CAPTURED
from tests.graph.mined import workplace


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_groups_are_published_and_some_are_shown(tmp_path: Path) -> None:
    with Image.open(reference_photographs()[5]) as photograph:
        picture = photograph.convert("RGB")
    one, other = pictured(picture), pictured(copies.recompressed(picture, 50))
    (tmp_path / "served").mkdir()
    with workplace(tmp_path / "home", tmp_path / "served", show_nsfw=True) as work:
        store = LocalStore(work.store)
        # The asset would make the vectors of all photographs for it, which takes seconds.
        put_centre(store, embedder().version, np.stack([one.vector, other.vector]))
        put_pictures(store, "later", {"one": one}, CAPTURED + timedelta(days=1))
        put_pictures(store, "earlier", {"other": other}, CAPTURED)
        publish_warehouse(store, build_warehouse(store, tmp_path / "mirror", made(tmp_path / "built")))
        assert work.run("find_near_duplicates").reason == ""
        with open_warehouse(store, tmp_path / "mirror", tmp_path / "opened") as warehouse:
            assert warehouse.execute("SELECT count(*) FROM near_duplicates").fetchone() == (2,)
        event = work.instance.get_latest_materialization_event(dg.AssetKey("near_duplicates"))
        assert event is not None
        assert event.asset_materialization is not None
        metadata = {name: entry.value for name, entry in event.asset_materialization.metadata.items()}
    [row] = [
        row
        for row in pq.read_table(work.store / "dataset" / "near_duplicates.parquet").to_pylist()
        if row["how"] != "kept"
    ]
    assert (row["blake2b"], row["kept_blake2b"], row["how"]) == (one.blake2b, other.blake2b, "pdq")
    assert (metadata["images"], metadata["groups"], metadata["near-duplicates"]) == (2, 1, 1)
    assert metadata["share"] == "50.00%"
    assert "data:image/webp" in metadata["some of them"]
