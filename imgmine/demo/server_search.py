"""The search of the miniature Internet Archive: the items on disk, the part of the query language that imgmine uses.

How queries and answers travel over HTTP is `server`'s.
"""

import base64
import binascii
import fnmatch
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_CLAUSE = re.compile(
    r'(?P<field>\w+):(?:\[(?P<low>[^\s\]]+) TO (?P<high>[^\s\]]+)\]|"(?P<quoted>[^"]*)"|(?P<word>\S+))'
)
_DATES = frozenset({"publicdate", "addeddate"})
_FIELDS = frozenset({"identifier", "collection", "publicdate", "addeddate", "mediatype", "item_size", "title"})
_SCRAPE_LEAST, _SCRAPE_MOST, _ADVANCED_MOST = 100, 10_000, 10_000

Document = Mapping[str, Any]
Test = Callable[[Document], bool]


class BadQuery(Exception):
    """A request for a search that cannot be answered; the message is what the server says."""


class Catalogue:
    """The items below a folder: each `<identifier>/item.json`, and each line of `items.jsonl` if there is one.

    `items.jsonl` is for items that have metadata and no files, where many are wanted. Both are looked at anew when they
    change, so that items can appear while the server runs.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._folders: dict[Path, tuple[int, Document]] = {}
        self._listed_mtime = -1
        self._listed: dict[str, Document] = {}

    def metadata(self, identifier: str) -> Document:
        """Return what `/metadata/<identifier>` answers: empty for an item that is not there."""
        with self._lock:
            self._read_list()
            return self._read_item(self._root / identifier / "item.json") or self._listed.get(identifier, {})

    def _read_item(self, path: Path) -> Document | None:
        try:
            mtime = path.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return None
        known = self._folders.get(path)
        if known is None or known[0] != mtime:
            known = self._folders[path] = (mtime, json.loads(path.read_bytes()))
        return known[1]

    def _read_list(self) -> None:
        path = self._root / "items.jsonl"
        mtime = path.stat().st_mtime_ns if path.exists() else 0
        if mtime != self._listed_mtime:
            lines = path.read_bytes().splitlines() if mtime else []
            self._listed = {item["metadata"]["identifier"]: item for item in map(json.loads, lines)}
            self._listed_mtime = mtime

    def documents(self) -> Iterator[Document]:
        """Yield what the search index has of each item. Dark items are not in it."""
        with self._lock:
            self._read_list()
            items = dict(self._listed)
            for folder in self._root.iterdir():
                item = self._read_item(folder / "item.json")
                if item is not None:
                    items[folder.name] = item
        for item in items.values():
            if not item.get("is_dark") and item.get("metadata"):
                yield _document(item)


def _document(item: Document) -> Document:
    known = {**item["metadata"], "item_size": item.get("item_size")}
    for name in _DATES & known.keys():
        known[name] = _search_date(known[name])
    return {name: value for name, value in known.items() if name in _FIELDS and value is not None}


def _search_date(text: str) -> str:
    """Metadata says `2023-05-03 12:34:56`, search `2023-05-03T12:34:56Z`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_query(text: str) -> Test:
    """Return the test that a query is: `field:word`, `field:"words"`, `date:[A TO B]`, joined by AND."""
    tests = []
    for clause in re.split(r"\s+AND\s+", text.strip()):
        match = _CLAUSE.fullmatch(clause.strip().removeprefix("(").removesuffix(")"))
        if match is None or match["field"] not in _FIELDS:
            raise BadQuery(f"the query cannot be parsed at: {clause!r}")
        if match["low"] is not None:
            tests.append(_in_range(match["field"], match["low"], match["high"]))
        else:
            tests.append(_matches(match["field"], match["quoted"] or match["word"] or ""))
    return lambda document: all(test(document) for test in tests)


def _matches(field: str, wanted: str) -> Test:
    def test(document: Document) -> bool:
        values = document.get(field)
        return any(
            fnmatch.fnmatchcase(str(value), wanted) for value in (values if isinstance(values, list) else [values])
        )

    return test


def _in_range(field: str, low: str, high: str) -> Test:
    if field not in _DATES:
        raise BadQuery(f"{field} has no ranges here")
    first, last = _moment(low, False), _moment(high, True)
    return lambda document: field in document and first <= document[field] <= last


