"""A model is added whole, with its SHA-256 in its card and tried once; or it is refused and nothing changes."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from imgmine.models.adding import Request, add_model
from imgmine.models.cards import ModelError, find_model, load_card
from imgmine.models.embedder import load_embedder
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
        ({"dimension": 768}, r"has the shape \(1, 512\).*dimension is 768"),
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
