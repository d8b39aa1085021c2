"""Adding models: a folder, a file or a file of the hub becomes a folder of its own among the user's models.

A model is there whole, with the SHA-256 of its files in its card and tried once, or not at all.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from imgmine.models.any_model import AnyCard, load_any_card, read_any_card, try_model
from imgmine.models.cards import (
    CARD_FILE,
    MODEL_FILE,
    ModelError,
    built_in_models,
    file_sha256,
    read_yaml,
    shipped_card,
)
from imgmine.models.hub import SCHEME, HubFile, fetch
from imgmine.models.watermark.cards import SHIPPED_NAME

_DOWNLOADS = ".downloads"
_DRAFTS = ".drafts"
_FORMER = ".former"

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What to add. A source is a folder, a file, or `hf:owner/name@revision/path`.

    `card` is the name of a shipped card or a card file; only a folder brings its own. `sha256` is what the model's file
    must have, where the card does not say.
    """

    source: str
    card: str | None = None
    text_model: str | None = None
    tokenizer: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """A model that was added; `vouched` says who vouched for the SHA-256 of its weights: None if nobody did."""

    card: AnyCard
    vouched: str | None


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    said: str | None = None
    id: str | None = None


def add_model(
    request: Request, models: Path, hub: str, *, replace: bool = False, progress: Progress | None = None
) -> Added:
    """Add a model to the folder `models`, under its card's name, and run it once.

    Raises `ModelError` where a source is not there, its card or files do not fit, a SHA-256 differs, or another model
    of that name is there and `replace` is not set.
    """

    def get(source: str) -> _Source:
        if source.startswith(SCHEME):
            file = HubFile.parse(source)
            found = fetch(file, hub, models / _DOWNLOADS, progress=progress)
            return _Source(found.path, found.said, str(file))
        path = Path(source).expanduser()
        if not path.is_file():
            raise ModelError(f"{source} is neither a folder, nor a file, nor a file of the hub ({SCHEME}…).")
        return _Source(path)

    card_path, content = _card(request)
    folder = Path(request.source).expanduser()
    weights = get(str(folder / MODEL_FILE)) if folder.is_dir() else get(request.source)
    digest = file_sha256(weights.path)
    vouched = _vouch(request, content, weights, digest)
    content["sha256"] = digest
    if weights.id is not None:
        content["source"] = f"{content['source']}; {weights.id}"
    files = {MODEL_FILE: weights.path, **_text_files(request, content, card_path.parent, folder.is_dir(), get)}
    card = _install(content, files, models, replace)
    shutil.rmtree(models / _DOWNLOADS, ignore_errors=True)
    return Added(card, vouched)


def _card(request: Request) -> tuple[Path, dict[Any, Any]]:
    """Return the card to begin with: where it is, and what is in it. It is known to be a valid one."""
    folder = Path(request.source).expanduser()
    if folder.is_dir():
        if request.card is not None:
            raise ModelError(f"{folder} is a folder, which has its own {CARD_FILE}: leave --card out.")
        if missing := [name for name in (CARD_FILE, MODEL_FILE) if not (folder / name).is_file()]:
            raise ModelError(f"{folder} has no {' and no '.join(missing)}: a model's folder has both.")
        path = folder / CARD_FILE
    elif request.card is None:
        raise ModelError(f"{request.source} needs a card: --card with the name of a shipped one, or a card file.")
    elif Path(request.card).expanduser().is_file():
        path = Path(request.card).expanduser()
    else:
        path = shipped_card(request.card) / CARD_FILE
    card = read_any_card(path)
    if card.name in (*built_in_models(), SHIPPED_NAME):
        raise ModelError(f"{path}: {card.name} comes with imgmine. Give the model another name in its card.")
    return path, read_yaml(path)


def _vouch(request: Request, content: dict[Any, Any], weights: _Source, digest: str) -> str | None:
    """Compare the weights' SHA-256 with all that is said of it; return who said it."""
    said = {"its card": content.get("sha256"), "--sha256": request.sha256, "the hub": weights.said}
    known = {who: expected for who, expected in said.items() if expected is not None}
    for who, expected in known.items():
        if expected != digest:
            raise ModelError(f"{request.source} has SHA-256 {digest}; {who} says {expected}.")
    return " and ".join(known) or None


def _text_files(
    request: Request, content: dict[Any, Any], card_folder: Path, own_folder: bool, get: Callable[[str], _Source]
) -> dict[str, Path]:
    """Return the text tower's files by name, with their SHA-256 put into the card, or drop its text part."""
    tower = content.get("text")
    if request.text_model is None and request.tokenizer is None and not (own_folder and tower):
        content.pop("text", None)
        return {}
    if tower is None:
        raise ModelError("This card has no text part, so it cannot say how to feed a text tower.")
    if not own_folder and (request.text_model is None or request.tokenizer is None):
        raise ModelError("A text tower needs both --text-model and --tokenizer.")
    files = {}
    for key, digest_key, source in (
        ("model", "sha256", request.text_model),
        ("tokenizer", "tokenizer_sha256", request.tokenizer),
    ):
        path = get(source or str(card_folder / tower[key])).path
        digest = file_sha256(path)
        if tower.get(digest_key) not in (None, digest):
            raise ModelError(f"{path} has SHA-256 {digest}; its card says {tower[digest_key]}.")
        tower[digest_key] = digest
        files[tower[key]] = path
    return files


def _install(content: dict[Any, Any], files: dict[str, Path], models: Path, replace: bool) -> AnyCard:
    name = content["name"]
    target = models / name
    draft = models / _DRAFTS / name
    bring_back(target)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        for file_name, path in files.items():
            shutil.copyfile(path, draft / file_name)
        (draft / CARD_FILE).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
        card = load_any_card(draft)
        try_model(card)
        if (target / CARD_FILE).is_file() and read_any_card(target / CARD_FILE).version != card.version and not replace:
            raise ModelError(f"{target} is another model of that name. Add --replace, or rename one in its card.")
        put_in_place(draft, target)
    finally:
        shutil.rmtree(models / _DRAFTS, ignore_errors=True)
    return load_any_card(target)


def put_in_place(draft: Path, target: Path) -> None:
    """Move a model's whole folder to where it is used. A former one is there until then, and removed after."""
    former = _former(target)
    shutil.rmtree(former, ignore_errors=True)
    if target.exists():
        former.parent.mkdir(exist_ok=True)
        target.replace(former)
    try:
        draft.replace(target)
    finally:
        bring_back(target)
    shutil.rmtree(former, ignore_errors=True)
    if former.parent.is_dir() and not any(former.parent.iterdir()):
        former.parent.rmdir()


def bring_back(target: Path) -> None:
    """Put the former model back where a kill, or an error, came between its going and the new one's coming."""
    former = _former(target)
    if former.exists() and not target.exists():
        former.replace(target)


def _former(target: Path) -> Path:
    return target.parent / _FORMER / target.name
