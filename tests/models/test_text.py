"""A text tower gives vectors of the pictures' space, from what its card says."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from imgmine.models.cards import ModelError, load_card
from imgmine.models.text import TextEmbedder
from tests.models.small_clip import small_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_clip(tmp_path_factory.mktemp("clip"), text=True)


@pytest.fixture(scope="module")
def embedder(folder: Path) -> TextEmbedder:
    return TextEmbedder(load_card(folder))


def test_a_text_is_a_vector_of_norm_1_whatever_stands_beside_it(embedder: TextEmbedder) -> None:
    texts = [f"a photograph of {number} cats" for number in range(70)]
    vectors = embedder.embed(texts)
    assert vectors.shape == (70, 512)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(embedder.embed(texts[40:41]), vectors[40:41], atol=1e-6)
    assert len(np.unique(vectors.round(4), axis=0)) == 70
    assert embedder.embed([]).shape == (0, 512)


def test_case_does_not_matter_and_a_long_text_loses_its_end(embedder: TextEmbedder) -> None:
    np.testing.assert_array_equal(embedder.embed(["A Cat"]), embedder.embed(["a cat"]))
    long = "word " * 100
    np.testing.assert_allclose(embedder.embed([long]), embedder.embed([long + "and another"]), atol=1e-6)


def test_words_in_another_order_are_another_text(embedder: TextEmbedder) -> None:
    first, second = embedder.embed(["dog bites man", "man bites dog"])
    assert first @ second < 0.9999


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"input": "ids"}, "has the inputs input_ids; its card says ids"),
        ({"attention_mask": "attention_mask"}, "its card says attention_mask, input_ids"),
        ({"output": "pooled"}, "has the outputs text_embeds; its card says pooled"),
        ({"tokenizer_sha256": "0" * 64}, "its card says 000"),
        ({"sha256": "0" * 64}, "its card says 000"),
        ({"context": 100}, "does not take the input"),
    ],
)
def test_a_tower_that_is_not_as_its_card_says_is_refused(
    folder: Path, tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(folder, wrong)
    card = yaml.safe_load((wrong / "card.yaml").read_text())
    (wrong / "card.yaml").write_text(yaml.safe_dump({**card, "text": {**card["text"], **changes}}))
    with pytest.raises(ModelError, match=complaint):
        TextEmbedder(load_card(wrong))


def test_a_model_without_one_says_how_to_add_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no text tower here.*--tokenizer"):
        TextEmbedder(load_card(small_clip(tmp_path)))
