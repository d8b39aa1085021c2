"""The probes of several labels: what is published, what is refused, what they say of an archive."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgmine.models.probe_card import PLOT, TEXT, probe_card
from imgmine.models.probe_model import (
    CURRENT_KEY,
    FOLDER,
    REPORT_FILE,
    Labelled,
    NoProbes,
    ProbeModel,
    ProbeModelError,
    current_probes,
    fit_probes,
    publish_probes,
    score_archive,
    withdraw_probes,
)
from imgmine.models.vectors import embeddings_table
from imgmine.store.local import LocalStore
from imgmine.store.tables import PROBE_SCORES
from tests.models.test_probe import pictures


@pytest.fixture(scope="module")
def model() -> ProbeModel:
    vectors, values = pictures(50, 6.0)
    labelled = {"good": Labelled(vectors, values), "rare": Labelled(vectors[:10], values[:10])}
    return fit_probes(labelled, "m-1", {"inputs": "x"})


def test_a_label_with_too_few_pictures_has_no_probe_and_the_card_says_so(model: ProbeModel, tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    publish_probes(store, model, probe_card(model))
    assert model.labels == ("good",)
    card = store.get_bytes(f"{FOLDER}/{model.version}/{TEXT}").decode()
    assert "| rare | 5 | 5 | | | | | | no probe: 5 distinct pictures are labelled yes and 5 no; 20 of each" in card
    assert f"| good | 25 | 25 | {model.report['labels']['good']['auroc']:.3f} ± " in card


def test_the_card_draws_what_held_out_pictures_had_and_is_the_same_each_time(model: ProbeModel, tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    publish_probes(store, model, probe_card(model))
    held_out = model.report["labels"]["good"]["held_out"]
    assert (sum(held_out["yes"]), sum(held_out["no"])) == (25, 25)
    assert sum(held_out["yes"][10:]) > 20 > 5 > sum(held_out["no"][10:])
    card = probe_card(model)
    assert probe_card(current_probes(store)) == card
    assert {name: store.get_bytes(f"{FOLDER}/{model.version}/{name}") for name in card} == card
    assert f"]({PLOT})" in card[TEXT].decode()
    with Image.open(io.BytesIO(card[PLOT])) as plot:
        assert (plot.format, plot.width) == ("PNG", 800)
    assert list(probe_card(fit_probes({}, "m-1", {}))) == [TEXT]


def test_other_vectors_or_values_have_another_digest() -> None:
    vectors, values = pictures(50, 6.0)
    before = Labelled(vectors, values).digest
    assert Labelled(vectors.copy(), values.copy()).digest == before
    others = [Labelled(vectors[::-1], values), Labelled(vectors, ~values), Labelled(vectors[:-1], values[:-1])]
    assert before not in {other.digest for other in others}


def test_what_is_published_is_what_was_fitted(model: ProbeModel, tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    publish_probes(store, model, probe_card(model))
    found = current_probes(store)
    assert (found.version, found.labels, found.embedder, found.report) == (
        model.version,
        model.labels,
        "m-1",
        model.report,
    )
    assert np.array_equal(found.weights, model.weights)
    withdraw_probes(store)
    with pytest.raises(NoProbes, match="imgmine label add"):
        current_probes(store)
    assert store.stat(f"{FOLDER}/{model.version}/{REPORT_FILE}") is not None


def test_another_models_parameters_are_not_taken_for_these(model: ProbeModel, tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    publish_probes(store, model, probe_card(model))
    key = f"{FOLDER}/{model.version}/{REPORT_FILE}"
    store.put_bytes(key, store.get_bytes(key).replace(b"m-1", b"m-2"))
    with pytest.raises(ProbeModelError, match="damaged"):
        current_probes(store)
    assert store.stat(CURRENT_KEY) is not None


def test_an_archive_has_a_row_for_each_picture_and_label_in_order(model: ProbeModel) -> None:
    vectors, values = pictures(30, 6.0, seed=5)
    keys = [bytes([number]) * 32 for number in range(30)]
    scores = score_archive(embeddings_table(keys, vectors), model)
    assert scores.schema.equals(PROBE_SCORES)
    assert scores["blake2b"].to_pylist() == keys
    right = [(row["decision"] == "yes") == (row["probability"] >= 0.5) for row in scores.to_pylist()]
    assert all(right)
    assert np.mean((scores["probability"].to_numpy() >= 0.5) == values) > 0.9


def test_an_empty_archive_has_an_empty_table_and_other_vectors_are_refused(model: ProbeModel) -> None:
    empty = score_archive(embeddings_table([], np.empty((0, 64), np.float32)), model)
    assert empty.schema.equals(PROBE_SCORES)
    assert empty.num_rows == 0
    with pytest.raises(ProbeModelError, match="Materialize probe_model again"):
        score_archive(embeddings_table([b"1" * 32], np.eye(1, 8, dtype=np.float32)), model)


def test_without_any_label_there_is_nothing() -> None:
    nothing = fit_probes({}, "m-1", {})
    assert (nothing.labels, nothing.weights.shape) == ((), (0, 0))
