"""The log of what was taken down: entries that are only ever added, each with the hash of the one before.

What follows from an entry (which listing, which shard) is not here: `takedown_names` resolves what a person named,
`takedown` rewrites what holds it.
"""

import getpass
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any
from urllib.parse import SplitResult, urlsplit

from imgmine.errors import PersonNeeded
from imgmine.store.base import Store, StoreRefused

LOG = "takedown/log/"
NO_ENTRY = "0" * 64

_PROBE = "takedown/format.json"
_FORMAT = b'{"format":1}\n'
_KEY = re.compile(re.escape(LOG) + r"(\d{8})\.json")
_READS_AT_ONCE = 8
_MOST_TRIES = 100


class TakedownError(PersonNeeded):
    """What was asked for is no take-down."""


class BrokenLog(PersonNeeded):
    """The log of take-downs is not as it was written: an entry is missing, or was changed."""


class Action(StrEnum):
    """What an entry does."""

    ADD = "add"
    UNDO = "undo"
    FOUND = "found"
    """Files that a rule of an earlier entry was found to name since."""


class Kind(StrEnum):
    """What a person named."""

    HASH = "hash"
    URL = "url"
    MEDIA_ID = "media_id"
    DOMAIN = "domain"
    LIST = "list"
    PDQ = "pdq"


# What a value begins with, before its colon, and how many hexadecimal digits follow where it is a hash.
HASHES: Mapping[str, int] = {"blake2b": 64, "sha256": 64, "sha1": 40, "md5": 32, "pdq": 64}
NAMES = ("url", "media_id", "domain")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it is in the log.

    Attributes:
        number: from 1 on, without gaps.
        previous: the hash of the entry before, hexadecimal; 64 zeros before the first.
        time: when it was written (UTC).
        action: `of` is the entry that an undo takes back, or whose rule found files; None for an add.
        kind: what was named; an undo and a finding have their entry's.
        values: `blake2b:…`, `sha256:…`, `sha1:…`, `md5:…`, `pdq:…` in hexadecimal, `url:…`, `media_id:…`, `domain:…`.
        resolved: BLAKE2b-256 of the files that these named when it was written, sorted.
        by: who wrote it.
        token: told by chance, so that a writer knows its own entry again.
        hash: BLAKE2b-256 of the entry as stored, hexadecimal: what the next one carries.
    """

    number: int
    previous: str
    time: datetime
    action: Action
    of: int | None
    kind: Kind
    values: tuple[str, ...]
    resolved: tuple[bytes, ...]
    reason: str
    by: str
    token: str
    hash: str


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry that has no place in the log yet; its fields are an `Entry`'s."""

    action: Action
    kind: Kind
    values: tuple[str, ...]
    resolved: tuple[bytes, ...]
    reason: str
    of: int | None = None


@dataclass(frozen=True)
class Rules:
    """What is blocked by something else than BLAKE2b, and holds for files that are mined later too."""

    urls: frozenset[str] = frozenset()
    """In the form that `same_url` gives."""
    media_ids: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    md5: frozenset[bytes] = frozenset()
    sha1: frozenset[bytes] = frozenset()
    sha256: frozenset[bytes] = frozenset()
    pdq: frozenset[bytes] = frozenset()

    @property
    def has_names(self) -> bool:
        """Whether there is anything by which `names` can tell."""
        return bool(self.urls or self.media_ids or self.domains)

    def names(self, url: str | None, media_id: str | None) -> bool:
        """Tell whether a record with this URL and this id is blocked, whatever its bytes."""
        if media_id is not None and media_id in self.media_ids:
            return True
        if url is None or not (self.urls or self.domains):
            return False
        return same_url(url) in self.urls or (bool(self.domains) and not self.domains.isdisjoint(_domains_of(url)))

    def has_hash(self, md5: bytes, sha1: bytes, sha256: bytes) -> bool:
        """Tell whether a file with these hashes is blocked."""
        return md5 in self.md5 or sha1 in self.sha1 or sha256 in self.sha256


