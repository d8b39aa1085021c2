"""A model is added whole, with its SHA-256 in its card and tried once; or it is refused and nothing changes."""

import hashlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml

from imgmine.models.adding import Request, add_model
from imgmine.models.cards import ModelError, find_model, load_card
from imgmine.models.embedder import load_embedder
from tests.models.faulty_model import bake_batch_of_one, declare_batch, give_nan, give_ones, give_zeros, spoil
from tests.models.hub_server import REVISION, hub_server
from tests.models.small_clip import small_clip

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_clip(tmp_path_factory.mktemp("clip"), text=True)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def changed(made: Path, folder: Path, **changes: Any) -> Path:
    """A copy of the model's folder with other values in its card."""
    shutil.copytree(made, folder)
    card = yaml.safe_load((folder / "card.yaml").read_text())
    (folder / "card.yaml").write_text(yaml.safe_dump({**card, **changes}))
    return folder


def test_a_folder_is_added_and_found_by_its_name(made: Path, models: Path) -> None:
    added = add_model(Request(str(made)), models, NOWHERE)
    assert added.vouched == "its card"
    assert added.card.version == load_card(made).version
    assert added.card.folder == models / "clip-vit-b-32" == find_model("clip-vit-b-32", models)
    assert load_embedder("clip-vit-b-32", models=models).card.dimension == 512
    assert [path.name for path in models.iterdir()] == ["clip-vit-b-32"]
    assert add_model(Request(str(made)), models, NOWHERE).card == added.card, "adding it again changes nothing"


def test_a_file_is_added_with_a_shipped_card_and_pinned_by_its_sha256(made: Path, models: Path) -> None:
    added = add_model(Request(str(made / "model.onnx"), card="clip-vit-b-16"), models, NOWHERE)
    assert added.vouched is None
    assert added.card.name == "clip-vit-b-16"
    assert added.card.licence == "MIT"
    assert added.card.sha256 == sha256(made / "model.onnx")
    assert added.card.text is None, "no text tower was given"
    (models / "clip-vit-b-16/model.onnx").write_bytes(b"another")
    with pytest.raises(ModelError, match="its card says"):
        load_embedder("clip-vit-b-16", models=models)


def test_a_sha256_may_be_in_upper_case(made: Path, models: Path) -> None:
    digest = sha256(made / "model.onnx")
    added = add_model(Request(str(made / "model.onnx"), "clip-vit-b-32", sha256=digest.upper()), models, NOWHERE)
    assert added.vouched == "--sha256"
    assert added.card.sha256 == digest


def test_a_file_of_the_hub_is_added_with_its_text_tower(made: Path, models: Path) -> None:
    names = {"onnx/vision.onnx": "model.onnx", "onnx/text.onnx": "text_model.onnx", "tokenizer.json": "tokenizer.json"}
    with hub_server({f"o/n/{there}": (made / here).read_bytes() for there, here in names.items()}) as hub:
        at = f"hf:o/n@{REVISION}"
        request = Request(f"{at}/onnx/vision.onnx", "clip-vit-b-32", f"{at}/onnx/text.onnx", f"{at}/tokenizer.json")
        added = add_model(request, models, hub.url)
    assert added.vouched == "the hub"
    assert added.card.source.endswith(f"; {at}/onnx/vision.onnx")
    assert added.card.text is not None
    assert added.card.text.sha256 == sha256(made / "text_model.onnx")
    assert [path.name for path in models.iterdir()] == ["clip-vit-b-32"], "no download is left"


