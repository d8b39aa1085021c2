"""Models that load, whose ends are what their cards say, and that cannot work."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import NodeProto, helper, numpy_helper

DIMENSION = 512


def declare_batch(model: onnx.ModelProto, size: int) -> None:
    """As an export without dynamic axes has it."""
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = size
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = size


def bake_batch_of_one(model: onnx.ModelProto) -> None:
    """The input's batch is free, and a shape within is not."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, DIMENSION]), "one"))
    _end_with(model, lambda vector, output: [helper.make_node("Reshape", [vector, "one"], [output])])


def give_zeros(model: onnx.ModelProto) -> None:
    _end_with(model, lambda vector, output: [helper.make_node("Sub", [vector, vector], [output])])


def give_ones(model: onnx.ModelProto) -> None:
    _end_with(model, lambda vector, output: [_zeros(vector), helper.make_node("Cos", ["zeros"], [output])])


def give_nan(model: onnx.ModelProto) -> None:
    _end_with(model, lambda vector, output: [_zeros(vector), helper.make_node("Div", ["zeros", "zeros"], [output])])


def spoil(folder: Path, fault: Callable[[onnx.ModelProto], None], *, text: bool = False) -> Path:
    """Put a fault into a tower of a small CLIP, and the SHA-256 of what comes of it into the card."""
    card = yaml.safe_load((folder / "card.yaml").read_text())
    path = folder / (card["text"]["model"] if text else "model.onnx")
    model = onnx.load(str(path))
    fault(model)
    onnx.save(model, str(path))
    (card["text"] if text else card)["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    return folder


def _end_with(model: onnx.ModelProto, nodes: Callable[[str, str], list[NodeProto]]) -> None:
    """Put other nodes in the place of the last one, which only renames the vector."""
    last = model.graph.node.pop()
    model.graph.node.extend(nodes(last.input[0], last.output[0]))


def _zeros(vector: str) -> NodeProto:
    return helper.make_node("Sub", [vector, vector], ["zeros"])
