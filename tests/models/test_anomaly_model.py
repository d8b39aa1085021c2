"""A stored mixture is the mixture, or it is refused."""

import io
import json
import zipfile

import numpy as np
import pytest

from imgmine.models.anomaly_fit import FitSettings, ReferenceTooSmall, fit_anomaly_model
from imgmine.models.anomaly_model import PARAMETERS_FILE, REPORT_FILE, AnomalyModel, AnomalyModelError
from imgmine.models.gmm_fit import MixtureChoices
from tests.models.mixtures import planted, small_model


@pytest.fixture(scope="module")
def model() -> AnomalyModel:
    settings = FitSettings(mixture=MixtureChoices(restarts=1))
    return fit_anomaly_model(planted(300, 2, 4, within=32), "a-model-0123", settings, {"source": "a test"})


def test_a_stored_mixture_is_the_same_in_everything(model: AnomalyModel) -> None:
    loaded = AnomalyModel.from_files(model.files())
    fresh = planted(200, 2, 4, within=32, sample=1)
    np.testing.assert_array_equal(loaded.score(fresh), model.score(fresh))
    np.testing.assert_array_equal(loaded.calibration.scores, model.calibration.scores)
    assert (loaded.version, loaded.embedder, loaded.report) == (model.version, model.embedder, model.report)
    assert loaded.files() == model.files()


def test_it_is_stored_without_pickle(model: AnomalyModel) -> None:
    with np.load(io.BytesIO(model.files()[PARAMETERS_FILE]), allow_pickle=False) as arrays:
        assert {arrays[name].dtype for name in arrays.files} == {np.dtype("<f8")}
    assert json.loads(model.files()[REPORT_FILE])["version"] == model.version


def test_the_version_is_that_of_parameters_and_embedder(model: AnomalyModel) -> None:
    files = model.files()
    files[REPORT_FILE] = files[REPORT_FILE].replace(b"a-model-0123", b"another-model")
    with pytest.raises(AnomalyModelError, match="The parameters are those of"):
        AnomalyModel.from_files(files)


def test_pickled_parameters_are_not_read(model: AnomalyModel) -> None:
    out = io.BytesIO()
    np.savez(out, weights=np.array([{}], object))
    with pytest.raises(AnomalyModelError, match="cannot be read"):
        AnomalyModel.from_files({**model.files(), PARAMETERS_FILE: out.getvalue()})


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"garbage"])
def test_damaged_files_are_refused(model: AnomalyModel, damage: bytes) -> None:
    for name in (PARAMETERS_FILE, REPORT_FILE):
        with pytest.raises(AnomalyModelError):
            AnomalyModel.from_files({**model.files(), name: damage})


def test_half_a_file_is_refused(model: AnomalyModel) -> None:
    files = model.files()
    with pytest.raises(AnomalyModelError):
        AnomalyModel.from_files({**files, PARAMETERS_FILE: files[PARAMETERS_FILE][:5000]})


def test_missing_parts_are_named(model: AnomalyModel) -> None:
    with pytest.raises(AnomalyModelError, match=r"lacks 'card\.json'"):
        AnomalyModel.from_files({PARAMETERS_FILE: model.files()[PARAMETERS_FILE]})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w"):
        pass
    with pytest.raises(AnomalyModelError, match="lacks 'weights'"):
        AnomalyModel.from_files({**model.files(), PARAMETERS_FILE: out.getvalue()})
    with pytest.raises(AnomalyModelError, match="not the card of an anomaly model"):
        AnomalyModel.from_files({**model.files(), REPORT_FILE: b"{}"})


def test_vectors_of_another_dimension_are_refused() -> None:
    with pytest.raises(AnomalyModelError, match=r"scores vectors of 4 dimensions \(of a-model-0123\)"):
        small_model(4).score(np.zeros((3, 5), np.float32))


def test_an_empty_reference_is_refused_with_the_number_that_is_needed() -> None:
    with pytest.raises(ReferenceTooSmall, match="0 reference images are too few: at least 100"):
        fit_anomaly_model(np.empty((0, 0), np.float32), "x")
