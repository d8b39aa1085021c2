"""A quantized model is another model, near the one that it was made from."""

from pathlib import Path

import pytest

from imgmine.models.cards import ModelError, find_model, load_card
from imgmine.models.checking import check_model
from imgmine.models.embedder import load_embedder
from imgmine.models.quantizing import Weights, quantize_model
from tests.models.photographs import photographs, preview
from tests.models.small_clip import small_clip


@pytest.mark.parametrize("weights", [None, Weights.UNSIGNED])
def test_a_quantized_model_is_smaller_near_and_of_another_version(tmp_path: Path, weights: Weights | None) -> None:
    card = load_card(small_clip(tmp_path / "clip", text=True))
    made = quantize_model(card, tmp_path / "models", weights)
    assert made.bytes_after < made.bytes_before
    assert made.cosines.min() > 0.99
    assert made.card.name == "clip-vit-b-32-int8"
    assert made.card.version != card.version
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["clip-vit-b-32-int8"]
    found = check_model(load_embedder("clip-vit-b-32-int8", models=tmp_path / "models"), seconds=0.1)
    assert (found.dimension, found.text) == (512, True)
    assert found.images_per_second > 0


def test_it_is_compared_on_a_folder_of_pictures(tmp_path: Path) -> None:
    pictures, models = tmp_path / "pictures", tmp_path / "models"
    pictures.mkdir()
    card = load_card(small_clip(tmp_path / "clip"))
    with pytest.raises(ModelError, match=f"{pictures} has no files"):
        quantize_model(card, models, pictures=pictures)
    for name in ("coffee", "rocket"):
        (pictures / f"{name}.jpg").write_bytes(preview(photographs()[name]))
    assert len(quantize_model(card, models, pictures=pictures).cosines) == 2
    whole = (pictures / "rocket.jpg").read_bytes()
    for data, fault in ((b"not a picture", "of no format that imgmine reads"), (whole[:5000], "truncated")):
        (pictures / "broken.jpg").write_bytes(data)
        with pytest.raises(ModelError, match=f"{pictures / 'broken.jpg'} is not a picture.*{fault}"):
            quantize_model(card, models, pictures=pictures)


def test_a_model_of_convolutions_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="belong to matrix products"):
        quantize_model(load_card(find_model("efficientnet-lite0")), tmp_path)
    assert not list(tmp_path.iterdir())
