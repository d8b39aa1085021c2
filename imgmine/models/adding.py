"""Adding models: a folder, a file or a file of the hub becomes a folder of its own among the user's models.

A model is there whole, with the SHA-256 of its files in its card and tried on photographs, or not at all.
"""

import filecmp
import shutil
from collections.abc import Callable, Mapping
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
    must have, in upper or lower case, where the card does not say.
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
    """A file that is here: `name` is what messages call it, since what was fetched is gone when they are read."""

    path: Path
    name: str
    said: str | None = None
    id: str | None = None


def add_model(
    request: Request, models: Path, hub: str, *, replace: bool = False, progress: Progress | None = None
) -> Added:
    """Add a model to the folder `models`, under its card's name, once it was tried.

    Raises `ModelError` where a source is not there, its card or files do not fit, a SHA-256 differs, the model gives
    different pictures no vectors of their own, or, without `replace`, a model of that name would lose a file or a part
    of its card, or have another instead.
    """

    def get(source: str) -> _Source:
        if source.startswith(SCHEME):
            file = HubFile.parse(source)
            found = fetch(file, hub, models / _DOWNLOADS, progress=progress)
            return _Source(found.path, source, found.said, str(file))
        path = Path(source).expanduser()
        if not path.is_file():
            raise ModelError(f"{source} is neither a folder, nor a file, nor a file of the hub ({SCHEME}…).")
        return _Source(path, source)

    card_path, content = _card(request)
    folder = Path(request.source).expanduser()
    weights = get(str(folder / MODEL_FILE)) if folder.is_dir() else get(request.source)
    digest = file_sha256(weights.path)
    vouched = _vouch(request, content, weights, digest)
    content["sha256"] = digest
    if weights.id is not None:
        content["source"] = f"{content['source']}; {weights.id}"
    files = {MODEL_FILE: weights, **_text_files(request, content, card_path.parent, folder.is_dir(), get)}
    card = _install(content, card_path, files, models, replace)
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
        if expected.lower() != digest:
            raise ModelError(f"{request.source} has SHA-256 {digest}; {who} says {expected}.")
    return " and ".join(known) or None


def _text_files(
    request: Request, content: dict[Any, Any], card_folder: Path, own_folder: bool, get: Callable[[str], _Source]
) -> dict[str, _Source]:
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
        file = get(source or str(card_folder / tower[key]))
        digest = file_sha256(file.path)
        if tower.get(digest_key) not in (None, digest):
            raise ModelError(f"{file.name} has SHA-256 {digest}; its card says {tower[digest_key]}.")
        tower[digest_key] = digest
        files[tower[key]] = file
    return files


def _install(
    content: dict[Any, Any], card_path: Path, files: Mapping[str, _Source], models: Path, replace: bool
) -> AnyCard:
    name = content["name"]
    target = models / name
    draft = models / _DRAFTS / name
    bring_back(target)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        for file_name, file in files.items():
            shutil.copyfile(file.path, draft / file_name)
        (draft / CARD_FILE).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
        try:
            try_model(load_any_card(draft))
        except ModelError as error:
            names = {CARD_FILE: str(card_path)} | {file_name: file.name for file_name, file in files.items()}
            raise ModelError(_with_sources(str(error), draft, names)) from error
        if not replace and (lost := _lost(target, draft)):
            raise ModelError(
                f"{target} is another model of that name; this would be lost or changed: {', '.join(lost)}. Add "
                "--replace, or rename one in its card."
            )
        put_in_place(draft, target)
    finally:
        shutil.rmtree(models / _DRAFTS, ignore_errors=True)
    return load_any_card(target)


def _with_sources(message: str, draft: Path, names: Mapping[str, str]) -> str:
    """Return a message with the files of the draft, which goes, by the names under which they were given."""
    for file_name in sorted(names, key=len, reverse=True):  # one may begin another
        message = message.replace(str(draft / file_name), names[file_name])
    return message.replace(str(draft), names[MODEL_FILE])


def _lost(target: Path, draft: Path) -> list[str]:
    """Return which files, and which keys of its card, the model at `target` has and the draft has not, or has others.

    What comes new, such as a text tower where there was none, is not among them.
    """
    files = {path.relative_to(target): path for path in sorted(target.rglob("*")) if path.is_file()}
    lost = [
        str(name)
        for name, path in files.items()
        if name != Path(CARD_FILE) and not ((draft / name).is_file() and filecmp.cmp(path, draft / name, shallow=False))
    ]
    if Path(CARD_FILE) not in files:
        return lost
    new = read_yaml(draft / CARD_FILE)
    try:
        former = read_yaml(target / CARD_FILE)
    except ModelError:  # whatever it said
        return [*lost, CARD_FILE]
    return lost + [f"{key} ({CARD_FILE})" for key, value in former.items() if new.get(key) != value]


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
