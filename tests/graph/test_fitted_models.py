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


def materialize(settings: Settings, asset: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    return dg.materialize([asset], resources=build_resources(settings), raise_on_error=False)


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
    rows = vectors(50)
    rows[::2, 0] += 2
    put_vectors(store, "one", normalise(rows), in_use(settings))
    names = keys(50, "one")
    add_labels(store, [Label(name, GOOD, not number % 2) for number, name in enumerate(names)], by="x")
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
