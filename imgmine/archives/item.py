"""An item of the Internet Archive as its metadata describes it, which of its files are WARCs, and its manifest.

Nothing here talks to the network: reading the metadata is `archive_org`'s, fetching the files `download`'s.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from imgmine.errors import ImgmineError

# The plain form has not been seen in the Imgur collection; a WARC is a WARC, so it is not left out.
WARC_FORMATS = frozenset({"Web ARChive ZST", "Web ARChive GZ", "Web ARChive"})
CDX_FORMAT = "Item CDX Index"

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MANIFEST_VERSION = 1


class Unavailable(ImgmineError):
    """The Internet Archive will not give this item or file, however often it is asked."""


class ItemMissing(Unavailable):
    """There is no such item."""


class ItemDark(Unavailable):
    """The item was taken out of public view."""


class ItemRestricted(Unavailable):
    """The item, or a file of it that is needed, is not for everybody."""


class ItemWithoutWarc(Unavailable):
    """The item has no file in a WARC format."""


class FileMissing(Unavailable):
    """The item's metadata names the file, but it is not there."""


class BadMetadata(ImgmineError):
    """The metadata that was read is not an item's: a failed read, which is not the same as a missing item."""


class Availability(StrEnum):
    """Whether an item that exists can be mined."""

    AVAILABLE = "available"
    DARK = "dark"
    RESTRICTED = "restricted"
    NO_WARC = "no_warc"


@dataclass(frozen=True, slots=True)
class ItemFile:
    """One file of an item. `size` is in bytes, `mtime` in seconds since 1970; digests are lower-case hexadecimal.

    What the metadata does not say is None (an item's own `_files.xml`, for one, has no size).
    """

    name: str
    format: str
    size: int | None
    md5: str | None
    sha1: str | None
    crc32: str | None
    mtime: int | None
    private: bool


@dataclass(frozen=True, slots=True)
class Item:
    """An item: what its metadata says that imgmine goes by. Dates are UTC; `files` are sorted by name."""

    identifier: str
    publicdate: datetime | None
    addeddate: datetime | None
    item_size: int | None
    dark: bool
    restricted: bool
    files: tuple[ItemFile, ...]

    @property
    def warcs(self) -> tuple[ItemFile, ...]:
        """Every WARC file, chosen by format and never by name, sorted by name. All of them belong to the archive."""
        return tuple(file for file in self.files if file.format in WARC_FORMATS)

    @property
    def cdx_indexes(self) -> tuple[ItemFile, ...]:
        """The CDX files, sorted by name."""
        return tuple(file for file in self.files if file.format == CDX_FORMAT)

    @property
    def availability(self) -> Availability:
        """Whether the WARCs can be had, as far as the metadata says."""
        if self.dark:
            return Availability.DARK
        if self.restricted or any(file.private for file in self.warcs):
            return Availability.RESTRICTED
        return Availability.AVAILABLE if self.warcs else Availability.NO_WARC

    @property
    def warc_bytes(self) -> int:
        """The bytes of the WARC files, as far as the metadata gives them."""
        return sum(file.size or 0 for file in self.warcs)

    @property
    def warcs_digest(self) -> str:
        """Hexadecimal BLAKE2b-128 of the WARCs' names, sizes and MD5s: what mining the item depends on, and no more.

        The manifest changes when IA touches a thumbnail or a description; this does not.
        """
        named = json.dumps([[file.name, file.size, file.md5] for file in self.warcs])
        return hashlib.blake2b(named.encode(), digest_size=16).hexdigest()

    def require_available(self) -> None:
        """Raise `ItemDark`, `ItemRestricted` or `ItemWithoutWarc` where the item cannot be mined."""
        match self.availability:
            case Availability.DARK:
                raise ItemDark(f"{self.identifier} is dark: IA has taken it out of public view. Leave it out.")
            case Availability.RESTRICTED:
                private = ", ".join(file.name for file in self.warcs if file.private) or "the whole item"
                raise ItemRestricted(f"{self.identifier} is restricted on IA ({private}). Leave it out.")
            case Availability.NO_WARC:
                formats = ", ".join(sorted({file.format for file in self.files})) or "none"
                raise ItemWithoutWarc(f"{self.identifier} has no WARC file (formats: {formats}). Leave it out.")


def check_identifier(identifier: str) -> str:
    """Return the identifier, which is safe as a folder's name and in a URL. Raises `BadMetadata` if it is not."""
    if not _IDENTIFIER.fullmatch(identifier):
        raise BadMetadata(f"{identifier!r} is no identifier of an IA item: letters, digits and ._- are wanted.")
    return identifier


