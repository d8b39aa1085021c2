"""The card shows what the report says, in the same bytes each time."""

import io

import pytest
from PIL import Image

from imgmine.models.anomaly_card import CHOICE_PLOT, SCORES_PLOT, TEXT, anomaly_card
from imgmine.models.anomaly_fit import FitSettings, fit_anomaly_model
from imgmine.models.anomaly_model import AnomalyModel
from imgmine.models.gmm_fit import MixtureChoices
from tests.models.mixtures import planted

ABOUT = {"source": "the folder good", "rejected": 2, "rejected_files": ["a.jpg: truncated"]}


@pytest.fixture(scope="module")
def model() -> AnomalyModel:
    settings = FitSettings(mixture=MixtureChoices(restarts=1, covariance_types=("full", "diag")))
    return fit_anomaly_model(planted(300, 2, 4, within=32), "a-model-0123", settings, ABOUT)


def test_a_stored_mixture_has_the_same_card(model: AnomalyModel) -> None:
    assert anomaly_card(AnomalyModel.from_files(model.files())) == anomaly_card(model)


def test_the_plots_are_800_pixels_wide(model: AnomalyModel) -> None:
    card = anomaly_card(model)
    for name in (CHOICE_PLOT, SCORES_PLOT):
        with Image.open(io.BytesIO(card[name])) as plot:
            assert plot.format == "PNG"
            assert plot.width == 800
            assert "Software" not in plot.info


def test_the_text_says_what_was_chosen_and_why_and_what_was_left_out(model: AnomalyModel) -> None:
    text = anomaly_card(model, percentile=7.5)[TEXT].decode()
    assert model.version in text
    assert model.report["reason"] in text
    assert "the folder good" in text
    assert "did not pass the gate: 2. a.jpg: truncated; 1 more." in text
    assert "anomalous below percentile 7.5" in text
    assert text.count("**chosen**") == 2  # a mixture and a number of dimensions
    assert text.count("\n| ") >= len(model.report["candidates"])


def test_warnings_are_at_the_top(model: AnomalyModel) -> None:
    warned = AnomalyModel(
        model.kind, model.embedder, model.detector, model.training_scores, model.calibration,
        {**model.report, "warnings": ["The mixture has overfitted."]},
    )  # fmt: skip
    assert anomaly_card(warned)[TEXT].decode().splitlines()[2] == "> **Warning.** The mixture has overfitted."
