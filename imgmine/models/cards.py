"""Model cards: what a model folder holds, and what its ONNX files must be fed with.

Reading, checking and finding only; nothing here runs a model. How folders come to be is in `adding`.
"""

import hashlib
import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import yaml

from imgmine.models import card_fields as field
from imgmine.models.card_fields import ModelError as ModelError
from imgmine.yaml_text import parse_yaml

VECTORS_CODE = "2"
"""The code version of `embeddings`: another one where the code makes other vectors of the same picture and weights."""
# Versions do not say this one: they were published before they said any.
_UNSAID_CODE = "2"

CARD_FILE = "card.yaml"
MODEL_FILE = "model.onnx"

# How an entry of ONNX's `TensorProto.external_data` begins: its key, a protobuf field of tag, length and text, and the
# next field's tag.
_EXTERNAL = b"\x0a\x08location\x12"

_SHIPPED = Path(__file__).parent


class Crop(StrEnum):
    """How a picture of any shape becomes a square."""

    CENTRE = "centre"
    """The short side is resized to `resize`, and the middle `size` × `size` is kept."""
    SQUASH = "squash"
    """The whole picture is resized to `size` × `size`, whatever its shape."""


class Interpolation(StrEnum):
    """Pillow's filters that the field's models were trained with."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


class Named(Protocol):
    """A card of any kind, as far as messages need it."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...


class Framing(Protocol):
    """What of a card says how a picture becomes the input of a model: see `ModelCard`."""

    @property
    def size(self) -> int: ...
    @property
    def resize(self) -> int: ...
    @property
    def crop(self) -> Crop: ...
    @property
    def interpolation(self) -> Interpolation: ...
    @property
    def value_range(self) -> float: ...
    @property
    def mean(self) -> tuple[float, float, float]: ...
    @property
    def std(self) -> tuple[float, float, float]: ...


@dataclass(frozen=True)
class TextTower:
    """The part of a model that turns texts into vectors of the same space as its pictures.

    A text becomes `context` ids of the tokenizer, filled up with `padding`. `attention_mask` is the name of the input
    that says which ids are text, where the ONNX file has one.
    """

    model: str
    tokenizer: str
    input: str
    context: int
    padding: int
    output: str
    lowercase: bool = False
    attention_mask: str | None = None
    sha256: str | None = None
    tokenizer_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class OnnxCard:
    """What every ONNX model's card says. `sha256` is None only in a card whose weights have not been added yet."""

    folder: Path
    name: str
    source: str
    licence: str
    input: str
    output: str
    sha256: str | None = None

    @property
    def model_path(self) -> Path:
        """The ONNX file."""
        return self.folder / MODEL_FILE

    @property
    def has_weights(self) -> bool:
        """Whether the ONNX file is there."""
        return self.model_path.is_file()

    def version_of(self, depends_on: Mapping[str, object]) -> str:
        """Return the name and a short SHA-256 of these fields: all that what the model puts out depends on."""
        return f"{self.name}-{hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:12]}"


@dataclass(frozen=True, kw_only=True)
class ModelCard(OnnxCard):
    """An embedding model: where it came from, what goes in, what comes out.

    A pixel of 0..255 goes in as `(pixel * value_range / 255 - mean) / std`, channels in the order R, G, B.
    """

    layout: str
    size: int
    resize: int
    crop: Crop
    interpolation: Interpolation
    value_range: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dimension: int
    normalisation: str
    text: TextTower | None = None

    @cached_property
    def version(self) -> str:
        """The name and a short SHA-256 of everything that a vector depends on: the weights, how they are fed, the code.

        Two cards of one version give the same vectors; vectors of two versions must not be compared.
        """
        about = ("source", "licence")
        depends_on = {key: value for key, value in vars(self).items() if key in _FIELDS and key not in about}
        depends_on["sha256"] = self.sha256
        if VECTORS_CODE != _UNSAID_CODE:
            depends_on["code_version"] = VECTORS_CODE
        return self.version_of(depends_on)

    @property
    def least_short_side(self) -> int:
        """The pixels on a picture's short side that the model makes use of; more are resized away."""
        return self.resize


_FIELDS: Mapping[str, field.Parser] = {
    "name": field.name,
    "source": field.text,
    "licence": field.text,
    "input": field.text,
    "layout": field.one_of(("NCHW",)),
    "size": field.positive_integer,
    "resize": field.positive_integer,
    "crop": field.one_of(Crop),
    "interpolation": field.one_of(Interpolation),
    "value_range": field.positive,
    "mean": field.three(field.number),
    "std": field.three(field.positive),
    "output": field.text,
    "dimension": field.positive_integer,
    "normalisation": field.one_of(("l2",)),
}
_TEXT_FIELDS: Mapping[str, field.Parser] = {
    "model": field.file_name,
    "tokenizer": field.file_name,
    "input": field.text,
    "context": field.positive_integer,
    "padding": field.natural,
    "output": field.text,
}
_TEXT_OPTIONAL: Mapping[str, field.Parser] = {
    "lowercase": field.flag,
    "attention_mask": field.text,
    "sha256": field.sha256,
    "tokenizer_sha256": field.sha256,
}


