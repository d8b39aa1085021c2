"""ONNX files of CLIP's true architecture with random weights: for whoever has none of the weights.

    python bench/random_weights/clip_onnx.py clip-vit-b-32 FOLDER [--text]

FOLDER becomes a model folder: `model.onnx`, its card, and with --text the text tower and a tokenizer of single bytes.
Layers, widths, operators and parameter counts are those of the published model (image towers: B/32 87.8, B/16 86.2,
L/14 304.0 million), so that time and memory are true; what such a model says of a picture is not. Seed 0 unless said.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from imgmine.models.cards import CARD_FILE, MODEL_FILE, shipped_card

_OPSET = 17
_IR_VERSION = 8
VOCABULARY = 49_408
CONTEXT = 77


@dataclass(frozen=True)
class Tower:
    """A transformer: `layers` blocks over tokens of `width` numbers, projected to `dimension` at the end."""

    width: int
    layers: int
    heads: int
    dimension: int


@dataclass(frozen=True)
class Architecture:
    """CLIP: an image tower over `patch` × `patch` pixels of a `size` × `size` picture, and a text tower."""

    size: int
    patch: int
    image: Tower
    text: Tower


ARCHITECTURES = {
    "clip-vit-b-32": Architecture(224, 32, Tower(768, 12, 12, 512), Tower(512, 12, 8, 512)),
    "clip-vit-b-16": Architecture(224, 16, Tower(768, 12, 12, 512), Tower(512, 12, 8, 512)),
    "clip-vit-l-14": Architecture(224, 14, Tower(1024, 24, 16, 768), Tower(768, 12, 12, 768)),
}


class _Graph:
    """Nodes and weights under construction; each method adds an operator and returns the name of its output."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.parameters = 0
        self._rng = np.random.default_rng(seed)
        self._names = 0

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        self._names += 1
        output = f"{kind.lower()}_{self._names}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, values: np.ndarray) -> str:
        self._names += 1
        name = f"constant_{self._names}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def numbers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def weight(self, *shape: int, deviation: float, mean: float = 0.0) -> str:
        self.parameters += int(np.prod(shape))
        values = self._rng.standard_normal(shape, np.float32)
        values *= np.float32(deviation)
        values += np.float32(mean)
        return self.constant(values)

    def linear(self, x: str, inputs: int, outputs: int, *, bias: bool = True) -> str:
        product = self.op("MatMul", x, self.weight(inputs, outputs, deviation=inputs**-0.5))
        return self.op("Add", product, self.weight(outputs, deviation=0.02)) if bias else product

    def norm(self, x: str, width: int) -> str:
        scale, shift = self.weight(width, deviation=0.05, mean=1.0), self.weight(width, deviation=0.02)
        return self.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-5)

    def block(self, x: str, tower: Tower, mask: str | None) -> str:
        x = self.op("Add", x, self._attention(self.norm(x, tower.width), tower, mask))
        hidden = self.linear(self.norm(x, tower.width), tower.width, 4 * tower.width)
        # QuickGELU, as in the published models.
        gate = self.op("Sigmoid", self.op("Mul", hidden, self.constant(np.array(1.702, np.float32))))
        return self.op("Add", x, self.linear(self.op("Mul", hidden, gate), 4 * tower.width, tower.width))

    def _attention(self, x: str, tower: Tower, mask: str | None) -> str:
        each = tower.width // tower.heads

        def heads(x: str, perm: list[int]) -> str:
            split = self.op("Reshape", self.linear(x, tower.width, tower.width), self.numbers(0, 0, tower.heads, each))
            return self.op("Transpose", split, perm=perm)

        queries = self.op("Mul", heads(x, [0, 2, 1, 3]), self.constant(np.array(each**-0.5, np.float32)))
        scores = self.op("MatMul", queries, heads(x, [0, 2, 3, 1]))
        if mask is not None:
            scores = self.op("Add", scores, mask)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), heads(x, [0, 2, 1, 3]))
        joined = self.op("Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), self.numbers(0, 0, tower.width))
        return self.linear(joined, tower.width, tower.width)

    def save(self, path: Path, inputs: onnx.ValueInfoProto, output: str, dimension: int) -> None:
        ends = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", dimension])]
        graph = helper.make_graph(self.nodes, "clip", [inputs], ends, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        onnx.save(model, str(path))


def image_tower(architecture: Architecture, path: Path, seed: int = 0) -> int:
    """Write the image tower (`pixel_values` → `image_embeds`); return its number of parameters."""
    tower, patch = architecture.image, architecture.patch
    patches = (architecture.size // patch) ** 2
    graph = _Graph(seed)
    kernel = graph.weight(tower.width, 3, patch, patch, deviation=(3 * patch * patch) ** -0.5)
    grid = graph.op("Conv", "pixel_values", kernel, kernel_shape=[patch, patch], strides=[patch, patch])
    flat = graph.op("Reshape", grid, graph.numbers(0, tower.width, patches))
    tokens = graph.op("Transpose", flat, perm=[0, 2, 1])
    batch = graph.op("Slice", graph.op("Shape", tokens), graph.numbers(0), graph.numbers(1))
    shape = graph.op("Concat", batch, graph.numbers(1, tower.width), axis=0)
    head = graph.op("Expand", graph.weight(1, 1, tower.width, deviation=tower.width**-0.5), shape)
    x = graph.op("Concat", head, tokens, axis=1)
    x = graph.op("Add", x, graph.weight(1, patches + 1, tower.width, deviation=tower.width**-0.5))
    x = graph.norm(x, tower.width)
    for _ in range(tower.layers):
        x = graph.block(x, tower, None)
    pooled = graph.op("Gather", x, graph.constant(np.array(0, np.int64)), axis=1)
    projected = graph.linear(graph.norm(pooled, tower.width), tower.width, tower.dimension, bias=False)
    graph.nodes.append(helper.make_node("Identity", [projected], ["image_embeds"]))
    size = architecture.size
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, size, size])
    graph.save(path, pixels, "image_embeds", tower.dimension)
    return graph.parameters


def text_tower(architecture: Architecture, path: Path, seed: int = 0) -> int:
    """Write the text tower (`input_ids` → `text_embeds`); return its number of parameters."""
    tower = architecture.text
    graph = _Graph(seed)
    x = graph.op("Gather", graph.weight(VOCABULARY, tower.width, deviation=0.02), "input_ids", axis=0)
    length = graph.op("Slice", graph.op("Shape", "input_ids"), graph.numbers(1), graph.numbers(2))
    places = graph.weight(CONTEXT, tower.width, deviation=0.01)
    x = graph.op("Add", x, graph.op("Slice", places, graph.numbers(0), length, graph.numbers(0)))
    triangle = graph.constant(np.triu(np.full((CONTEXT, CONTEXT), -1e9, np.float32), 1))
    ends = graph.op("Concat", length, length, axis=0)
    mask = graph.op("Slice", triangle, graph.numbers(0, 0), ends, graph.numbers(0, 1))
    for _ in range(tower.layers):
        x = graph.block(x, tower, mask)
    x = graph.norm(x, tower.width)
    # The end of the text is the highest id of the vocabulary; its first place is where the text's vector is.
    end = graph.op("ArgMax", "input_ids", axis=1, keepdims=1)
    places_of_ends = graph.op("Unsqueeze", end, graph.numbers(2))
    batch = graph.op("Slice", graph.op("Shape", "input_ids"), graph.numbers(0), graph.numbers(1))
    shape = graph.op("Concat", batch, graph.numbers(1, tower.width), axis=0)
    pooled = graph.op("GatherElements", x, graph.op("Expand", places_of_ends, shape), axis=1)
    squeezed = graph.op("Squeeze", pooled, graph.numbers(1))
    projected = graph.linear(squeezed, tower.width, tower.dimension, bias=False)
    graph.nodes.append(helper.make_node("Identity", [projected], ["text_embeds"]))
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    graph.save(path, ids, "text_embeds", tower.dimension)
    return graph.parameters


def byte_tokenizer() -> str:
    """Return a `tokenizer.json` that is CLIP's but for its merges: lower case, bytes, and CLIP's two marks."""
    letters = [chr(code) for code in _byte_letters()]
    vocabulary = {token: number for number, token in enumerate([*letters, *(f"{letter}</w>" for letter in letters)])}
    marks = {"<|startoftext|>": VOCABULARY - 2, "<|endoftext|>": VOCABULARY - 1}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": True}
    content: dict[str, object] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": mark, **flags} for mark, number in marks.items()],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "WhitespaceSplit"},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": ["<|endoftext|>", marks["<|endoftext|>"]],
            "cls": ["<|startoftext|>", marks["<|startoftext|>"]],
            "trim_offsets": False,
            "add_prefix_space": False,
        },
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<|endoftext|>",
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
            "fuse_unk": False,
            "vocab": {**vocabulary, **marks},
            "merges": [],
        },
    }
    return json.dumps(content, ensure_ascii=False)