def test_a_card_file_serves_as_a_card(made: Path, models: Path, tmp_path: Path) -> None:
    folder = changed(made, tmp_path / "own", name="of-my-own")
    add_model(Request(str(folder / "model.onnx"), card=str(folder / "card.yaml")), models, NOWHERE)
    assert load_card(models / "of-my-own").name == "of-my-own"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"dimension": 768}, r"has the shape \(2, 512\).*dimension is 768"),
        ({"input": "pixels"}, "has the inputs pixel_values; its card says pixels"),
        ({"output": "pooler_output"}, "has the outputs image_embeds; its card says pooler_output"),
        ({"size": 336, "resize": 336}, "does not take the input that its card describes"),
        ({"sha256": "0" * 64}, "has SHA-256 .* its card says 000"),
        ({"name": "efficientnet-lite0"}, "comes with imgmine"),
        ({"name": "../elsewhere"}, "name is '../elsewhere'"),
    ],
)
def test_a_folder_whose_card_does_not_fit_is_refused_and_leaves_nothing(
    made: Path, models: Path, tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ModelError, match=complaint):
        add_model(Request(str(changed(made, tmp_path / "wrong", **changes))), models, NOWHERE)
    assert not models.exists() or not list(models.iterdir())


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (partial(declare_batch, size=1), "takes pictures in batches of 1 and no others: its batch must be free"),
        (partial(declare_batch, size=2), "takes pictures in batches of 2 and no others: its batch must be free"),
        (bake_batch_of_one, "takes pictures one at a time, and fails with more: its batch must be free"),
        (give_ones, "gives the same vector for every picture"),
        (give_zeros, "a vector that is zero or not finite"),
        (give_nan, "a vector that is zero or not finite"),
    ],
)
def test_a_model_that_cannot_work_is_refused(
    tmp_path: Path, models: Path, fault: Callable[[onnx.ModelProto], None], complaint: str
) -> None:
    folder = spoil(small_clip(tmp_path / "faulty"), fault)
    with pytest.raises(ModelError, match=complaint):
        add_model(Request(str(folder)), models, NOWHERE)
    assert not list(models.iterdir())


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (partial(declare_batch, size=1), "takes texts in batches of 1 and no others: its batch must be free"),
        (give_ones, "gives the same vector for every text"),
        (give_nan, "a vector that is zero or not finite"),
    ],
)
def test_a_text_tower_that_cannot_work_is_refused(
    tmp_path: Path, models: Path, fault: Callable[[onnx.ModelProto], None], complaint: str
) -> None:
    folder = spoil(small_clip(tmp_path / "faulty", text=True), fault, text=True)
    with pytest.raises(ModelError, match=rf"text_model\.onnx.*{complaint}"):
        add_model(Request(str(folder)), models, NOWHERE)
    assert not list(models.iterdir())