@dataclass(frozen=True)
class TakedownLog:
    """All entries, in order. `head` is the hash of the last one (64 zeros where there is none)."""

    entries: tuple[Entry, ...] = ()

    @property
    def head(self) -> str:
        return self.entries[-1].hash if self.entries else NO_ENTRY

    @cached_property
    def undone(self) -> frozenset[int]:
        """Numbers of the entries that were taken back."""
        return frozenset(entry.of for entry in self.entries if entry.action is Action.UNDO and entry.of is not None)

    @cached_property
    def active(self) -> tuple[Entry, ...]:
        """Entries that block something now: those that name, and those that say what was found, not taken back."""
        return tuple(
            entry
            for entry in self.entries
            if entry.action is not Action.UNDO
            and (entry.number if entry.action is Action.ADD else entry.of) not in self.undone
        )

    @cached_property
    def blocked(self) -> frozenset[bytes]:
        """BLAKE2b-256 of every file that is known to be blocked now."""
        return frozenset(digest for entry in self.active for digest in (*entry.resolved, *named_digests(entry.values)))

    @cached_property
    def rules(self) -> Rules:
        """What blocks files that are not known by their BLAKE2b yet."""
        return rules_of(value for entry in self.active for value in entry.values)

    def naming(self, url: str, media_id: str | None) -> tuple[Entry, ...]:
        """Return the entries that block whatever has this URL or this id."""
        return tuple(entry for entry in self.active if rules_of(entry.values).names(url, media_id))

    def blocking(self, digest: bytes) -> tuple[Entry, ...]:
        """Return the entries by which this file is blocked now."""
        named = f"blake2b:{digest.hex()}"
        return tuple(entry for entry in self.active if digest in entry.resolved or named in entry.values)

    def entry(self, number: int) -> Entry:
        """Return an entry. Raises `TakedownError`."""
        if not 1 <= number <= len(self.entries):
            raise TakedownError(
                f"The log has no entry {number}: it has {len(self.entries)}. See imgmine takedown list."
            )
        return self.entries[number - 1]


def rules_of(values: Iterable[str]) -> Rules:
    """Return the rules that values of the log stand for."""
    by_name: dict[str, set[str]] = {}
    for value in values:
        name, _, rest = value.partition(":")
        by_name.setdefault(name, set()).add(rest)
    hashes = {name: frozenset(map(bytes.fromhex, by_name.get(name, ()))) for name in ("md5", "sha1", "sha256", "pdq")}
    return Rules(
        urls=frozenset(map(same_url, by_name.get("url", ()))),
        media_ids=frozenset(by_name.get("media_id", ())),
        domains=frozenset(by_name.get("domain", ())),
        **hashes,
    )


def named_digests(values: Iterable[str]) -> frozenset[bytes]:
    """Return the BLAKE2b-256 among values of the log."""
    before = "blake2b:"
    return frozenset(bytes.fromhex(value.removeprefix(before)) for value in values if value.startswith(before))


def read_log(store: Store) -> TakedownLog:
    """Read the whole log, and see that it is as it was written. Raises `BrokenLog`.

    That the last entries are missing cannot be seen here: only who noted `head` elsewhere knows it.
    """
    keys = [stored.key for stored in store.list(LOG)]
    if len(keys) < 2:
        found = [store.get_bytes(key) for key in keys]
    else:
        with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
            found = list(pool.map(store.get_bytes, keys))
    entries: list[Entry] = []
    previous = NO_ENTRY
    for number, (key, data) in enumerate(zip(keys, found, strict=True), 1):
        if _KEY.fullmatch(key) is None:
            raise BrokenLog(f"{store.uri(key)} is no entry of the log of take-downs. Move it elsewhere.")
        if key != entry_key(number):
            raise BrokenLog(f"{store.uri(entry_key(number))} is missing. {_RESTORE}")
        entry = _parsed(data, store.uri(key))
        if entry.number != number or entry.previous != previous:
            before = store.uri(entry_key(number - 1)) if number > 1 else "the beginning"
            raise BrokenLog(f"{store.uri(key)} does not follow {before}: one of them was changed. {_RESTORE}")
        entries.append(entry)
        previous = entry.hash
    return TakedownLog(tuple(entries))


_RESTORE = "Restore the folder takedown/log from a backup; until then nothing is published or taken down."


def entry_key(number: int) -> str:
    """Return the store key of an entry."""
    return f"{LOG}{number:08d}.json"


