"""What the keys of a model card may hold: each key's parser, and the messages where a value does not fit.

What the keys mean together is in `cards`; nothing here reads a file.
"""

import re
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from imgmine.errors import PersonNeeded

Parser = Callable[[Any], Any]

# It becomes a folder's name and a part of table metadata.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ModelError(PersonNeeded):
    """A model folder cannot be used as it is."""


class _Unsuitable(Exception):
    """A value of a card is not what its key wants; the message says what that is."""


def text(value: Any) -> str:
    """Any text but an empty one."""
    if not isinstance(value, str) or not value.strip():
        raise _Unsuitable("a text")
    return value


def name(value: Any) -> str:
    """A name that can be a folder's."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise _Unsuitable("a name of at most 64 letters, digits, '.', '_' and '-', beginning with a letter or digit")
    return value


def file_name(value: Any) -> str:
    """The name of a file in the model's own folder."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise _Unsuitable("the name of a file beside the card")
    return value


def sha256(value: Any) -> str:
    """A SHA-256 in hexadecimal."""
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise _Unsuitable("64 hexadecimal digits in lower case")
    return value


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise _Unsuitable("true or false")
    return value


def natural(value: Any) -> int:
    """A whole number, 0 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _Unsuitable("a whole number, 0 or more")
    return value


def positive_integer(value: Any) -> int:
    """A whole number above 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _Unsuitable("a whole number above 0")
    return value


def number(value: Any) -> float:
    """A finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _Unsuitable("a number")
    # Said this way round, since nothing is true of what YAML's .nan becomes; a whole number may be longer than a float.
    if not abs(value) <= sys.float_info.max:
        raise _Unsuitable("a finite number")
    return float(value)


def positive(value: Any) -> float:
    """A number above 0."""
    if (found := number(value)) <= 0:
        raise _Unsuitable("a number above 0")
    return found


def share(value: Any) -> float:
    """A number between 0 and 1."""
    if not 0 < (found := number(value)) < 1:
        raise _Unsuitable("a number between 0 and 1")
    return found


def figures(value: Any) -> dict[str, float]:
    """Numbers by name."""
    if not isinstance(value, dict):
        raise _Unsuitable("names with a number each")
    return {text(key): number(figure) for key, figure in value.items()}


def three(of: Callable[[Any], float]) -> Callable[[Any], tuple[float, float, float]]:
    """One value for each of red, green and blue."""

    def parse(value: Any) -> tuple[float, float, float]:
        if not isinstance(value, list) or len(value) != 3:
            raise _Unsuitable("three numbers, for red, green and blue")
        return of(value[0]), of(value[1]), of(value[2])

    return parse


def one_of(values: type[StrEnum] | tuple[str, ...]) -> Parser:
    """One of these values."""
    allowed: Mapping[str, str] = {str(value): value for value in values}

    def parse(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise _Unsuitable(f"one of {', '.join(allowed)}")
        return allowed[value]

    return parse


def parse(
    path: Path,
    content: Mapping[Any, Any],
    fields: Mapping[str, Parser],
    optional: Mapping[str, Parser],
    under: str = "",
) -> dict[str, Any]:
    """Return the values of a card, or of its part `under`; an optional key that is left out is left out here too.

    Raises `ModelError` that names the file and the key: missing, unknown, or of a value that does not fit.
    """
    if missing := [f"{under}{key}" for key in fields if key not in content]:
        raise ModelError(f"{path} lacks {', '.join(missing)}.")
    if unknown := [f"{under}{key}" for key in content if key not in fields and key not in optional]:
        raise ModelError(f"{path} has keys that imgmine does not know: {', '.join(unknown)}.")
    values = {}
    for key, parser in {**fields, **optional}.items():
        if key not in content:
            continue
        try:
            values[key] = parser(content[key])
        except _Unsuitable as error:
            raise ModelError(f"{path}: {under}{key} is {content[key]!r}; {error} is wanted.") from None
    return values
