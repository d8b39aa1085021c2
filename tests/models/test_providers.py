"""What runs a model: the best that is there, or what is asked for, or an error that says what is there."""

from pathlib import Path

import pytest

from imgmine.models.cards import ModelError, find_model
from imgmine.models.embedder import load_embedder
from imgmine.models.providers import Provider, available_providers, open_session

LITE = find_model("efficientnet-lite0") / "model.onnx"


def test_a_processor_is_always_there_and_comes_last() -> None:
    assert available_providers()[-1] is Provider.CPU


def test_what_is_asked_for_runs_the_model() -> None:
    _, provider = open_session(LITE, [Provider.CPU])
    assert provider is Provider.CPU
    assert load_embedder("efficientnet-lite0", providers=[Provider.CPU]).provider is Provider.CPU


def test_without_a_wish_the_best_that_is_there_runs_it() -> None:
    _, provider = open_session(LITE)
    assert provider is available_providers()[0]


def test_what_is_not_there_is_refused_with_what_is() -> None:
    missing = [provider for provider in Provider if provider not in available_providers()]
    if not missing:
        pytest.skip("this machine has every provider")
    with pytest.raises(ModelError, match=f"asks for {missing[0]}; this installation has .*cpu"):
        load_embedder("efficientnet-lite0", providers=missing[:1])


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be loaded by onnxruntime"):
        open_session(tmp_path / "model.onnx")
