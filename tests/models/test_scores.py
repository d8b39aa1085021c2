"""The anomaly scores of an archive."""

import hashlib

import numpy as np
import pytest

from imgmine.decisions import ScoreDecision
from imgmine.models.anomaly_model import AnomalyModelError
from imgmine.models.scores import score_archive
from imgmine.models.vectors import embeddings_table, vectors_of
from imgmine.store.tables import ANOMALY_SCORES
from tests.models.mixtures import small_model


def keys(count: int) -> list[bytes]:
    return sorted(hashlib.blake2b(bytes([n]), digest_size=32).digest() for n in range(count))


def test_each_vector_has_its_score_percentile_and_decision() -> None:
    model = small_model(4)
    distances = np.array([0.0, 1.0, 2.0, 5.0])
    embeddings = embeddings_table(keys(4), np.eye(4) * distances[:, None])
    table = score_archive(embeddings, model, 5.0)
    assert table.schema.equals(ANOMALY_SCORES)
    assert table["blake2b"].to_pylist() == keys(4)
    np.testing.assert_array_equal(table["log_likelihood"].to_numpy(), model.score(vectors_of(embeddings)))
    assert table["percentile"].to_pylist()[-1] == 0
    assert table["decision"].to_pylist() == [*[ScoreDecision.KEPT] * 3, ScoreDecision.ANOMALOUS]


@pytest.mark.parametrize(("percentile", "anomalous"), [(0, 0), (100, 4)])
def test_the_percentile_decides(percentile: float, anomalous: int) -> None:
    embeddings = embeddings_table(keys(4), np.eye(4))
    decisions = score_archive(embeddings, small_model(4), percentile)["decision"].to_pylist()
    assert decisions.count(ScoreDecision.ANOMALOUS) == anomalous


def test_no_vectors_give_an_empty_table() -> None:
    table = score_archive(embeddings_table([], np.empty((0, 4))), small_model(4), 5.0)
    assert table.num_rows == 0
    assert table.schema.equals(ANOMALY_SCORES)


def test_vectors_of_another_dimension_are_refused() -> None:
    with pytest.raises(AnomalyModelError):
        score_archive(embeddings_table(keys(2), np.eye(5)[:2]), small_model(4), 5.0)
