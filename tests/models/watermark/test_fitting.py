"""Fitting a classifier of views, and its ONNX file."""

from pathlib import Path

import numpy as np
import pytest

from imgmine.models.cards import ModelError
from imgmine.models.embedder import Embedder
from imgmine.models.vectors import normalise
from imgmine.models.watermark.cards import ViewsCard, load_classifier_card
from imgmine.models.watermark.classifier import ViewsHead
from imgmine.models.watermark.fitting import Examples, Head, auc, fit_head, fit_whole, threshold_at
from imgmine.models.watermark.onnx_head import head_onnx
from imgmine.models.watermark.train import write_model

DIMENSION = 1280


def planted(seed: int, count: int = 300) -> Examples:
    """Views of which a mark raises some components in one quadrant, and none in the whole."""
    rng = np.random.default_rng(seed)
    views = np.abs(rng.normal(size=(count, 5, DIMENSION)))
    marked = np.arange(count) % 2 == 1
    quadrants = np.zeros((count, 4))
    places = rng.integers(4, size=count)
    quadrants[marked, places[marked]] = 1
    views[marked, 1 + places[marked], :60] *= 1.8
    flat = normalise(views.reshape(-1, DIMENSION))
    return Examples(flat.reshape(views.shape).astype(np.float16), marked, quadrants)


@pytest.fixture(scope="module")
def head() -> Head:
    return fit_head(planted(0), planted(1))


def test_a_mark_in_one_quadrant_is_found_which_the_whole_does_not_show(head: Head) -> None:
    unseen = planted(2)
    scores = head.scores(unseen.views)
    assert auc(scores[~unseen.marked], scores[unseen.marked]) > 0.95
    whole = fit_whole(planted(0), planted(1)).scores(unseen.views[:, 0])
    assert auc(whole[~unseen.marked], whole[unseen.marked]) < 0.7


def test_which_quadrant_it_is_in_does_not_matter(head: Head) -> None:
    views = planted(2).views
    turned = np.concatenate([views[:, :1], views[:, [4, 3, 2, 1]]], axis=1)
    assert np.array_equal(head.probabilities(views), head.probabilities(turned))


def test_the_onnx_file_gives_the_same_probabilities_and_the_same_head_the_same_bytes(
    head: Head, embedder: Embedder, tmp_path: Path
) -> None:
    write_model(tmp_path, head, embedder, 0.5, {"test_auc": 0.9})
    card = load_classifier_card(tmp_path)
    assert isinstance(card, ViewsCard)
    assert card.report == {"test_auc": 0.9}
    views = planted(2).views.astype(np.float32)
    assert np.abs(ViewsHead(card).probabilities(views) - head.probabilities(views)).max() < 1e-5
    assert head_onnx(head) == (tmp_path / "model.onnx").read_bytes()
    # Fitted again, it is the same head.
    assert head_onnx(fit_head(planted(0), planted(1))) == head_onnx(head)


def test_a_card_of_another_dimension_is_refused(head: Head, embedder: Embedder, tmp_path: Path) -> None:
    path = write_model(tmp_path, head, embedder, 0.5, {})
    path.write_text(path.read_text().replace("dimension: 1280", "dimension: 512"))
    card = load_classifier_card(tmp_path)
    assert isinstance(card, ViewsCard)
    with pytest.raises(ModelError, match=r"model\.onnx is not what its card says"):
        ViewsHead(card)


def test_the_threshold_leaves_the_share_of_false_alarms_that_is_asked_for() -> None:
    assert threshold_at(np.linspace(0, 1, 101), 0.1) == 0.9
    assert threshold_at(np.zeros(10), 0.1) == 0.01
