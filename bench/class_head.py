"""The classes of ImageNet from stored vectors: makes the head of efficientnet-lite0, and says what the lost norm costs.

python bench/class_head.py                  agreement with the true logits, on the demo's photographs and drawn pictures
python bench/class_head.py --write FOLDER   writes classes.onnx and classes.yaml, as they are beside the model
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import yaml
from anomaly import make_pictures
from onnx import TensorProto, helper, numpy_helper

from imgmine.images.previews import preview_jpeg, reduced
from imgmine.models.cards import file_sha256, find_model, load_card
from imgmine.models.class_head import FILE, ClassHead
from imgmine.models.preprocessing import preprocess, read_picture
from imgmine.models.providers import Provider, open_session

MODEL = "efficientnet-lite0"
WEIGHTS, BIAS = "m._fc.weight", "m._fc.bias"
# The median norm of `feat` over the demo's 79 photographs.
NORM = 13.8


def write_head(folder: Path) -> None:
    """Cut the last layer off model.onnx: norm-1 vector → × NORM → layer → softmax. Weights are stored as float16."""
    card = load_card(find_model(MODEL))
    initializers = {one.name: numpy_helper.to_array(one) for one in onnx.load(card.model_path).graph.initializer}
    weights, bias = initializers[WEIGHTS], initializers[BIAS]
    constants: dict[str, np.ndarray] = {
        "norm": np.array(NORM, np.float32),
        "weights_16": np.ascontiguousarray(weights.T).astype(np.float16),
        "bias": bias,
    }
    nodes = [
        helper.make_node("Cast", ["weights_16"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["embedding", "norm"], ["features"]),
        helper.make_node("Gemm", ["features", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    classes, dimension = weights.shape
    graph = helper.make_graph(
        nodes,
        "classes",
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dimension])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path = folder / "classes.onnx"
    onnx.save(made, str(path))
    about = {
        "model": path.name,
        "sha256": file_sha256(path),
        "embedder_sha256": card.sha256,
        "input": "embedding",
        "output": "probabilities",
        "classes": classes,
    }
    head = "# The last layer of model.onnx, for stored vectors: bench/class_head.py made it.\n"
    (folder / FILE).write_text(head + yaml.safe_dump(about, sort_keys=False))


def measure(seed: int) -> None:
    card = load_card(find_model(MODEL))
    head = ClassHead(card)
    session, _ = open_session(card.model_path, [Provider.CPU])
    photographs: list[bool] = []
    features, logits = [], []
    for number, (kind, _, picture) in enumerate(make_pictures(seed, 0)):
        if kind in ("memes", "damaged") or (kind != "good" and number % 10):
            continue
        batch = preprocess(read_picture(preview_jpeg(reduced(picture))), card)[np.newaxis]
        found = session.run([card.output, "logits"], {card.input: batch})
        photographs.append(kind == "good")
        features.append(found[0][0])
        logits.append(found[1][0])
    is_photograph, vectors = np.array(photographs), np.array(features)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    powers = np.exp(np.array(logits) - np.max(logits, axis=1, keepdims=True))
    true = powers / powers.sum(axis=1, keepdims=True)
    told = head.probabilities((vectors / norms).astype(np.float16).astype(np.float32))
    print(f"{MODEL}, seed {seed}; vectors of norm 1 in float16, as stored\n")
    print("| pictures | n | norm: 5%, median, 95% | same class | highest probability is off by: median | 99% |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, rows in (("photographs", is_photograph), ("drawn, and noise", ~is_photograph)):
        low, middle, high = np.quantile(norms[rows], [0.05, 0.5, 0.95])
        same = (true[rows].argmax(axis=1) == told[rows].argmax(axis=1)).mean()
        median, most = np.quantile(np.abs(true[rows].max(axis=1) - told[rows].max(axis=1)), [0.5, 0.99])
        print(
            f"| {name} | {rows.sum()} | {low:.1f}, {middle:.1f}, {high:.1f} | {same:.1%} | {median:.3f} | {most:.3f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write the head and measure nothing")
    options = parser.parse_args()
    if options.write is not None:
        write_head(options.write)
    else:
        measure(options.seed)


if __name__ == "__main__":
    main()