def append(
    store: Store, draft: Draft | Callable[[TakedownLog], Draft], *, by: str | None = None, at: datetime | None = None
) -> Entry:
    """Add an entry to the log and return it; it is there when this returns.

    A function is asked for the draft again whenever somebody else has added one meanwhile; it may raise
    `TakedownError`. Raises `StoreRefused` where the store cannot keep two writers from taking the same place.
    """
    _see_that_nothing_is_replaced(store)
    for _ in range(_MOST_TRIES):
        log = read_log(store)
        made = draft(log) if callable(draft) else draft
        number = len(log.entries) + 1
        data = _written(made, number, log.head, by or getpass.getuser(), at or datetime.now(UTC), secrets.token_hex(16))
        key = entry_key(number)
        # Where an answer of the server was lost, what is there may be what was just put.
        if store.put_new(key, data) or store.get_bytes(key) == data:
            return _parsed(data, store.uri(key))
    raise TakedownError(f"{_MOST_TRIES} others added to the log of take-downs at the same time. Try again.")


def undo_of(number: int, reason: str) -> Callable[[TakedownLog], Draft]:
    """Return what makes the draft that takes an entry back. The draft raises `TakedownError` where it cannot be."""

    def draft(log: TakedownLog) -> Draft:
        entry = log.entry(number)
        if entry.action is not Action.ADD:
            raise TakedownError(f"Entry {number} is no take-down but {entry.action}; give the number of a take-down.")
        if number in log.undone:
            raise TakedownError(f"Entry {number} was taken back already.")
        return Draft(Action.UNDO, entry.kind, (), (), reason, of=number)

    return draft


def same_url(url: str) -> str:
    """Return the URL in the form in which equal ones are equal: without scheme, fragment and port, host in lower case.

    The path and the query stay as they are. What is no URL stays itself.
    """
    parts = _split(url)
    if parts is None:
        return url.strip()
    query = f"?{parts.query}" if parts.query else ""
    return f"{_host(parts.netloc)}{parts.path or '/'}{query}"


def host_of(url: str) -> str:
    """Return the URL's host in lower case, without user and port; nothing where it has none."""
    parts = _split(url)
    return _host(parts.netloc) if parts is not None else ""


def _split(url: str) -> SplitResult | None:
    text = url.strip()
    try:
        return urlsplit(text if "://" in text else f"//{text}")
    except ValueError:  # an archive may call anything a URL
        return None


def _host(netloc: str) -> str:
    return netloc.rpartition("@")[2].partition(":")[0].rstrip(".").lower()


def _domains_of(url: str) -> Iterable[str]:
    """Return the URL's host and all domains above it."""
    labels = host_of(url).split(".")
    return [".".join(labels[start:]) for start in range(len(labels))]


def _see_that_nothing_is_replaced(store: Store) -> None:
    """Raise where the store takes a second put of what is there already: a server that does not know the condition."""
    if store.put_new(_PROBE, _FORMAT) and store.put_new(_PROBE, _FORMAT):
        raise StoreRefused(
            f"{store.url}: this server does not heed If-None-Match, so that two take-downs at once could become one. "
            "Use one that does (AWS, R2, MinIO, SeaweedFS of this year)."
        )


def _written(draft: Draft, number: int, previous: str, by: str, at: datetime, token: str) -> bytes:
    said = {
        "number": number,
        "previous": previous,
        "time": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "action": draft.action.value,
        "of": draft.of,
        "kind": draft.kind.value,
        "values": list(draft.values),
        "resolved": [digest.hex() for digest in sorted(set(draft.resolved))],
        "reason": draft.reason,
        "by": by,
        "token": token,
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"), indent=0).encode() + b"\n"


def _parsed(data: bytes, where: str) -> Entry:
    try:
        said: dict[str, Any] = json.loads(data)
        return Entry(
            number=int(said["number"]),
            previous=str(said["previous"]),
            time=datetime.fromisoformat(said["time"]),
            action=Action(said["action"]),
            of=None if said["of"] is None else int(said["of"]),
            kind=Kind(said["kind"]),
            values=_texts(said["values"]),
            resolved=tuple(map(bytes.fromhex, _texts(said["resolved"]))),
            reason=str(said["reason"]),
            by=str(said["by"]),
            token=str(said["token"]),
            hash=hashlib.blake2b(data, digest_size=32).hexdigest(),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenLog(f"{where} is not as it was written ({error}). {_RESTORE}") from error


def _texts(said: Sequence[object]) -> tuple[str, ...]:
    return tuple(str(text) for text in said)
