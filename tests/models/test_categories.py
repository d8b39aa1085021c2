"""Categories: the list that a person edits, and what tells each category from a vector alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from imgmine.models.cards import ModelError, find_model, load_card
from imgmine.models.categories import Categorizer, NoCategories, categorize_archive, categorizer, zero_shot
from imgmine.models.category_list import CategoryListError, read_categories
from imgmine.models.class_head import FILE, ClassHead
from imgmine.models.embedder import Embedder
from imgmine.models.preprocessing import preprocess, read_picture
from imgmine.models.probe_model import ProbeModel
from imgmine.models.vectors import embeddings_table, normalise
from imgmine.store.tables import CATEGORIES
from tests.models.photographs import photographs, preview
from tests.models.small_clip import small_clip

KEYS = [bytes([number]) * 32 for number in range(4)]
LIST = """
least_probability: 0.6
text_scale: 10
categories:
  one: {prompts: [a, b], imagenet: [0-497]}
  two: {prompts: [c], imagenet: [rest]}
  three: {}
"""


class Letters:
    """Turns each of the texts a, b, c, … into a vector of its own."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return np.eye(4, dtype=np.float32)[[ord(text) - ord("a") for text in texts]]


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "categories.yaml"
    path.write_text(LIST)
    return path


def probes(labels: Sequence[str], weights: Sequence[Sequence[float]]) -> ProbeModel:
    return ProbeModel("m-1", tuple(labels), np.array(weights), np.zeros(len(labels)), {})


def test_the_list_that_comes_with_imgmine_has_the_nine_kinds_with_prompts_for_each() -> None:
    found = read_categories()
    assert set(found.names) == {
        "gta_screenshots", "other_games", "comics", "memes", "websites", "anime", "text", "photographs", "nudity"
    }  # fmt: skip
    assert all(category.prompts for category in found.categories)
    classes = [one for category in found.categories for one in category.imagenet]
    assert sorted(classes) == list(range(1000))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("0-497", "0-1497", "one: '0-1497' is no class"),
        ("0-497", "9-3", "no class"),
        ("0-497", "rest", "named twice: rest"),
        ("[a, b]", "[a, 1]", "one: prompts must be a list of texts"),
        ("three: {}", "three: {colour: red}", "three must have prompts, imagenet or both"),
        ("three: {}", "'no name': {}", "is no name"),
        ("least_probability: 0.6", "least_probability: 2", "least_probability is 2; a number from 0 to 1"),
        ("text_scale", "text_size", "unknown: text_size"),
        (LIST, "categories: {one: {}}", "at least two"),
        (LIST, "[", "not valid YAML"),
        ("three: {}", "one: {}", "one is there twice"),
    ],
)
def test_what_is_wrong_with_a_list_is_told_with_its_file(listed: Path, before: str, after: str, told: str) -> None:
    listed.write_text(LIST.replace(before, after))
    with pytest.raises(CategoryListError, match=told) as raised:
        read_categories(listed)
    assert str(listed) in str(raised.value)


def test_comments_do_not_change_a_list_and_anything_else_does(listed: Path) -> None:
    before = read_categories(listed).digest
    listed.write_text("# a comment\n" + LIST)
    assert read_categories(listed).digest == before
    for old, new in (("0.6", "0.7"), ("10", "11"), ("[c]", "[c, d]"), ("three", "four")):
        listed.write_text(LIST.replace(old, new))
        assert read_categories(listed).digest != before