def parse_item(identifier: str, metadata: Mapping[str, Any]) -> Item:
    """Return the item that IA's `/metadata/<identifier>` answered.

    Raises `ItemMissing` for `{}`, which is how IA says it, and `BadMetadata` for anything that is no item.
    """
    check_identifier(identifier)
    if not metadata:
        raise ItemMissing(f"{identifier}: IA has no such item. Check the identifier.")
    dark = _is_true(metadata.get("is_dark"))
    about = metadata.get("metadata")
    listed = metadata.get("files")
    if dark:
        about, listed = about or {}, listed or []
    if not isinstance(about, Mapping) or not isinstance(listed, Sequence) or isinstance(listed, str):
        problem = metadata.get("error") or "it has no metadata or no list of files"
        raise BadMetadata(f"{identifier}: the metadata read from IA is not an item's ({problem}). Try again later.")
    named = _first(about.get("identifier"))
    if named is not None and named != identifier:
        raise BadMetadata(f"{identifier}: IA answered with the metadata of {named!r}. Try again later.")
    files = tuple(sorted((_parse_file(identifier, entry) for entry in listed), key=lambda file: file.name))
    if len({file.name for file in files}) != len(files):
        raise BadMetadata(f"{identifier}: IA's metadata names a file twice. Try again later.")
    return Item(
        identifier=identifier,
        publicdate=_date(identifier, about.get("publicdate")),
        addeddate=_date(identifier, about.get("addeddate")),
        item_size=_count(metadata.get("item_size")),
        dark=dark,
        restricted=_is_true(about.get("access-restricted-item")),
        files=files,
    )


def parse_date(text: str) -> datetime:
    """Return the UTC time that IA writes as `2023-05-03 12:34:56`, or with a T and a Z. Raises `ValueError`."""
    moment = datetime.fromisoformat(text.strip())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _parse_file(identifier: str, entry: Any) -> ItemFile:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    # The name becomes a path below the cache: it must not lead out of it.
    if not isinstance(name, str) or not _stays_inside(name):
        raise BadMetadata(f"{identifier}: the name {name!r} of one of its files cannot be used.")
    return ItemFile(
        name=name,
        format=str(_first(entry.get("format")) or ""),
        size=_count(entry.get("size")),
        md5=_digest(entry.get("md5")),
        sha1=_digest(entry.get("sha1")),
        crc32=_digest(entry.get("crc32")),
        mtime=_count(entry.get("mtime")),
        private=_is_true(entry.get("private")),
    )


def _stays_inside(name: str) -> bool:
    parts = name.split("/")
    return not ({"", ".", ".."} & set(parts)) and "\0" not in name and not PurePosixPath(name).is_absolute()


def _first(value: Any) -> Any:
    """IA gives a repeated field as a list; the first is meant."""
    return (value[0] if value else None) if isinstance(value, list) else value


def _is_true(value: Any) -> bool:
    return str(_first(value)).lower() in {"true", "1"}


def _count(value: Any) -> int | None:
    try:
        number = int(_first(value))
    except (TypeError, ValueError):
        return None
    return number if number >= 0 else None


def _digest(value: Any) -> str | None:
    text = _first(value)
    return text.lower() if isinstance(text, str) and text else None


def _date(identifier: str, value: Any) -> datetime | None:
    text = _first(value)
    if text is None:
        return None
    try:
        return parse_date(str(text))
    except ValueError:
        raise BadMetadata(f"{identifier}: IA's metadata has a date that is none: {text!r}.") from None


def manifest_bytes(item: Item) -> bytes:
    """Return the item as JSON: the same bytes for the same metadata, whenever and wherever it was read."""
    document = {
        "manifest_version": _MANIFEST_VERSION,
        **asdict(item),
        "publicdate": item.publicdate.isoformat() if item.publicdate else None,
        "addeddate": item.addeddate.isoformat() if item.addeddate else None,
    }
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_manifest(data: bytes) -> Item:
    """Return the item that `manifest_bytes` wrote. Raises `BadMetadata`."""
    try:
        document = json.loads(data)
        version = document.pop("manifest_version")
        document["files"] = tuple(
            ItemFile(**{field.name: entry[field.name] for field in fields(ItemFile)}) for entry in document["files"]
        )
        for name in ("publicdate", "addeddate"):
            document[name] = parse_date(document[name]) if document[name] is not None else None
        item = Item(**document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadMetadata(f"This is no manifest of an archive: {error!r}. Make it again.") from error
    if version != _MANIFEST_VERSION:
        raise BadMetadata(
            f"{item.identifier}: a manifest of version {version}, not {_MANIFEST_VERSION}. Make it again."
        )
    return item
