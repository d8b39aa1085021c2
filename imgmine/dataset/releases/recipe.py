"""The recipe of a release: the YAML file in which a person says what is wanted.

Reading and checking it is here; what its rules mean in SQL is `selection`'s.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from imgmine.errors import PersonNeeded
from imgmine.images.gate import FORMATS
from imgmine.images.previews import SHORT_SIDE
from imgmine.store.publish import content_digest
from imgmine.yaml_text import parse_yaml

EXAMPLE = Path(__file__).with_name("example.yaml")

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_HASH = re.compile(r"[0-9a-f]{64}")
_MOST_IMAGES = 100_000

_Choice = TypeVar("_Choice", bound=StrEnum)


class RecipeError(PersonNeeded):
    """A recipe cannot be used as it is; the message names the file, the key, and what is wanted there."""


class Content(StrEnum):
    """Which bytes a release has of each image."""

    ORIGINALS = "originals"
    """The files as they were archived."""
    PREVIEWS = "previews"
    """The previews, made smaller where the recipe says so."""


class Layout(StrEnum):
    """How samples are packed; a release may have both."""

    WEBDATASET = "webdataset"
    PARQUET = "parquet"


class NearDuplicates(StrEnum):
    """What becomes of groups of pictures that look the same."""

    KEEP = "keep"
    ONE = "one"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which images are in. None, or an empty tuple or mapping, asks nothing.

    Attributes:
        percentile_at_least: of `anomaly_scores`, in percent.
        nsfw_below: and `watermark_below`: probabilities.
        labels: of `probe_scores`: labels that must be at least as probable as given.
        without_labels: likewise, and must be less probable.
        categories: of `categories`: only those, and only where the category is likely enough to be named.
        side_at_least: pixels of the shorter side of the original; `side_at_most` of the longer one.
        formats: Pillow's names.
        stills: whether stills of videos are in.
    """

    percentile_at_least: float | None = None
    nsfw_below: float | None = None
    watermark_below: float | None = None
    labels: Mapping[str, float] = field(default_factory=dict)
    without_labels: Mapping[str, float] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    side_at_least: int | None = None
    side_at_most: int | None = None
    formats: tuple[str, ...] = ()
    stills: bool = True


