"""From what a person names (hashes, URLs, ids, domains, lists of them) to the files that are published under it.

What is then done with the files is not here.
"""

import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from imgmine.archives.blocked import Blocklist, HashKind
from imgmine.archives.hash_lists import HashListError, read_blocklist
from imgmine.archives.imgur import UrlKind, classify_url, id_of_page
from imgmine.dataset.blocklist import listed_files
from imgmine.dataset.relations import connect, view_archive_tables
from imgmine.dataset.takedown_log import HASHES, Rules, TakedownError, host_of
from imgmine.store.base import Store
from imgmine.store.tables import DIGEST

_HEX = re.compile(r"[0-9a-f]+")
_DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}")
_MEDIA_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_MEMORY = "1GB"
_ANY_ORIGINAL = "https://i.imgur.com/"
_A_FEW = 20

# The host, and what comes after it, of a URL in SQL: what `same_url` tells apart exactly is among what these let by.
_HOST = r"lower(regexp_extract(url, '^\s*(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:[^/?#]*@)?([^/?#:]*)', 1))"
_AFTER_HOST = r"regexp_extract(url, '^\s*(?:[A-Za-z][A-Za-z0-9+.-]*://)?[^/?#]*([^#]*)', 1)"

_STILLS = """
SELECT blake2b FROM files WHERE video_blake2b IN (SELECT blake2b FROM those) AND blake2b NOT IN (
    SELECT blake2b FROM files WHERE video_blake2b NOT IN (SELECT blake2b FROM those)
)
"""


@dataclass(frozen=True, slots=True)
class Named:
    """The files that were archived under some names, by BLAKE2b-256, and the archives that have them.

    `stored` of them are in the store; the rest are in the ledger alone: read, and not kept.
    """

    digests: frozenset[bytes]
    archives: tuple[str, ...]
    stored: int


def hash_values(text: str) -> tuple[str, ...]:
    """Return a hash in hexadecimal as values of the log. Raises `TakedownError`.

    `sha1:…` says of which kind it is; else the length does, and 64 digits may be a BLAKE2b-256 or a SHA-256.
    """
    name, colon, digits = text.strip().lower().rpartition(":")
    if not _HEX.fullmatch(digits) or (colon and HASHES.get(name) != len(digits)):
        raise _no_hash(text)
    kinds = [name] if colon else [kind for kind, length in HASHES.items() if length == len(digits) and kind != "pdq"]
    if not kinds:
        raise _no_hash(text)
    return tuple(f"{kind}:{digits}" for kind in kinds)


def _no_hash(text: str) -> TakedownError:
    return TakedownError(
        f"{text!r} is no hash of a file: 32 (MD5), 40 (SHA-1) or 64 (BLAKE2b-256, SHA-256) hexadecimal digits are "
        "wanted, with `sha256:` or the like before them if it is to be one kind alone."
    )


def url_value(text: str) -> str:
    """Return a URL as a value of the log. Raises `TakedownError`, for one of Imgur's of which nothing is kept too."""
    host = host_of(text)
    if not _DOMAIN.fullmatch(host) or any(character.isspace() for character in text.strip()):
        raise TakedownError(f"{text!r} is no URL: something like https://i.imgur.com/abcdefg.jpg is wanted.")
    whole = text.strip() if "://" in text else f"https://{text.strip()}"
    kind, media_id = classify_url(whole)
    if kind is UrlKind.COPY:
        raise TakedownError(f"{text!r} is a copy, and no copy is kept. Its original is: --media-id {media_id}.")
    if kind is not UrlKind.ORIGINAL and (host == "imgur.com" or host.endswith(".imgur.com")):
        shown = id_of_page(whole)
        advice = f"The picture on it is: --media-id {shown}." if shown else "Name its pictures: --media-id abcdefg."
        raise TakedownError(f"{text!r} is no picture but a page, and no page is kept. {advice}")
    return f"url:{text.strip()}"


def media_id_value(text: str) -> str:
    """Return a source's id of a picture as a value of the log. Raises `TakedownError`."""
    if not _MEDIA_ID.fullmatch(text.strip()):
        raise TakedownError(f"{text!r} is no media id: letters and digits are wanted, such as abcdefg.")
    return f"media_id:{text.strip()}"


def domain_value(text: str) -> str:
    """Return a domain, which stands for those below it too, as a value of the log. Raises `TakedownError`."""
    domain = text.strip().lower().rstrip(".").removeprefix("*.")
    if not _DOMAIN.fullmatch(domain):
        raise TakedownError(f"{text!r} is no domain: something like example.org is wanted.")
    return f"domain:{domain}"


def list_values(path: Path) -> tuple[str, ...]:
    """Read a list: a hash, a URL, `media_id:…` or `domain:…` a line; what follows a `#` at a line's start is a remark.

    A list of hashes alone may have headings and columns too, as in `IMGMINE_BLOCKLIST`. Raises `TakedownError` that
    names the line: then none of the list is to be taken.
    """
    with suppress(HashListError):
        return tuple(read_blocklist([path]).names())
    values: list[str] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TakedownError(f"{path} cannot be read: {error}.") from error
    for number, line in enumerate(lines, 1):
        if (text := line.strip()) and not text.startswith("#"):
            try:
                values += _values_of(text)
            except TakedownError as error:
                raise TakedownError(f"{path}, line {number}: {error} Nothing was taken.") from error
    return tuple(dict.fromkeys(values))


def _values_of(text: str) -> tuple[str, ...]:
    name, _, rest = text.partition(":")
    match name.lower():
        case "media_id":
            return (media_id_value(rest),)
        case "domain":
            return (domain_value(rest),)
        case "url":
            return (url_value(rest),)
        case _ if "/" in text:
            return (url_value(text),)
        case _:
            return hash_values(text)


