"""Models with weights of 8 bits: a new folder beside the old one, and how near its vectors are.

Only matrix products are quantized; convolutions of 8 bits are slower than of 32 where onnxruntime runs them.
"""

import logging
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from imgmine.models.adding import bring_back, put_in_place
from imgmine.models.cards import CARD_FILE, MODEL_FILE, ModelCard, ModelError, file_sha256, load_card, read_yaml
from imgmine.models.checking import sample_previews
from imgmine.models.embedder import Embedder
from imgmine.models.preprocessing import UnreadablePicture, read_picture

# Where less of a model than this are the weights of matrix products, there is nothing to gain.
_LEAST_SHARE = 1 / 3
_PRODUCTS = ["MatMul", "Gemm"]


class Weights(StrEnum):
    """The type of quantized weights."""

    SIGNED = "QInt8"
    UNSIGNED = "QUInt8"


@dataclass(frozen=True, slots=True)
class Quantized:
    """A quantized model: cosines between its vectors and those of the model that it was made from."""

    card: ModelCard
    weights: Weights
    cosines: np.ndarray
    bytes_before: int
    bytes_after: int


def best_weights() -> Weights:
    """Return the type that this processor multiplies without saturating.

    An x86 processor without VNNI adds two products of 8 bits in 16 bits, which signed weights overflow.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return Weights.SIGNED
    flags = Path("/proc/cpuinfo")
    known = flags.read_text(encoding="utf-8", errors="replace") if flags.is_file() else ""
    return Weights.SIGNED if "avx512_vnni" in known or "avx_vnni" in known else Weights.UNSIGNED


def quantize_model(
    card: ModelCard, models: Path, weights: Weights | None = None, pictures: Path | None = None
) -> Quantized:
    """Make `<name>-int8` of a model in the folder `models`, and compare the two on pictures.

    `pictures` is a folder of nothing else; photographs that come with imgmine by default. Raises `ModelError` where the
    package onnx is not installed, the model has next to no matrix products, or the folder has no pictures or something
    else.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError:
        raise ModelError("Quantizing needs the package onnx: pip install 'imgmine[quantize]'.") from None
    if (share := _share_of_products(onnx.load(str(card.model_path)).graph)) < _LEAST_SHARE:
        raise ModelError(
            f"Of the weights of {card.name} only {share:.0%} belong to matrix products, and only those are quantized. "
            "It is left as it is."
        )
    compared = sample_previews() if pictures is None else _pictures_in(pictures)
    weights = weights or best_weights()
    name = f"{card.name}-int8"
    draft, target = models / ".drafts" / name, models / name
    bring_back(target)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        # onnxruntime writes beside what it reads.
        shutil.copyfile(card.model_path, draft / "float.onnx")
        logging.disable(logging.WARNING)  # it advises of a step that onnxruntime does at loading anyway
        try:
            quantize_dynamic(
                draft / "float.onnx",
                draft / MODEL_FILE,
                op_types_to_quantize=_PRODUCTS,
                weight_type=QuantType[weights.value],
            )
        except Exception as error:  # neither package's errors have a common base but this one
            raise ModelError(f"{card.model_path} cannot be quantized: {error}") from error
        finally:
            logging.disable(logging.NOTSET)
        for left in draft.glob("float*"):
            left.unlink()
        before, after = card.model_path.stat().st_size, (draft / MODEL_FILE).stat().st_size
        _write_card(card, name, weights, draft)
        cosines = _cosines(card, load_card(draft), compared)
        put_in_place(draft, target)
    finally:
        shutil.rmtree(models / ".drafts", ignore_errors=True)
    return Quantized(load_card(target), weights, cosines, before, after)


def _pictures_in(folder: Path) -> list[bytes]:
    """Return the pictures in a folder, encoded, in the order of their names; each can be loaded."""
    pictures = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        try:
            picture = path.read_bytes()
            read_picture(picture)
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}.") from error
        except UnreadablePicture as error:
            raise ModelError(f"{path} is {error}. Take it out of the folder.") from error
        pictures.append(picture)
    if not pictures:
        raise ModelError(f"{folder} has no files: a folder of pictures to compare on is wanted.")
    return pictures


def _share_of_products(graph: Any) -> float:
    """Return the share of an ONNX graph's weights, by their number, that matrix products take."""
    sizes = {weight.name: int(np.prod(weight.dims)) for weight in graph.initializer}
    taken = {name for node in graph.node if node.op_type in _PRODUCTS for name in node.input}
    return sum(size for name, size in sizes.items() if name in taken) / max(1, sum(sizes.values()))


def _write_card(card: ModelCard, name: str, weights: Weights, draft: Path) -> None:
    content = read_yaml(card.folder / CARD_FILE)
    content |= {
        "name": name,
        "source": f"{card.source}; weights quantized to {weights}, from SHA-256 {card.sha256}",
        "sha256": file_sha256(draft / MODEL_FILE),
    }
    if card.text is not None:
        for file_name in (card.text.model, card.text.tokenizer):
            shutil.copyfile(card.folder / file_name, draft / file_name)
    (draft / CARD_FILE).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _cosines(card: ModelCard, quantized: ModelCard, pictures: Sequence[bytes]) -> np.ndarray:
    """Return the cosine (n,) of each picture's two vectors; one model is in memory at a time."""
    vectors = [np.concatenate(list(Embedder(each).embed(pictures))) for each in (card, quantized)]
    return np.asarray((vectors[0] * vectors[1]).sum(axis=1))