def _byte_letters() -> Iterator[int]:
    """The code points by which byte-level tokenizers write the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    yield from printable
    yield from range(256, 256 + 256 - len(printable))


def shallow(architecture: Architecture, layers: int) -> Architecture:
    """Return the architecture with another depth of both towers."""
    return replace(
        architecture, image=replace(architecture.image, layers=layers), text=replace(architecture.text, layers=layers)
    )


def make_model(
    name: str, folder: Path, *, text: bool = False, seed: int = 0, architecture: Architecture | None = None
) -> int:
    """Make a model folder with a shipped card; return the parameters of the image tower.

    The architecture is the card's own where none is given.
    """
    architecture = architecture or ARCHITECTURES[name]
    folder.mkdir(parents=True, exist_ok=True)
    parameters = image_tower(architecture, folder / MODEL_FILE, seed)
    card = yaml.safe_load((shipped_card(name) / CARD_FILE).read_text(encoding="utf-8"))
    card |= {"source": f"bench/random_weights/clip_onnx.py, random weights of seed {seed}", "licence": "CC0-1.0"}
    card["sha256"] = _sha256(folder / MODEL_FILE)
    if text:
        text_tower(architecture, folder / card["text"]["model"], seed + 1)
        (folder / card["text"]["tokenizer"]).write_text(byte_tokenizer(), encoding="utf-8")
        card["text"]["sha256"] = _sha256(folder / card["text"]["model"])
        card["text"]["tokenizer_sha256"] = _sha256(folder / card["text"]["tokenizer"])
    else:
        card.pop("text", None)
    (folder / CARD_FILE).write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")
    return parameters


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=ARCHITECTURES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--text", action="store_true", help="the text tower and a tokenizer too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, help="another depth than the true one")
    arguments = parser.parse_args()
    architecture = ARCHITECTURES[arguments.model]
    if arguments.layers is not None:
        architecture = shallow(architecture, arguments.layers)
    parameters = make_model(
        arguments.model, arguments.folder, text=arguments.text, seed=arguments.seed, architecture=architecture
    )
    print(f"{arguments.folder}: {parameters:,} parameters in the image tower")


if __name__ == "__main__":
    main()