def published_under(
    store: Store, mirror_folder: Path, rules: Rules, digests: Collection[bytes] = (), *, stills: bool = True
) -> Named:
    """Find the files that the rules or the BLAKE2b `digests` name, in every archive that has been mined.

    With `stills`, a still stands for its video and a video for its stills, but for those that another video has too (a
    black frame). `mirror_folder` keeps copies of the tables of a remote store.
    """
    pictures = Blocklist.of((HashKind.PDQ, each) for each in rules.pdq)
    near = {each.blake2b for each in listed_files(store, mirror_folder, pictures)}
    with connect(memory=_MEMORY) as connection:
        folders = {table: store.mirror(table, ".parquet", mirror_folder) for table in ("records", "files")}
        view_archive_tables(connection, folders)
        found = (
            set(digests)
            | near
            | _by_hash(connection, rules)
            | _by_media_id(connection, rules)
            | _by_url(connection, rules)
        )
        if not found:
            return Named(frozenset(), (), 0)
        if stills:
            found |= _column(connection, "SELECT video_blake2b FROM files SEMI JOIN those USING (blake2b)", found)
            found |= _column(connection, _STILLS, found)
        archives = _column(connection, "SELECT archive FROM files SEMI JOIN those USING (blake2b)", found)
        archives |= _column(connection, "SELECT archive FROM records SEMI JOIN those USING (blake2b)", found)
        stored = _column(connection, "SELECT blake2b FROM files SEMI JOIN those USING (blake2b)", found)
        read = _column(connection, "SELECT blake2b FROM records SEMI JOIN those USING (blake2b)", found)
    return Named(frozenset(stored | read), tuple(sorted(archives)), len(stored))


def is_sweeping(store: Store, mirror_folder: Path, rules: Rules, files: int) -> bool:
    """Tell whether it may be a slip: all that Imgur served, or more than half of the files that are published.

    `files` is how many of these the rules name; of a few it is none.
    """
    if Rules(domains=rules.domains).names(_ANY_ORIGINAL, None):
        return True
    if files <= _A_FEW:
        return False
    with connect(memory=_MEMORY) as connection:
        view_archive_tables(connection, {"files": store.mirror("files", ".parquet", mirror_folder)})
        [(count,)] = connection.execute("SELECT count(*) FROM files").fetchall()
    return bool(2 * files > count)


def digests_table(digests: Collection[bytes]) -> pa.Table:
    """Return a table with the column `blake2b`, for DuckDB."""
    return pa.table({"blake2b": pa.array(sorted(digests), DIGEST)})


def _by_hash(connection: duckdb.DuckDBPyConnection, rules: Rules) -> set[bytes]:
    found: set[bytes] = set()
    for column, hashes in (("md5", rules.md5), ("sha1", rules.sha1), ("sha256", rules.sha256)):
        if hashes:
            found |= _values(connection, f"SELECT blake2b FROM files SEMI JOIN wanted ON {column} = value", hashes)
    return found


def _by_media_id(connection: duckdb.DuckDBPyConnection, rules: Rules) -> set[bytes]:
    if not rules.media_ids:
        return set()
    both = "SELECT media_id, blake2b FROM records UNION ALL SELECT media_id, blake2b FROM files"
    return _values(connection, f"SELECT blake2b FROM ({both}) SEMI JOIN wanted ON media_id = value", rules.media_ids)


def _by_url(connection: duckdb.DuckDBPyConnection, rules: Rules) -> set[bytes]:
    if not (rules.urls or rules.domains):
        return set()
    both = "SELECT url, blake2b FROM records WHERE blake2b IS NOT NULL UNION SELECT url, blake2b FROM files"
    found: set[bytes] = set()
    ends = {url[url.index("/") :] for url in rules.urls if "/" in url}
    if "/" in ends:
        ends.add("")
    if ends:
        likely = f"SELECT url, blake2b FROM ({both}) SEMI JOIN wanted ON {_AFTER_HOST} = value"
        found |= _exactly(connection, likely, ends, rules)
    if rules.domains:
        # A host's name ends in the domain's last two labels, whatever is before them.
        ends = {".".join(domain.split(".")[-2:]) for domain in rules.domains}
        likely = f"SELECT url, blake2b FROM ({both}) SEMI JOIN wanted ON array_to_string({_LAST_TWO}, '.') = value"
        found |= _exactly(connection, likely, ends, rules)
    return found


_LAST_TWO = f"(string_split(rtrim({_HOST}, '.'), '.')[-2:])"


def _exactly(connection: duckdb.DuckDBPyConnection, likely: str, ends: Iterable[str], rules: Rules) -> set[bytes]:
    connection.register("wanted", pa.table({"value": pa.array(sorted(ends), pa.string())}))
    found: set[bytes] = set()
    for batch in connection.execute(likely).to_arrow_reader(1 << 16):
        rows = zip(batch.column("url").to_pylist(), batch.column("blake2b").to_pylist(), strict=True)
        found |= {digest for url, digest in rows if rules.names(url, None)}
    return found


def _values(connection: duckdb.DuckDBPyConnection, select: str, wanted: Collection[Any]) -> set[bytes]:
    connection.register("wanted", pa.table({"value": pa.array(sorted(wanted))}))
    return {value for (value,) in connection.execute(select).fetchall() if value is not None}


def _column(connection: duckdb.DuckDBPyConnection, select: str, those: Collection[bytes]) -> set[Any]:
    connection.register("those", digests_table(those))
    return {value for (value,) in connection.execute(f"SELECT DISTINCT * FROM ({select})").fetchall() if value}
