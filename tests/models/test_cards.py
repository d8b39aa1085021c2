"""A card is read whole and strictly, or refused with the key at fault."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import helper, numpy_helper

from imgmine.models import cards
from imgmine.models.cards import Crop, Interpolation, ModelError, built_in_models, find_model, load_card

WEIGHTS = b"not really a model, but bytes with a digest"
CARD: dict[str, Any] = {
    "name": "made-up",
    "source": "a test",
    "licence": "CC0-1.0",
    "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
    "input": "pixels",
    "layout": "NCHW",
    "size": 224,
    "resize": 256,
    "crop": "centre",
    "interpolation": "bilinear",
    "value_range": 1,
    "mean": [0.48, 0.46, 0.41],
    "std": [0.27, 0.26, 0.28],
    "output": "embedding",
    "dimension": 512,
    "normalisation": "l2",
}


def model_folder(folder: Path, **changes: Any) -> Path:
    """Write a model folder whose card differs from `CARD` by these; a key set to None is left out."""
    content = {key: value for key, value in {**CARD, **changes}.items() if value is not None}
    (folder / "card.yaml").write_text(yaml.safe_dump(content))
    (folder / "model.onnx").write_bytes(WEIGHTS)
    return folder


def test_a_card_is_read_as_written(tmp_path: Path) -> None:
    card = load_card(model_folder(tmp_path))
    assert (card.name, card.size, card.resize, card.dimension) == ("made-up", 224, 256, 512)
    assert card.crop is Crop.CENTRE
    assert card.interpolation is Interpolation.BILINEAR
    assert card.mean == (0.48, 0.46, 0.41)
    assert card.model_path == tmp_path / "model.onnx"


def test_the_embedded_model_is_found_by_name_and_is_what_its_card_says() -> None:
    assert "efficientnet-lite0" in built_in_models()
    card = load_card(find_model("efficientnet-lite0"))
    assert card.dimension == 1280
    assert card.licence == "Apache-2.0"
    text = (card.folder / "MODEL_CARD.md").read_text()
    assert card.sha256 in text
    assert card.licence in text


def test_a_model_is_found_by_its_folder(tmp_path: Path) -> None:
    assert find_model(model_folder(tmp_path)) == tmp_path.resolve()
    assert find_model(str(tmp_path)) == tmp_path.resolve()


def test_a_name_that_is_neither_is_refused_with_the_names_that_are(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"efficientnet-lite0.*is not a folder"):
        find_model("clip-vit-b-61")
    with pytest.raises(ModelError, match=r"has no card\.yaml"):
        find_model(tmp_path)


@pytest.mark.parametrize("key", CARD)
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(ModelError, match=rf"card.yaml lacks {key}[.:]"):
        load_card(model_folder(tmp_path, **{key: None}))


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not know: colour"):
        load_card(model_folder(tmp_path, colour="RGB"))


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("name", "", "a name of at most 64 letters"),
        ("name", "../elsewhere", "a name of at most 64 letters"),
        ("source", "", "a text"),
        ("size", 0, "a whole number above 0"),
        ("size", 224.5, "a whole number above 0"),
        ("size", True, "a whole number above 0"),
        ("crop", "center", "one of centre, squash"),
        ("interpolation", "cubic", "one of bilinear, bicubic, lanczos"),
        ("layout", "NHWC", "one of NCHW"),
        ("normalisation", "none", "one of l2"),
        ("value_range", -1, "a number above 0"),
        ("mean", 0.5, "three numbers"),
        ("mean", [0.5, 0.5], "three numbers"),
        ("mean", [0.5, "0.5", 0.5], "a number"),
        ("std", [0.5, 0, 0.5], "a number above 0"),
        ("std", [0.5, float("nan"), 0.5], "a finite number"),
        ("std", [0.5, float("inf"), 0.5], "a finite number"),
        ("mean", [0.5, float("-inf"), 0.5], "a finite number"),
        ("value_range", float("nan"), "a finite number"),
        pytest.param("value_range", 10**400, "a finite number", id="value_range-too-long"),
        ("sha256", "A0", "64 hexadecimal digits in lower case"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_is_wanted(
    tmp_path: Path, key: str, value: object, wanted: str
) -> None:
    with pytest.raises(ModelError, match=rf"{key} is .*{wanted}"):
        load_card(model_folder(tmp_path, **{key: value}))


def test_sizes_that_contradict_one_another_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="less than the size"):
        load_card(model_folder(tmp_path, resize=200))
    with pytest.raises(ModelError, match="with crop: squash"):
        load_card(model_folder(tmp_path, crop="squash"))


def test_weights_of_another_digest_are_refused(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    (folder / "model.onnx").write_bytes(WEIGHTS + b"!")
    with pytest.raises(ModelError, match=f"its card says {CARD['sha256']}"):
        load_card(folder)


def test_weights_in_files_that_the_digest_does_not_cover_are_refused(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    path = folder / "model.onnx"
    weights = [numpy_helper.from_array(np.ones((64, 64), np.float32), "weights")]
    graph = helper.make_graph([], "g", [], [], weights)
    for outside in (False, True):
        onnx.save_model(helper.make_model(graph), path, save_as_external_data=outside, location="model.onnx_data")
        content = {**CARD, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        (folder / "card.yaml").write_text(yaml.safe_dump(content))
        if outside:
            assert (folder / "model.onnx_data").stat().st_size == 64 * 64 * 4
            with pytest.raises(ModelError, match="has weights in other files"):
                load_card(folder)
        else:
            load_card(folder)


def test_absent_weights_are_told_with_where_they_come_from(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"No such file.*comes from a test"):
        load_card(folder)


@pytest.mark.parametrize("content", [b"name: [", b"- a\n- b\n", b"", b"\xff\xfe\x00"])
def test_a_card_that_is_no_card_is_refused(tmp_path: Path, content: bytes) -> None:
    (model_folder(tmp_path) / "card.yaml").write_bytes(content)
    with pytest.raises(ModelError, match=r"card\.yaml"):
        load_card(tmp_path)


def test_the_version_changes_with_what_a_vector_depends_on_and_with_nothing_else(tmp_path: Path) -> None:
    card = load_card(model_folder(tmp_path))
    assert card.version.startswith("made-up-")
    assert replace(card, folder=Path("elsewhere"), source="another mirror").version == card.version
    changed = [replace(card, mean=(0.5, 0.5, 0.5)), replace(card, sha256="0" * 64), replace(card, crop=Crop.SQUASH)]
    assert len({card.version, *(other.version for other in changed)}) == 4


def test_other_code_is_another_version_and_what_was_published_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "VECTORS_CODE", "3")
    assert load_card(model_folder(tmp_path)).version != "made-up-2edf47d009ca"
    monkeypatch.undo()
    assert load_card(model_folder(tmp_path)).version == "made-up-2edf47d009ca"
