"""Model cards: what a model folder holds, and what its ONNX file must be fed with.

Reading and checking only; nothing here runs a model.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from imgmine.errors import ImgmineError

CARD_FILE = "card.yaml"
MODEL_FILE = "model.onnx"

_BUILT_IN = Path(__file__).parent


class ModelError(ImgmineError):
    """A model folder cannot be used as it is."""


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


@dataclass(frozen=True)
class ModelCard:
    """An embedding model: where it came from, what goes in, what comes out.

    A pixel of 0..255 goes in as `(pixel * value_range / 255 - mean) / std`, channels in the order R, G, B.
    """

    folder: Path
    name: str
    source: str
    licence: str
    sha256: str
    input: str
    layout: str
    size: int
    resize: int
    crop: Crop
    interpolation: Interpolation
    value_range: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    output: str
    dimension: int
    normalisation: str

    @property
    def model_path(self) -> Path:
        """The ONNX file."""
        return self.folder / MODEL_FILE

    @cached_property
    def version(self) -> str:
        """The name and a short SHA-256 of everything that a vector depends on: the weights and how they are fed.

        Two cards of one version give the same vectors; vectors of two versions must not be compared.
        """
        about = ("folder", "source", "licence")
        depends_on = {key: value for key, value in vars(self).items() if key in _FIELDS and key not in about}
        return f"{self.name}-{hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:12]}"


def built_in_models() -> tuple[str, ...]:
    """Return the names of the models that come with imgmine."""
    return tuple(sorted(card.parent.name for card in _BUILT_IN.glob(f"*/{CARD_FILE}")))


def find_model(name_or_path: str | Path) -> Path:
    """Return the folder of a built-in model, by name, or of any other, by path. Raises `ModelError`."""
    if str(name_or_path) in built_in_models():
        return _BUILT_IN / name_or_path
    folder = Path(name_or_path).expanduser()
    if (folder / CARD_FILE).is_file():
        return folder.resolve()
    found = f"{folder} has no {CARD_FILE}" if folder.is_dir() else f"{folder} is not a folder"
    raise ModelError(
        f"No model {str(name_or_path)!r}: it is not built in ({', '.join(built_in_models())}), and {found}. "
        f"A model is a folder with {MODEL_FILE} and {CARD_FILE}."
    )


def load_card(folder: Path) -> ModelCard:
    """Read a model folder's card and check it against its ONNX file.

    Raises `ModelError` that names the file and the key: missing, unknown, of another type, not one of the values that
    are supported; or where the ONNX file is absent or has another SHA-256.
    """
    path = folder / CARD_FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a list of keys and values.")
    card = ModelCard(folder=folder, **_parse(path, content))
    if card.crop is Crop.SQUASH and card.resize != card.size:
        raise ModelError(f"{path}: with crop: squash, resize ({card.resize}) must be the size ({card.size}).")
    if card.resize < card.size:
        raise ModelError(f"{path}: resize ({card.resize}) is less than the size of the input ({card.size}).")
    _check_weights(card)
    return card


def _check_weights(card: ModelCard) -> None:
    try:
        with card.model_path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            f"{card.model_path} cannot be read: {error.strerror}. {card.name} comes from {card.source}."
        ) from error
    if found != card.sha256:
        raise ModelError(
            f"{card.model_path} has SHA-256 {found}, its card says {card.sha256}. "
            f"Fetch it again from {card.source}, or write a card for the file that is there."
        )


class _Unsuitable(Exception):
    """A value of a card is not what its key wants; the message says what that is."""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Unsuitable("a text")
    return value


def _sha256(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise _Unsuitable("64 hexadecimal digits in lower case")
    return value


def _positive_integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _Unsuitable("a whole number above 0")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _Unsuitable("a number")
    return float(value)


def _positive(value: Any) -> float:
    if (number := _number(value)) <= 0:
        raise _Unsuitable("a number above 0")
    return number


def _three(of: Callable[[Any], float]) -> Callable[[Any], tuple[float, float, float]]:
    def parse(value: Any) -> tuple[float, float, float]:
        if not isinstance(value, list) or len(value) != 3:
            raise _Unsuitable("three numbers, for red, green and blue")
        return of(value[0]), of(value[1]), of(value[2])

    return parse


def _one_of(values: type[StrEnum] | tuple[str, ...]) -> Callable[[Any], Any]:
    allowed: Mapping[str, str] = {str(value): value for value in values}

    def parse(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise _Unsuitable(f"one of {', '.join(allowed)}")
        return allowed[value]

    return parse


_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "name": _text,
    "source": _text,
    "licence": _text,
    "sha256": _sha256,
    "input": _text,
    "layout": _one_of(("NCHW",)),
    "size": _positive_integer,
    "resize": _positive_integer,
    "crop": _one_of(Crop),
    "interpolation": _one_of(Interpolation),
    "value_range": _positive,
    "mean": _three(_number),
    "std": _three(_positive),
    "output": _text,
    "dimension": _positive_integer,
    "normalisation": _one_of(("l2",)),
}


def _parse(path: Path, content: Mapping[Any, Any]) -> dict[str, Any]:
    if missing := [key for key in _FIELDS if key not in content]:
        raise ModelError(f"{path} lacks {', '.join(missing)}.")
    if unknown := [str(key) for key in content if key not in _FIELDS]:
        raise ModelError(f"{path} has keys that imgmine does not know: {', '.join(unknown)}.")
    values = {}
    for key, parse in _FIELDS.items():
        try:
            values[key] = parse(content[key])
        except _Unsuitable as error:
            raise ModelError(f"{path}: {key} is {content[key]!r}; {error} is wanted.") from None
    return values