@dataclass(frozen=True, slots=True)
class Holdout:
    """What is kept out of every version: a share of all files, by their digest and a seed, and files by name."""

    share: float = 0.0
    seed: int = 0
    hashes: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is wanted. `archives` is None for all; `short_side` is of previews, None for the preview as it is."""

    name: str
    title: str
    description: str
    licence: str
    published: date | None
    url: str | None
    seed: int
    archives: tuple[str, ...] | None
    content: Content
    short_side: int | None
    layouts: tuple[Layout, ...]
    shard_images: int
    near_duplicates: NearDuplicates
    select: Selection
    holdout: Holdout

    @property
    def digest(self) -> str:
        """A digest of all that the recipe says; its comments and layout do not count."""
        return content_digest(self.canonical().encode())

    def canonical(self) -> str:
        """Return the recipe as YAML that `read_recipe` reads, every key in it, the lists of hashes included."""
        return yaml.safe_dump(_as_plain(self), sort_keys=True, allow_unicode=True, width=100)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe and the lists of hashes that it names beside it. Raises `RecipeError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {error}.") from error
    return parse_recipe(text, str(path), path.parent)


def parse_recipe(text: str, where: str, folder: Path | None = None) -> Recipe:
    """Return the recipe of a YAML text; `where` is what errors call it. Raises `RecipeError`.

    Files of hashes are read relative to `folder`; without one they are refused.
    """
    try:
        content = parse_yaml(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{where} is not valid YAML: {error}") from error
    top = _Keys(where, "", content)
    select = top.below("select")
    holdout = top.below("holdout")
    kind = top.choice("content", Content, Content.ORIGINALS)
    short_side = top.integer("short_side", None, 32, SHORT_SIDE)
    if short_side is not None and kind is not Content.PREVIEWS:
        raise RecipeError(f"{where}: short_side is for content: previews; originals stay as they are.")
    name = top.text("name")
    if not _NAME.fullmatch(name):
        raise RecipeError(f"{where}: name: {name!r}: up to 40 of a–z, 0–9 and - are wanted.")
    recipe = Recipe(
        name=name,
        title=top.text("title", name),
        description=top.text("description"),
        licence=top.text("licence"),
        published=top.day("published"),
        url=top.text("url", "") or None,
        seed=top.integer("seed", 0, 0, 2**63 - 1) or 0,
        archives=_archives(top),
        content=kind,
        short_side=short_side,
        layouts=top.choices("layouts", Layout, tuple(Layout)),
        shard_images=top.integer("shard_images", 5000, 1, _MOST_IMAGES) or 5000,
        near_duplicates=top.choice("near_duplicates", NearDuplicates, NearDuplicates.KEEP),
        select=Selection(
            percentile_at_least=select.number("percentile_at_least", 100),
            nsfw_below=select.number("nsfw_below", 1),
            watermark_below=select.number("watermark_below", 1),
            labels=select.numbers("labels"),
            without_labels=select.numbers("without_labels"),
            categories=select.texts("categories"),
            side_at_least=select.integer("side_at_least", None, 1, 2**31 - 1),
            side_at_most=select.integer("side_at_most", None, 1, 2**31 - 1),
            formats=_formats(select),
            stills=select.flag("stills", default=True),
        ),
        holdout=Holdout(
            share=_share(holdout),
            seed=holdout.integer("seed", 0, 0, 2**63 - 1) or 0,
            hashes=_hashes(holdout, where, folder),
        ),
    )
    for keys in (top, select, holdout):
        keys.refuse_others()
    return recipe


class _Keys:
    """The keys of one level of a recipe: each is asked for by its type, and what nobody asked for is refused."""

    def __init__(self, where: str, before: str, content: Any) -> None:
        if not isinstance(content, dict):
            raise RecipeError(f"{where}: {before.rstrip('.') or 'the recipe'} must be keys and values.")
        self._where = where
        self._before = before
        self._content = content
        self._known: list[str] = []

    def below(self, key: str) -> "_Keys":
        return _Keys(self._where, f"{self._before}{key}.", self._get(key, {}))

    def _get(self, key: str, default: Any = None) -> Any:
        self._known.append(key)
        value = self._content.get(key)
        return default if value is None else value

    def wrong(self, key: str, value: object, wanted: str) -> RecipeError:
        return RecipeError(f"{self._where}: {self._before}{key}: {value!r}: {wanted}.")

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default)
        if not isinstance(value, str) or (default is None and not value.strip()):
            raise self.wrong(key, value, "a text is wanted")
        return value.strip()

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
            raise self.wrong(key, value, "a list of texts is wanted")
        return tuple(dict.fromkeys(value))

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, value, "true or false is wanted")
        return value

    def integer(self, key: str, default: int | None, least: int, most: int) -> int | None:
        value = self._get(key, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(key, value, f"a whole number from {least} to {most} is wanted")
        return int(value)

    def number(self, key: str, most: float) -> float | None:
        value = self._get(key)
        return None if value is None else self._in_range(key, value, most)

    def numbers(self, key: str) -> Mapping[str, float]:
        value = self._get(key, {})
        if not isinstance(value, dict) or not all(isinstance(label, str) for label in value):
            raise self.wrong(key, value, "labels, each with a probability, are wanted")
        return {label: self._in_range(f"{key}.{label}", number, 1) for label, number in sorted(value.items())}

    def _in_range(self, key: str, value: Any, most: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise self.wrong(key, value, f"a number from 0 to {most:g} is wanted")
        return float(value)

    def choice(self, key: str, kind: type[_Choice], default: _Choice) -> _Choice:
        value = self._get(key, default.value)
        if value not in list(kind):
            raise self.wrong(key, value, f"one of {', '.join(kind)} is wanted")
        return kind(value)

    def choices(self, key: str, kind: type[_Choice], default: tuple[_Choice, ...]) -> tuple[_Choice, ...]:
        value = self._get(key, [choice.value for choice in default])
        if not isinstance(value, list) or not value or any(choice not in list(kind) for choice in value):
            raise self.wrong(key, value, f"a list of one or more of {', '.join(kind)} is wanted")
        return tuple(choice for choice in kind if choice in value)

    def day(self, key: str) -> date | None:
        value = self._get(key)
        if value is not None and type(value) is not date:
            raise self.wrong(key, value, "a day as 2026-01-31 is wanted")
        return value

    def raw(self, key: str) -> Any:
        return self._get(key)

    def refuse_others(self) -> None:
        if others := sorted(str(key) for key in self._content if key not in self._known):
            named = ", ".join(f"{self._before}{key}" for key in others)
            below = f"Below {self._before.rstrip('.')}" if self._before else "At the top"
            raise RecipeError(f"{self._where}: unknown: {named}. {below}, {', '.join(sorted(self._known))} are known.")


def _archives(top: _Keys) -> tuple[str, ...] | None:
    if top.raw("archives") in (None, "all"):
        return None
    found = top.texts("archives")
    if not found:
        raise top.wrong("archives", [], "all, or a list of identifiers, is wanted")
    return tuple(sorted(found))


def _formats(select: _Keys) -> tuple[str, ...]:
    formats = tuple(sorted(name.upper() for name in select.texts("formats")))
    known = (*FORMATS, "MPO")
    if unknown := [name for name in formats if name not in known]:
        raise select.wrong("formats", unknown, f"some of {', '.join(known)} are wanted")
    return formats


def _share(holdout: _Keys) -> float:
    share = holdout.number("share", 1) or 0.0
    if share == 1:
        raise holdout.wrong("share", 1, "less than 1 is wanted, or nothing would be left")
    return share


def _hashes(holdout: _Keys, where: str, folder: Path | None) -> tuple[bytes, ...]:
    texts: list[tuple[str, str]] = [(where, text) for text in holdout.texts("hashes")]
    for name in holdout.texts("files"):
        if folder is None:
            raise holdout.wrong("files", name, "a recipe without a folder has no files; give hashes")
        try:
            lines = (folder / name).read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{where}: holdout.files: {folder / name} cannot be read: {error}.") from error
        texts += [(f"{folder / name}, line {n}", line) for n, line in enumerate(lines, 1) if line.strip()]
    return tuple(sorted({_digest(*text) for text in texts}))


def _digest(where: str, text: str) -> bytes:
    if not _HASH.fullmatch(text.strip().lower()):
        raise RecipeError(f"{where}: {text.strip()!r} is no BLAKE2b-256 of 64 hexadecimal digits.")
    return bytes.fromhex(text.strip())


def _as_plain(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as what YAML knows; keys that say nothing are left out."""
    select = recipe.select
    content: dict[str, Any] = {
        "name": recipe.name,
        "title": recipe.title,
        "description": recipe.description,
        "licence": recipe.licence,
        "published": recipe.published,
        "url": recipe.url,
        "seed": recipe.seed,
        "archives": "all" if recipe.archives is None else list(recipe.archives),
        "content": recipe.content.value,
        "short_side": recipe.short_side,
        "layouts": [layout.value for layout in recipe.layouts],
        "shard_images": recipe.shard_images,
        "near_duplicates": recipe.near_duplicates.value,
        "select": _said(
            {
                "percentile_at_least": select.percentile_at_least,
                "nsfw_below": select.nsfw_below,
                "watermark_below": select.watermark_below,
                "labels": dict(select.labels),
                "without_labels": dict(select.without_labels),
                "categories": list(select.categories),
                "side_at_least": select.side_at_least,
                "side_at_most": select.side_at_most,
                "formats": list(select.formats),
                "stills": select.stills,
            }
        ),
        "holdout": _said(
            {
                "share": recipe.holdout.share,
                "seed": recipe.holdout.seed,
                "hashes": [digest.hex() for digest in recipe.holdout.hashes],
            }
        ),
    }
    return _said(content)


def _said(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if not _is_nothing(value)}


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, Iterable) and not isinstance(value, str) and not list(value))