def shipped_models() -> tuple[str, ...]:
    """Return the names of the models whose cards come with imgmine, with or without their weights."""
    return tuple(sorted(card.parent.name for card in _SHIPPED.glob(f"*/{CARD_FILE}")))


def built_in_models() -> tuple[str, ...]:
    """Return the names of the models that come with imgmine whole."""
    return tuple(name for name in shipped_models() if (_SHIPPED / name / MODEL_FILE).is_file())


def shipped_card(name: str) -> Path:
    """Return the folder of a shipped card, whose weights need not be there. Raises `ModelError`."""
    if name not in shipped_models():
        raise ModelError(f"No card named {name!r} comes with imgmine: {', '.join(shipped_models())}.")
    return _SHIPPED / name


def find_model(name_or_path: str | Path, models: Path | None = None) -> Path:
    """Return the folder of a model: built in or in the folder `models`, by name; any other, by path.

    Raises `ModelError` that says what to do where there is none, or only a card without weights.
    """
    name = str(name_or_path)
    if name in built_in_models():
        return _SHIPPED / name
    if (found := added_or_at(name, models)) is not None:
        return found
    if name in shipped_models():
        raise ModelError(
            f"The weights of {name} do not come with imgmine, only its card. Put them beside it: "
            f"imgmine models add FILE.onnx --card {name} (docs/models.md has where to find them)."
        )
    added = sorted(card.parent.name for card in models.glob(f"[!.]*/{CARD_FILE}")) if models is not None else []
    folder = Path(name).expanduser()
    lacking = f"{folder} has no {CARD_FILE}" if folder.is_dir() else f"{folder} is not a folder"
    raise ModelError(
        f"No model {name!r}: it is not built in ({', '.join(built_in_models())}), not among those that were added "
        f"({', '.join(added) or 'none'}), and {lacking}. A model is a folder with {MODEL_FILE} and {CARD_FILE}."
    )


def added_or_at(name_or_path: str, models: Path | None) -> Path | None:
    """Return the folder of a model of any kind: in the folder `models`, by name, or any other, by path."""
    if models is not None and "/" not in name_or_path and (models / name_or_path / CARD_FILE).is_file():
        return models / name_or_path
    folder = Path(name_or_path).expanduser()
    return folder.resolve() if (folder / CARD_FILE).is_file() else None


def read_card(path: Path) -> ModelCard:
    """Read a card file, whose weights need not be there.

    Raises `ModelError` that names the file and the key: missing, unknown, of another type, not one of the values that
    are supported.
    """
    content = read_yaml(path)
    tower = content.pop("text", None)
    values = field.parse(path, content, _FIELDS, {"sha256": field.sha256})
    card = ModelCard(folder=path.parent, **values, text=None if tower is None else _text_tower(path, tower))
    if card.crop is Crop.SQUASH and card.resize != card.size:
        raise ModelError(f"{path}: with crop: squash, resize ({card.resize}) must be the size ({card.size}).")
    if card.resize < card.size:
        raise ModelError(f"{path}: resize ({card.resize}) is less than the size of the input ({card.size}).")
    return card


def _text_tower(path: Path, content: Any) -> TextTower:
    if not isinstance(content, dict):
        raise ModelError(f"{path}: text is {content!r}; keys and values are wanted.")
    return TextTower(**field.parse(path, content, _TEXT_FIELDS, _TEXT_OPTIONAL, "text."))


def read_yaml(path: Path) -> dict[Any, Any]:
    """Read a YAML file of keys and values. Raises `ModelError`."""
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a list of keys and values.")
    return content


def load_card(folder: Path) -> ModelCard:
    """Read a model folder's card, as `read_card` does, and check it against its ONNX file.

    Raises `ModelError` too where the ONNX file is absent or has another SHA-256.
    """
    card = read_card(folder / CARD_FILE)
    check_model_file(card)
    return card


def check_model_file(card: OnnxCard) -> None:
    """Raise `ModelError` where a card lacks the SHA-256 of its ONNX file; also for what `check_file` raises it."""
    if card.sha256 is None:
        raise ModelError(
            f"{card.folder / CARD_FILE} lacks sha256: the SHA-256 of {MODEL_FILE}. `imgmine models add` writes it."
        )
    check_file(card.model_path, card.sha256, card)


def check_file(path: Path, expected: str, card: Named) -> None:
    """Raise `ModelError` where a file of a model is absent or has another SHA-256 than its card says.

    Or where it has weights in other files, of which that says nothing.
    """
    try:
        found = file_sha256(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}. {card.name} comes from {card.source}.") from error
    if found != expected:
        raise ModelError(
            f"{path} has SHA-256 {found}, its card says {expected}. "
            f"Fetch it again from {card.source}, or write a card for the file that is there."
        )
    if path.suffix == ".onnx" and _has_external_data(path):
        raise ModelError(
            f"{path} has weights in other files, which could change without its SHA-256. Make it one file: "
            "onnx.save_model(onnx.load(PATH), PATH)."
        )


def _has_external_data(path: Path) -> bool:
    """Return whether an ONNX file names another one that holds weights, by how such a name begins."""
    if not path.stat().st_size:
        return False
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(_EXTERNAL) >= 0


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file. Raises `OSError`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