def test_errors_name_what_was_given_and_not_a_draft_of_it(made: Path, models: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.write_text("neither a model nor a tokenizer")
    weights, text, tokenizer = (str(made / name) for name in ("model.onnx", "text_model.onnx", "tokenizer.json"))
    wrong = changed(made, tmp_path / "wrong", output="pooled")
    with hub_server({"o/n/model.onnx": notes.read_bytes()}) as hub:
        fetched = f"hf:o/n@{REVISION}/model.onnx"
        for request, named in (
            (Request(str(notes), "clip-vit-b-32"), str(notes)),
            (Request(str(wrong)), str(wrong / "model.onnx")),
            (Request(fetched, "clip-vit-b-32"), fetched),
            (Request(weights, "clip-vit-b-32", fetched, tokenizer), fetched),
            (Request(weights, "clip-vit-b-32", text, str(notes)), str(notes)),
            (Request(weights, str(made / "card.yaml"), fetched, tokenizer), fetched),  # which has a SHA-256
        ):
            with pytest.raises(ModelError) as refused:
                add_model(request, models, hub.url)
            assert str(refused.value).startswith(f"{named} ")
            assert str(models) not in str(refused.value)


def test_sources_that_are_no_models_are_refused(made: Path, models: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.onnx").write_text("not a model")
    for request, complaint in (
        (Request(str(tmp_path)), r"has no card\.yaml and no model\.onnx"),
        (Request(str(tmp_path / "nothing.onnx"), card="clip-vit-b-32"), "neither a folder, nor a file"),
        (Request(str(made / "model.onnx")), "needs a card"),
        (Request(str(made / "model.onnx"), card="clip-vit-b-61"), "No card named 'clip-vit-b-61'"),
        (Request(str(made), card="clip-vit-b-32"), "leave --card out"),
        (Request(str(tmp_path / "notes.onnx"), card="clip-vit-b-32"), "cannot be loaded by onnxruntime"),
        (Request(str(made / "model.onnx"), card="clip-vit-b-32", sha256="0" * 64), "--sha256 says 000"),
        (Request(str(made / "model.onnx"), card="clip-vit-b-32", tokenizer="x"), "both --text-model and --tokenizer"),
        (Request("hf:o/n@main/model.onnx", card="clip-vit-b-32"), "'main' is no commit"),
    ):
        with pytest.raises(ModelError, match=complaint):
            add_model(request, models, NOWHERE)


def test_another_model_of_the_name_stays_unless_it_is_to_be_replaced(made: Path, models: Path, tmp_path: Path) -> None:
    first = add_model(Request(str(made)), models, NOWHERE).card.version
    other = small_clip(tmp_path / "other", seed=1)
    with pytest.raises(ModelError, match="another model of that name"):
        add_model(Request(str(other)), models, NOWHERE)
    assert load_card(models / "clip-vit-b-32").version == first
    add_model(Request(str(other)), models, NOWHERE, replace=True)
    assert load_card(models / "clip-vit-b-32").version != first


def test_a_text_tower_stays_unless_it_is_to_be_replaced(made: Path, models: Path, tmp_path: Path) -> None:
    first = add_model(Request(str(made)), models, NOWHERE).card
    other = small_clip(tmp_path / "other", text=True, seed=1)
    without = changed(made, tmp_path / "without")
    card = yaml.safe_load((without / "card.yaml").read_text())
    card.pop("text")
    (without / "card.yaml").write_text(yaml.safe_dump(card))
    (tmp_path / "own.yaml").write_text(
        yaml.safe_dump(card | {"text": yaml.safe_load((other / "card.yaml").read_text())["text"]})
    )
    another = Request(
        str(made / "model.onnx"),
        str(tmp_path / "own.yaml"),
        str(other / "text_model.onnx"),
        str(other / "tokenizer.json"),
    )
    for request, lost in (
        (Request(str(without)), r"text_model\.onnx, tokenizer\.json, text \(card\.yaml\)"),
        (another, r"text_model\.onnx, text \(card\.yaml\)"),
    ):
        with pytest.raises(ModelError, match=f"another model of that name.* lost or changed: {lost}"):
            add_model(request, models, NOWHERE)
        assert load_card(models / "clip-vit-b-32") == first
        assert sha256(models / "clip-vit-b-32/text_model.onnx") == sha256(made / "text_model.onnx")
    assert add_model(Request(str(made)), models, NOWHERE).card == first, "the very same is no loss"
    assert add_model(Request(str(without)), models, NOWHERE, replace=True).card.text is None
    assert not (models / "clip-vit-b-32/text_model.onnx").exists()
    assert add_model(Request(str(made)), models, NOWHERE).card == first, "nor is a text tower where there was none"


def test_what_else_is_in_a_models_folder_stays_unless_it_is_to_be_replaced(made: Path, models: Path) -> None:
    folder = add_model(Request(str(made)), models, NOWHERE).card.folder
    (folder / "notes").mkdir()
    (folder / "notes/mine.txt").write_text("what I found")
    with pytest.raises(ModelError, match=r"lost or changed: notes/mine\.txt\. Add --replace"):
        add_model(Request(str(made)), models, NOWHERE)
    (folder / "card.yaml").write_text("[")
    with pytest.raises(ModelError, match=r"lost or changed: notes/mine\.txt, card\.yaml\."):
        add_model(Request(str(made)), models, NOWHERE)
    assert (folder / "notes/mine.txt").read_text() == "what I found"
    add_model(Request(str(made)), models, NOWHERE, replace=True)
    assert not (folder / "notes").exists()


def test_a_model_comes_back_where_a_kill_came_before_its_replacement(made: Path, models: Path, tmp_path: Path) -> None:
    add_model(Request(str(made)), models, NOWHERE)
    (models / ".former").mkdir()
    (models / "clip-vit-b-32").replace(models / ".former/clip-vit-b-32")  # as far as the kill let it go
    other = small_clip(tmp_path / "other", seed=1)
    with pytest.raises(ModelError, match="another model of that name"):
        add_model(Request(str(other)), models, NOWHERE)
    assert load_card(models / "clip-vit-b-32").version == load_card(made).version
    version = add_model(Request(str(other)), models, NOWHERE, replace=True).card.version
    assert version == load_card(other).version
    assert [path.name for path in models.iterdir()] == ["clip-vit-b-32"]


def test_a_shipped_card_without_weights_says_how_to_get_them(models: Path) -> None:
    with pytest.raises(ModelError, match=r"only its card.*imgmine models add FILE\.onnx --card clip-vit-l-14"):
        load_embedder("clip-vit-l-14", models=models)
