"""A fitted watermark classifier as an ONNX file, made of the standard's own operators with the package `onnx`."""

import numpy as np

from imgmine.models.watermark.fitting import LEAST, Head

INPUT = "views"
OUTPUT = "probability"
_OPSET = 17


def head_onnx(head: Head) -> bytes:
    """Return the model: `views` float32 (n, 5, dimension) → `probability` float32 (n). Equal heads give equal bytes."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    dimension = len(head.quadrant.weights)

    def constant(name: str, value: object, kind: type = np.float32) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(value, kind), name)

    constants = [
        constant("zero", 0.0),
        constant("least", LEAST),
        constant("whole_at", [0], np.int64),
        constant("quadrants_at", [1, 2, 3, 4], np.int64),
        constant("views_axis", [1, 2], np.int64),
        constant("quadrant_weights", (head.of_quadrant * head.quadrant.weights)[:, None]),
        constant("whole_weights", (head.of_whole * head.whole.weights)[:, None]),
        constant("bias", head.of_quadrant * head.quadrant.bias + head.of_whole * head.whole.bias + head.bias),
    ]
    nodes = [
        helper.make_node("Max", [INPUT, "zero"], ["positive"]),
        helper.make_node("Add", ["positive", "least"], ["raised"]),
        helper.make_node("Log", ["raised"], ["logarithms"]),
        helper.make_node("Gather", ["logarithms", "quadrants_at"], ["quadrants"], axis=1),
        helper.make_node("MatMul", ["quadrants", "quadrant_weights"], ["quadrant_scores"]),
        helper.make_node("ReduceMax", ["quadrant_scores"], ["highest"], axes=[1, 2], keepdims=0),
        helper.make_node("Gather", ["logarithms", "whole_at"], ["whole"], axis=1),
        helper.make_node("MatMul", ["whole", "whole_weights"], ["whole_scores"]),
        helper.make_node("Squeeze", ["whole_scores", "views_axis"], ["whole_score"]),
        helper.make_node("Add", ["highest", "whole_score"], ["both"]),
        helper.make_node("Add", ["both", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], [OUTPUT]),
    ]
    graph = helper.make_graph(
        nodes,
        "watermark",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 5, dimension])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="imgmine")
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