def test_zero_shot_is_the_softmax_of_the_cosines_to_the_means_of_the_prompts(listed: Path) -> None:
    vectors = normalise(np.array([[1.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    found = zero_shot(vectors, read_categories(listed), Letters())
    assert found[:, 2].tolist() == [0, 0, 0]
    assert found[0, 0] == pytest.approx(1 / (1 + np.exp(-10)))
    assert found[1, 1] == pytest.approx(1 / (1 + np.exp(-10)))
    assert found[2].tolist() == [0.5, 0.5, 0]


def test_each_image_gets_the_likeliest_category_and_what_told_it(listed: Path) -> None:
    by = Categorizer(read_categories(listed), Letters(), None, probes(["three"], [[0, 0, 0, 9.0]]), "")
    table = categorize_archive(embeddings_table(KEYS, np.eye(4, dtype=np.float32)), by)
    assert table.schema.equals(CATEGORIES)
    rows = [(row["category"], row["source"], row["decision"]) for row in table.to_pylist()]
    told = ("one", "zero_shot", "named")
    assert rows == [told, told, ("two", "zero_shot", "named"), ("three", "probe", "named")]


def test_a_probe_takes_the_place_of_texts_and_a_category_that_nothing_tells_is_never_chosen(listed: Path) -> None:
    categories = read_categories(listed)
    by = Categorizer(categories, Letters(), None, probes(["one"], [[0.0, 0, 0, 0]]), "")
    assert by.sources() == {"one": "probe", "two": "zero_shot"}
    vectors = np.eye(4, dtype=np.float32)
    assert by.probabilities(vectors)[:, 0].tolist() == [0.5] * 4
    rows = categorize_archive(embeddings_table(KEYS, vectors), by).to_pylist()
    assert {(row["category"], row["decision"]) for row in rows} == {("one", "unknown"), ("two", "named")}


def test_a_list_without_prompts_is_told_by_probes_alone_though_there_are_texts(listed: Path) -> None:
    listed.write_text("categories:\n  one: {imagenet: [0-497]}\n  two: {imagenet: [rest]}\n")
    by = Categorizer(read_categories(listed), Letters(), None, probes(["one"], [[0.0, 0, 0, 9]]), "")
    assert by.sources() == {"one": "probe"}
    found = by.probabilities(np.eye(4, dtype=np.float32))
    assert found[:, 0].tolist() == pytest.approx([0.5, 0.5, 0.5, 1 / (1 + np.exp(-9))])
    assert found[:, 1].tolist() == [0] * 4


def test_an_empty_archive_has_an_empty_table(listed: Path) -> None:
    by = Categorizer(read_categories(listed), Letters(), None, None, "")
    table = categorize_archive(embeddings_table([], np.empty((0, 4), np.float32)), by)
    assert table.schema.equals(CATEGORIES)
    assert table.num_rows == 0


def test_the_classes_of_stored_vectors_are_those_of_the_models_own_logits(embedder: Embedder) -> None:
    head = ClassHead(embedder.card)
    batch = np.stack([preprocess(read_picture(preview(picture)), embedder.card) for picture in photographs().values()])
    features, logits = embedder._session.run(["feat", "logits"], {"x": batch})
    stored = normalise(features).astype(np.float16).astype(np.float32)
    found = head.probabilities(stored)
    assert found.argmax(axis=1).tolist() == logits.argmax(axis=1).tolist()
    assert np.allclose(found.sum(axis=1), 1, atol=1e-4)
    assert head.probabilities(stored[:0]).shape == (0, 1000)


def test_the_embedded_model_tells_photographs_and_admits_what_it_cannot_tell(embedder: Embedder) -> None:
    by = categorizer(read_categories(), embedder.card, None)
    assert set(by.sources()) == {"comics", "websites", "text", "photographs"}
    vectors = embedder.embed_batch([preview(picture) for picture in photographs().values()])
    keys = [bytes([number]) * 32 for number in range(len(vectors))]
    assert {row["category"] for row in categorize_archive(embeddings_table(keys, vectors), by).to_pylist()} == {
        "photographs"
    }


def test_a_model_with_a_text_tower_is_asked_with_texts(tmp_path: Path) -> None:
    card = load_card(small_clip(tmp_path / "clip", text=True))
    by = categorizer(read_categories(), card, None)
    assert set(by.sources().values()) == {"zero_shot"}
    assert by.texts is not None
    prompts = {category.name: category.prompts[0] for category in by.categories.categories}
    # A picture's vector that is a prompt's own is of that prompt's category.
    vectors = by.texts.embed(list(prompts.values()))
    found = by.probabilities(vectors)
    assert found.shape == (9, 9)
    assert np.allclose(found.sum(axis=1), 1)
    means = normalise(
        np.stack([by.texts.embed(category.prompts).mean(axis=0) for category in by.categories.categories])
    )
    assert found.argmax(axis=1).tolist() == (vectors @ means.T).argmax(axis=1).tolist()
    assert categorizer(read_categories(), card, probes(["memes"], [[0.0] * 512])).digest != by.digest


def test_a_model_that_can_tell_nothing_says_what_to_do(tmp_path: Path) -> None:
    card = load_card(small_clip(tmp_path / "clip"))
    with pytest.raises(NoCategories, match="imgmine label add"):
        categorizer(read_categories(), card, None)
    assert categorizer(read_categories(), card, probes(["memes"], [[0.0] * 512])).sources() == {"memes": "probe"}


def test_a_list_that_names_no_classes_says_so_to_a_model_that_has_them(listed: Path) -> None:
    listed.write_text("categories: {one: {prompts: [a]}, two: {prompts: [b]}}")
    with pytest.raises(NoCategories, match="no category in the list names any"):
        categorizer(read_categories(listed), load_card(find_model("efficientnet-lite0")), None)


def test_a_head_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = small_clip(tmp_path / "clip")
    shipped = find_model("efficientnet-lite0") / FILE
    (folder / FILE).write_text(shipped.read_text())
    with pytest.raises(ModelError, match="which is not this one"):
        ClassHead(load_card(folder))
