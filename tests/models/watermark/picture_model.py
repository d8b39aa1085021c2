"""A classifier of whole pictures in the shape of the field's (512 × 512, one logit), made with the package onnx."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from onnx import TensorProto, helper, numpy_helper

SIZE = 512


def picture_model(folder: Path, *, outputs: int = 1, **changes: Any) -> Path:
    """Write a model whose logit is 20 times the mean of the red channel, which is from -1 to 1, and its card."""
    folder.mkdir(parents=True)
    weights = np.zeros((3, outputs), np.float32)
    weights[0] = 20
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixel_values"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logit"]),
    ]
    graph = helper.make_graph(
        nodes,
        "red",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n", outputs])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    data = model.SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    card = {
        "kind": "watermark-picture",
        "name": "red",
        "source": "the tests",
        "licence": "MIT",
        "sha256": hashlib.sha256(data).hexdigest(),
        "input": "pixel_values",
        "layout": "NCHW",
        "size": SIZE,
        "crop": "squash",
        "interpolation": "bilinear",
        "value_range": 1,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "output": "logit",
        "threshold": 0.5,
        **changes,
    }
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    return folder
