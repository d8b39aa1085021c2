"""Settings, read from the environment and from `.env` in the working folder: the one place where they are named.

A variable in the environment wins over `.env`. Each has a default that works offline.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar, overload
from urllib.parse import urlsplit

from dotenv import load_dotenv

from imgmine.errors import PersonNeeded
from imgmine.images.decoding import Decoding
from imgmine.models.providers import Provider
from imgmine.store.base import check_key
from imgmine.store.shards import SHARD_BYTES

WATERMARK_MODEL = "watermark-efficientnet-lite0"
_DETECTOR = "gmm"

_Choice = TypeVar("_Choice", bound=StrEnum)


class SettingError(PersonNeeded):
    """A setting has a value that cannot be used."""


class FetchMode(StrEnum):
    """How an archive's WARC files come to be read."""

    CACHE = "cache"
    """Downloaded whole, then read from the disk."""
    STREAM = "stream"
    """Read as they arrive; nothing whole is on the disk."""
    SELECT = "select"
    """Only what the CDX says can be an original is fetched, as far as that is worth it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the environment decides. See `.env.example` for what each is for."""

    home: Path
    store: str
    cache: Path
    cache_bytes: int | None
    shard_bytes: int
    s3_endpoint: str | None
    archive_org: str
    collection: str
    contact: str | None
    fetch: FetchMode
    select_known: bool
    connections: int
    decode: Decoding
    embedder: str
    providers: tuple[Provider, ...]
    hub: str
    reference: Path | None
    anomaly_percentile: float
    detector: str
    nsfw_threshold: float
    watermark_model: str
    watermark_threshold: float | None
    show_nsfw: bool
    categories: Path | None
    discover_runs_per_tick: int
    blocklist: tuple[Path, ...]

    @property
    def scratch(self) -> Path:
        """Where a running stage keeps its drafts; empty when nothing runs."""
        return self.home / "scratch"

    @property
    def models(self) -> Path:
        """Where the models lie that were added."""
        return self.home / "models"

    @property
    def mirror(self) -> Path:
        """Where tables of a store that is not local are kept for readers that need files."""
        return self.home / "mirror"


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of this process, or of the variables given.

    Raises `SettingError`, which names the variable at fault. What `.env` sets and the environment does not is put into
    the environment, where boto3 looks for its `AWS_*`.
    """
    if environ is None:
        _load_dotenv()
        environ = os.environ
    home = _folder(environ, "IMGMINE_HOME", Path(".imgmine"))
    reference = environ.get("IMGMINE_REFERENCE")
    categories = environ.get("IMGMINE_CATEGORIES")
    return Settings(
        home=home,
        store=_store(environ.get("IMGMINE_STORE") or str(home / "store")),
        cache=_folder(environ, "IMGMINE_CACHE", home / "cache"),
        cache_bytes=_whole_number(environ, "IMGMINE_CACHE_BYTES"),
        shard_bytes=int(_number(environ, "IMGMINE_SHARD_BYTES", SHARD_BYTES, 1 << 12, 64 << 30)),
        s3_endpoint=_s3_endpoint(environ),
        archive_org=_address(environ, "IMGMINE_ARCHIVE_ORG", "https://archive.org"),
        collection=environ.get("IMGMINE_COLLECTION") or "archiveteam_imgur",
        contact=environ.get("IMGMINE_CONTACT") or None,
        fetch=_choice(environ, "IMGMINE_FETCH", FetchMode.CACHE),
        select_known=_flag(environ, "IMGMINE_SELECT_KNOWN"),
        connections=int(_number(environ, "IMGMINE_CONNECTIONS", 2, 1, 8)),
        decode=_choice(environ, "IMGMINE_DECODE", Decoding.EXACT),
        embedder=environ.get("IMGMINE_EMBEDDER") or "efficientnet-lite0",
        providers=_providers(environ),
        hub=_address(environ, "IMGMINE_HUB", "https://huggingface.co"),
        reference=Path(reference).expanduser().resolve() if reference else None,
        anomaly_percentile=_number(environ, "IMGMINE_ANOMALY_PERCENTILE", 5.0, 0.0, 100.0),
        detector=_detector(environ),
        nsfw_threshold=_number(environ, "IMGMINE_NSFW_THRESHOLD", 0.2, 0.0, 1.0),
        watermark_model=environ.get("IMGMINE_WATERMARK_MODEL") or WATERMARK_MODEL,
        watermark_threshold=_number(environ, "IMGMINE_WATERMARK_THRESHOLD", None, 0.0, 1.0),
        show_nsfw=_flag(environ, "IMGMINE_SHOW_NSFW"),
        categories=Path(categories).expanduser().resolve() if categories else None,
        discover_runs_per_tick=int(_number(environ, "IMGMINE_DISCOVER_RUNS", 0, 0, 200)),
        blocklist=_paths(environ, "IMGMINE_BLOCKLIST"),
    )


def _load_dotenv() -> None:
    """Add what `.env` has to the environment, where that does not have it already."""
    # A home that is given for one command has its own Dagster home; the one in `.env` goes with the home in `.env`.
    other_home = "IMGMINE_HOME" in os.environ and "DAGSTER_HOME" not in os.environ
    load_dotenv(Path(".env"))
    if other_home:
        os.environ.pop("DAGSTER_HOME", None)


def _folder(environ: Mapping[str, str], name: str, default: Path) -> Path:
    return Path(environ.get(name) or default).expanduser().resolve()


def _paths(environ: Mapping[str, str], name: str) -> tuple[Path, ...]:
    texts = (environ.get(name) or "").split(",")
    return tuple(Path(text.strip()).expanduser().resolve() for text in texts if text.strip())


def _choice(environ: Mapping[str, str], name: str, default: _Choice) -> _Choice:
    text = environ.get(name) or default
    kind = type(default)
    try:
        return kind(text)
    except ValueError:
        raise SettingError(f"{name}={text!r}: one of {', '.join(kind)} is wanted.") from None


def _flag(environ: Mapping[str, str], name: str) -> bool:
    text = environ.get(name) or "0"
    if text not in ("0", "1"):
        raise SettingError(f"{name}={text!r}: 0 or 1 is wanted.")
    return text == "1"


def _whole_number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name)
    if not text:
        return None
    if not text.isdecimal():
        raise SettingError(f"{name}={text!r}: a whole number is wanted.")
    return int(text)


def _providers(environ: Mapping[str, str]) -> tuple[Provider, ...]:
    text = environ.get("IMGMINE_PROVIDERS") or ""
    try:
        return tuple(Provider(name.strip().lower()) for name in text.split(",") if name.strip())
    except ValueError:
        raise SettingError(f"IMGMINE_PROVIDERS={text!r}: one or more of {', '.join(Provider)} is wanted.") from None


def _detector(environ: Mapping[str, str]) -> str:
    name = environ.get("IMGMINE_DETECTOR") or _DETECTOR
    if name != _DETECTOR:
        # Imported here: it takes NumPy half a second to load, which is for nothing where the mixture is used.
        from imgmine.models.detectors.base import DetectorError
        from imgmine.models.detectors.kinds import check_detector

        try:
            check_detector(name)
        except DetectorError as error:
            raise SettingError(f"IMGMINE_DETECTOR={name!r}: {error}") from None
    return name


def _store(value: str) -> str:
    kind, slashes, rest = value.partition("://")
    if not slashes:
        return str(Path(value).expanduser().resolve())
    wrong = SettingError(f"IMGMINE_STORE={value!r}: a folder or s3://bucket/prefix is wanted.")
    if kind != "s3":
        raise wrong
    try:
        check_key(rest.rstrip("/"))
    except ValueError:
        raise wrong from None
    return value.rstrip("/")


def _address(environ: Mapping[str, str], name: str, default: str) -> str:
    text = (environ.get(name) or default).rstrip("/")
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.netloc):
        raise SettingError(f"{name}={text!r}: an address that begins with https:// or http:// is wanted.")
    return text


def _s3_endpoint(environ: Mapping[str, str]) -> str | None:
    text = _address(environ, "IMGMINE_S3_ENDPOINT", "")
    if urlsplit(text).path:  # R2 shows its endpoint with a bucket's name behind it
        raise SettingError(f"IMGMINE_S3_ENDPOINT={text!r}: the bucket goes into IMGMINE_STORE (s3://bucket/prefix).")
    return text or None


@overload
def _number(environ: Mapping[str, str], name: str, default: float, least: float, most: float) -> float: ...
@overload
def _number(environ: Mapping[str, str], name: str, default: None, least: float, most: float) -> float | None: ...
def _number(environ: Mapping[str, str], name: str, default: float | None, least: float, most: float) -> float | None:
    text = environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise SettingError(f"{name}={text!r}: a number is wanted.") from None
    if not least <= value <= most:
        raise SettingError(f"{name}={text!r}: a number from {least:g} to {most:g} is wanted.")
    return value