def _moment(text: str, end: bool) -> str:
    """Return a bound of a range as search writes dates; a day as an upper bound is meant to its end."""
    if text == "*":
        return "9999-12-31T23:59:59Z" if end else "0001-01-01T00:00:00Z"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuery(f"failed to parse date field [{text}]") from None
    if end and len(text) == len("2023-05-03"):
        moment += timedelta(hours=23, minutes=59, seconds=59)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)


@dataclass(frozen=True, slots=True)
class _Sort:
    field: str
    descending: bool

    def key(self, document: Document) -> str:
        return str(document.get(self.field, ""))


def _parse_sorts(names: Sequence[str]) -> list[_Sort]:
    sorts = []
    for name in names:
        field, _, direction = name.strip().partition(" ")
        if field not in _FIELDS or direction not in {"", "asc", "desc"}:
            raise BadQuery(f"cannot sort by {name!r}")
        sorts.append(_Sort(field, direction == "desc"))
    if "identifier" in [sort.field for sort in sorts[:-1]]:
        raise BadQuery("identifier must be the last of the sorts")
    return sorts if sorts and sorts[-1].field == "identifier" else [*sorts, _Sort("identifier", False)]


def _found(catalogue: Catalogue, query: str, sorts: Sequence[_Sort]) -> list[Document]:
    if not query:
        raise BadQuery("a query is wanted: q")
    documents = list(filter(parse_query(query), catalogue.documents()))
    for sort in reversed(sorts):
        documents.sort(key=sort.key, reverse=sort.descending)
    return documents


def _projected(documents: Sequence[Document], fields: Sequence[str]) -> list[Document]:
    wanted = {"identifier", *fields}
    return [{name: document[name] for name in document if name in wanted} for document in documents]


def scrape(catalogue: Catalogue, params: Mapping[str, str]) -> Document:
    """Answer `/services/search/v1/scrape`. Raises `BadQuery`."""
    try:
        count = int(params.get("count") or 5_000)
    except ValueError:
        raise BadQuery("count is no number") from None
    if not _SCRAPE_LEAST <= count <= _SCRAPE_MOST:
        raise BadQuery(f"[RANGE] count {count} is out of range [{_SCRAPE_LEAST}, {_SCRAPE_MOST}]")
    sorts = _parse_sorts([name for name in params.get("sorts", "").split(",") if name])
    documents = _found(catalogue, params.get("q", ""), sorts)
    if params.get("total_only") == "true":
        return {"items": [], "count": 0, "total": len(documents)}
    start = 0
    if params.get("cursor"):
        last = _read_cursor(params["cursor"])
        start = next((n for n, document in enumerate(documents, 1) if document["identifier"] == last), None) or 0
        if not start:
            raise BadQuery("the cursor has expired")
    page = documents[start : start + count]
    fields = [name for name in params.get("fields", "").split(",") if name]
    answer = {"items": _projected(page, fields), "count": len(page), "total": len(documents)}
    if start:
        answer["previous"] = params["cursor"]
    if start + len(page) < len(documents):
        answer["cursor"] = _write_cursor(page[-1]["identifier"])
    return answer


def _write_cursor(identifier: str) -> str:
    return base64.urlsafe_b64encode(identifier.encode()).decode()


def _read_cursor(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise BadQuery("the cursor cannot be read") from None


def advanced_search(catalogue: Catalogue, params: Mapping[str, Sequence[str]]) -> Document:
    """Answer `/advancedsearch.php?output=json`, which hands out no more than the first 10,000. Raises `BadQuery`."""

    def repeated(name: str) -> list[str]:
        """`fl`, `fl[]` and `fl[0]` are all in use."""
        return [value for key, values in params.items() if key.partition("[")[0] == name for value in values]

    try:
        rows, page = (int((params.get(name) or [default])[0]) for name, default in (("rows", "50"), ("page", "1")))
    except ValueError:
        raise BadQuery("rows or page is no number") from None
    if rows < 0 or page < 1 or rows * page > _ADVANCED_MOST:
        raise BadQuery(f"[RANGE] paging is only supported through {_ADVANCED_MOST} results")
    documents = _found(catalogue, (params.get("q") or [""])[0], _parse_sorts(repeated("sort")))
    start = rows * (page - 1)
    docs = _projected(documents[start : start + rows], repeated("fl"))
    return {
        "responseHeader": {
            "status": 0,
            "params": {"query": (params.get("q") or [""])[0], "rows": rows, "start": start},
        },
        "response": {"numFound": len(documents), "start": start, "docs": docs},
    }
