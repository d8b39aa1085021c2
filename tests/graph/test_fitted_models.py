"""`gmm_model` and `probe_model` by themselves: what they fit anew, and which archives and rows they fit to."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from imgmine.dataset.labels import GOOD, Label, add_labels
from imgmine.models import anomaly_model
from imgmine.models import probe_model as probes
from imgmine.models.cards import find_model, load_card
from imgmine.models.embedder import CODE_VERSION
from imgmine.models.probe_card import TEXT, probe_card
from imgmine.models.probe_model import current_probes
from imgmine.models.published_anomaly_model import CURRENT_KEY, current_anomaly_model, version_folder
from imgmine.models.reference import MOST_ARCHIVES, chosen_archives
from imgmine.models.vectors import embeddings_table, normalise
from imgmine.settings import Settings, load_settings
from imgmine.store.local import LocalStore
from imgmine.store.publish import publish
from imgmine.store.tables import IMAGES, Provenance
from imgmine_assets.definitions import build_resources
from imgmine_assets.gmm_model import gmm_model
from imgmine_assets.probe_model import probe_model

DIMENSION = 1280


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = load_settings({"IMGMINE_HOME": str(tmp_path), "IMGMINE_SHOW_NSFW": "1"})
    return replace(made, detector="knn")


@pytest.fixture
def store(settings: Settings) -> LocalStore:
    return LocalStore(Path(settings.store))


def in_use(settings: Settings) -> str:
    return load_card(find_model(settings.embedder)).version


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return normalise(np.random.default_rng(seed).normal(size=(count, DIMENSION)))


def keys(count: int, archive: str = "") -> list[bytes]:
    rng = np.random.default_rng([count, *archive.encode()])
    return [rng.bytes(32) for _ in range(count)]


def put_vectors(store: LocalStore, archive: str, rows: np.ndarray, model: str, code: str = CODE_VERSION) -> None:
    table = embeddings_table(keys(len(rows), archive), rows)
    publish(store, archive, {"images": pa.Table.from_pylist([], IMAGES)}, Provenance("images", "1", "0"))
    publish(store, archive, {"embeddings": table}, Provenance("embeddings", code, "0"), extra={"model": model})


def put_labelled(store: LocalStore, archive: str, model: str) -> list[bytes]:
    """Publish 50 vectors of two kinds, and label one kind good and the other not."""
    rows = vectors(50)
    rows[::2, 0] += 2
    put_vectors(store, archive, normalise(rows), model)
    names = keys(50, archive)
    add_labels(store, [Label(name, GOOD, not number % 2) for number, name in enumerate(names)], by="x")
    return names


def materialize(settings: Settings, asset: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    return dg.materialize([asset], resources=build_resources(settings), raise_on_error=False)


def logged(settings: Settings, asset: dg.AssetsDefinition) -> str:
    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.materialize([asset], resources=build_resources(settings), instance=instance)
        return " ".join(entry.user_message for entry in instance.all_logs(run.run_id) if not entry.is_dagster_event)


def why(result: dg.ExecuteInProcessResult) -> str:
    return " ".join(str(event.event_specific_data) for event in result.all_events if event.is_step_failure)


def said(result: dg.ExecuteInProcessResult, key: str) -> object:
    [event] = result.get_asset_materialization_events()
    return event.materialization.metadata[key].value


def test_an_anomaly_model_that_cannot_be_read_is_fitted_anew(settings: Settings, store: LocalStore) -> None:
    put_vectors(store, "one", vectors(120), in_use(settings))
    assert materialize(settings, gmm_model).success
    fitted = current_anomaly_model(store)
    folder = version_folder(fitted.version)
    for key, damage in (
        (CURRENT_KEY, "{"),
        (CURRENT_KEY, "{}"),
        (f"{folder}/{anomaly_model.REPORT_FILE}", '{"format": 1}'),
        (f"{folder}/{anomaly_model.PARAMETERS_FILE}", "PK"),
    ):
        before = store.get_bytes(key)
        store.put_bytes(key, damage.encode())
        with pytest.raises(anomaly_model.AnomalyModelError, match="Materialize gmm_model again"):
            current_anomaly_model(store)
        if key != f"{folder}/{anomaly_model.PARAMETERS_FILE}":
            store.put_bytes(key, before)
    result = materialize(settings, gmm_model)
    assert result.success
    assert said(result, "unchanged") is False
    assert current_anomaly_model(store).files() == fitted.files()
    assert said(materialize(settings, gmm_model), "unchanged") is True


def test_pictures_that_are_alike_are_on_one_side_of_the_fit(settings: Settings, store: LocalStore) -> None:
    rng = np.random.default_rng(0)
    crops = np.repeat(rng.normal(size=(40, DIMENSION)), 5, axis=0) + 0.35 * rng.normal(size=(200, DIMENSION))
    put_vectors(store, "one", normalise(crops), in_use(settings))
    assert materialize(settings, gmm_model).success
    fitted = current_anomaly_model(store)
    assert (fitted.report["reference"]["groups"], fitted.report["reference"]["alike_from"]) == (40, 0.85)
    # Held-out pictures have no siblings among the rows, so new pictures are not odder than nearly all of them.
    fresh = fitted.percentile(fitted.score(vectors(200, seed=9)))
    assert (fresh >= 5).mean() > 0.5


def test_few_archives_of_the_embedder_in_use_are_found_among_many_of_others(
    settings: Settings, store: LocalStore
) -> None:
    names = chosen_archives([f"archive {number:03d}" for number in range(MOST_ARCHIVES + 3)], seed=0, most=1000)
    for name in names[:-1]:
        put_vectors(store, name, vectors(1), "another-model-0123")
    refused = materialize(settings, gmm_model)
    assert not refused.success
    assert f"{len(names) - 1} of another-model-0123" in why(refused)
    # The last in the order of the draw, so that none of those that are drawn first serves.
    put_vectors(store, names[-1], vectors(120), in_use(settings))
    result = materialize(settings, gmm_model)
    assert result.success, why(result)
    assert said(result, "reference images") == 120
    assert str(said(result, "reference")).endswith("from 1 archive")


def test_vectors_that_other_code_made_are_another_models(settings: Settings, store: LocalStore) -> None:
    put_vectors(store, "one", vectors(120), in_use(settings), code="1")
    refused = materialize(settings, gmm_model)
    assert f"1 of {in_use(settings)} of code version 1" in why(refused)


def test_probes_that_cannot_be_read_are_fitted_anew(settings: Settings, store: LocalStore) -> None:
    put_labelled(store, "one", in_use(settings))
    assert materialize(settings, probe_model).success
    fitted = current_probes(store)
    folder = f"{probes.FOLDER}/{fitted.version}"
    for key, damage in (
        (probes.CURRENT_KEY, "{}"),
        (f"{folder}/{probes.REPORT_FILE}", "{}"),
        (f"{folder}/{probes.PARAMETERS_FILE}", "PAR1"),
    ):
        before = store.get_bytes(key)
        store.put_bytes(key, damage.encode())
        with pytest.raises(probes.ProbeModelError, match="Materialize probe_model again"):
            current_probes(store)
        if key != f"{folder}/{probes.PARAMETERS_FILE}":
            store.put_bytes(key, before)
    result = materialize(settings, probe_model)
    assert result.success
    assert said(result, "unchanged") is False
    assert current_probes(store).version == fitted.version


def test_labelled_pictures_without_a_vector_are_told(settings: Settings, store: LocalStore) -> None:
    put_labelled(store, "one", in_use(settings))
    assert said(materialize(settings, probe_model), "labelled pictures without a vector") == 0
    fitted = current_probes(store)
    assert "without a vector" not in probe_card(fitted)[TEXT].decode()
    gone = keys(3, "gone")
    add_labels(store, [Label(name, GOOD, True) for name in gone] + [Label(gone[0], "comics", True)], by="x")
    told = "without a vector of " + in_use(settings) + ", which count for nothing (comics: 1, good: 3): materialize"
    log = logged(settings, probe_model)
    assert told in log
    assert f"Of 3, the first: {min(gone).hex()}" in log
    result = materialize(settings, probe_model)
    assert said(result, "labelled pictures without a vector") == 3
    assert said(result, "unchanged") is True
    again = current_probes(store)
    assert again.version == fitted.version
    assert told in store.get_bytes(f"{probes.FOLDER}/{again.version}/{TEXT}").decode()


def test_probes_in_use_stay_where_vectors_are_missing_and_go_where_labels_are_too_few(
    settings: Settings, store: LocalStore
) -> None:
    names = put_labelled(store, "one", in_use(settings))
    assert materialize(settings, probe_model).success
    fitted = current_probes(store)
    # As after a switch of the embedder: no archive has vectors of the one in use, then one has a few.
    put_vectors(store, "one", vectors(50), "another-model-0123")
    for _ in range(2):
        refused = materialize(settings, probe_model)
        assert not refused.success
        assert "those in use stay: enough pictures are labelled (good)" in why(refused)
        assert "1 archive by another-model-0123" in why(refused)
        assert current_probes(store).version == fitted.version
        few = embeddings_table(names[:10], vectors(10))
        publish(
            store, "two", {"embeddings": few}, Provenance("x", CODE_VERSION, "0"), extra={"model": in_use(settings)}
        )
    # With every vector there could not be 20 of each.
    add_labels(store, [Label(name, GOOD, None) for name in names[20:]], by="x")
    result = materialize(settings, probe_model)
    assert result.success
    assert not result.get_asset_materialization_events()
    with pytest.raises(probes.NoProbes):
        current_probes(store)
