"""The list of categories that a person edits: reading it and checking it.

How an image gets its category is in `categories`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgmine.errors import PersonNeeded
from imgmine.models.card_fields import ModelError
from imgmine.models.cards import read_yaml
from imgmine.store.publish import content_digest

SHIPPED = Path(__file__).with_name("categories.yaml")
IMAGENET = 1000
"""Classes of ImageNet, numbered from 0."""

_KEYS = {"least_probability", "text_scale", "categories"}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_RANGE = re.compile(r"(\d{1,3})-(\d{1,3})")
_REST = "rest"


class CategoryListError(PersonNeeded):
    """The list of categories cannot be used as it is."""


@dataclass(frozen=True)
class Category:
    """One kind of pictures: its name, texts that describe it, and the classes of ImageNet that are of it."""

    name: str
    prompts: tuple[str, ...]
    imagenet: tuple[int, ...]


@dataclass(frozen=True)
class CategoryList:
    """The categories in their order. `digest` changes with anything that a category depends on."""

    categories: tuple[Category, ...]
    least_probability: float
    text_scale: float

    @property
    def names(self) -> tuple[str, ...]:
        """The categories' names."""
        return tuple(category.name for category in self.categories)

    @property
    def digest(self) -> str:
        """A digest of all that is in the list; comments and layout are not."""
        return content_digest(repr((self.categories, self.least_probability, self.text_scale)).encode())


def read_categories(path: Path | None = None) -> CategoryList:
    """Read a list, or the one that comes with imgmine. Raises `CategoryListError` that names the file and the key."""
    path = path or SHIPPED
    try:
        content = read_yaml(path)
    except ModelError as error:
        raise CategoryListError(str(error)) from error
    if unknown := sorted(set(map(str, content)) - _KEYS):
        raise CategoryListError(f"{path}: unknown: {', '.join(unknown)}. Known are {', '.join(sorted(_KEYS))}.")
    found = content.get("categories")
    if not isinstance(found, dict) or len(found) < 2:
        raise CategoryListError(f"{path}: categories must name at least two, each with its prompts or classes.")
    parsed = [_category(path, name, about) for name, about in found.items()]
    return CategoryList(
        tuple(_with_rest(path, parsed)),
        _number(path, content, "least_probability", 0.5, 1.0),
        _number(path, content, "text_scale", 100.0, 1000.0),
    )


def _category(path: Path, name: Any, about: Any) -> tuple[str, tuple[str, ...], list[int | str]]:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise CategoryListError(f"{path}: {name!r} is no name: letters a to z, digits, '-' and '_' are wanted.")
    about = about or {}
    if not isinstance(about, dict) or set(about) - {"prompts", "imagenet"}:
        raise CategoryListError(f"{path}: {name} must have prompts, imagenet or both, and nothing else.")
    prompts = about.get("prompts", [])
    if not isinstance(prompts, list) or not all(isinstance(text, str) and text.strip() for text in prompts):
        raise CategoryListError(f"{path}: {name}: prompts must be a list of texts.")
    classes = about.get("imagenet", [])
    if not isinstance(classes, list):
        raise CategoryListError(f"{path}: {name}: imagenet must be a list of classes.")
    return name, tuple(prompts), [one for entry in classes for one in _classes(path, name, entry)]


def _classes(path: Path, name: str, entry: Any) -> Sequence[int | str]:
    if entry == _REST:
        return [_REST]
    if isinstance(entry, int) and not isinstance(entry, bool) and 0 <= entry < IMAGENET:
        return [entry]
    if isinstance(entry, str) and (found := _RANGE.fullmatch(entry)):
        first, last = int(found[1]), int(found[2])
        if first <= last:
            return range(first, last + 1)
    raise CategoryListError(f"{path}: {name}: {entry!r} is no class: 0 to 999, a range as 0-397, or {_REST}.")


def _with_rest(path: Path, parsed: Sequence[tuple[str, tuple[str, ...], list[int | str]]]) -> Sequence[Category]:
    named = [one for _, _, classes in parsed for one in classes]
    if len(set(named)) < len(named):
        twice = sorted({str(one) for one in named if named.count(one) > 1})
        raise CategoryListError(f"{path}: these classes of ImageNet are named twice: {', '.join(twice)}.")
    taken = set(named)
    rest = [one for one in range(IMAGENET) if one not in taken]
    return [
        Category(name, prompts, tuple(n for one in classes for n in (rest if one == _REST else [int(one)])))
        for name, prompts, classes in parsed
    ]


def _number(path: Path, content: dict[Any, Any], key: str, default: float, most: float) -> float:
    value = content.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most:
        raise CategoryListError(f"{path}: {key} is {value!r}; a number from 0 to {most:g} is wanted.")
    return float(value)
