"""The Internet Archive's metadata and search, asked politely: one client, one User-Agent, one way to wait and retry.

It goes through the `internetarchive` client. Fetching files is `download`'s; what an item is, `item`'s.
"""

import os
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ChunkedEncodingError, HTTPError, JSONDecodeError, RequestException

from imgmine import __version__
from imgmine.archives.item import (
    BadMetadata,
    Item,
    ItemMissing,
    ItemRestricted,
    check_identifier,
    parse_date,
    parse_item,
)
from imgmine.archives.retry import TEMPORARY_STATUSES, RetryPolicy, TemporaryFailure, retry_after_seconds
from imgmine.errors import ImgmineError

if TYPE_CHECKING:
    from internetarchive import ArchiveSession

DEFAULT_URL = "https://archive.org"
SEARCH_PAGE = 10_000

# Items that come twice because the collection grew during a search are few; more means that IA repeats itself.
_REPEATS_TOLERATED = 1_000
_PRINTABLE = re.compile(r"[\x20-\x7e]*")


class ArchiveOrgUnreachable(ImgmineError):
    """The Internet Archive did not answer, or not with an answer, as often as it was asked. Later may be better."""


class SearchFailed(ArchiveOrgUnreachable):
    """A search did not come through whole. It says nothing about what the collection has."""


class FoundItem(NamedTuple):
    """An item that a search found. `publicdate` is UTC. They compare in the order in which they are handed out."""

    publicdate: datetime
    identifier: str


class ArchiveOrg:
    """A client of archive.org, or of a server that answers as it does.

    `base_url` is a scheme, a host and perhaps a port. `contact`, an address or a page, goes into the User-Agent, so
    that IA can reach whoever mines. `timeout` is in seconds, for each connection and each read. Threads may share it.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        contact: str | None = None,
        *,
        retry: RetryPolicy | None = None,
        timeout: float = 60.0,
        search_page: int = SEARCH_PAGE,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/") or parts.query:
            raise ImgmineError(f"{base_url!r} is no address of an archive: http(s)://host[:port] is wanted.")
        if contact is not None and not _PRINTABLE.fullmatch(contact):
            raise ImgmineError(f"The contact {contact!r} cannot go into an HTTP header: plain ASCII is wanted.")
        self.base_url = f"{parts.scheme}://{parts.netloc}"
        self.user_agent = f"imgmine/{__version__}" + (f" ({contact})" if contact else "")
        self.retry = retry or RetryPolicy()
        self.timeout = timeout
        self._search_page = search_page
        self._host = parts.netloc
        self._scheme = parts.scheme

    def item(self, identifier: str) -> Item:
        """Return the item. Raises `ItemMissing`, `ItemRestricted`, `BadMetadata` or `ArchiveOrgUnreachable`.

        A dark or restricted item is an item: ask its `availability`, or let it `require_available()`.
        """
        check_identifier(identifier)
        with self._client() as session:
            try:
                metadata = session.get_metadata(identifier, {"timeout": self.timeout})
            except JSONDecodeError as error:
                raise BadMetadata(f"{identifier}: IA's metadata is not JSON ({error}). Try again later.") from error
            except HTTPError as error:
                raise _refusal(identifier, error) from error
            except RequestException as error:
                raise ArchiveOrgUnreachable(f"{identifier}: {error}") from error
        if not isinstance(metadata, Mapping):
            raise BadMetadata(f"{identifier}: the metadata read from IA is not an item's. Try again later.")
        return parse_item(identifier, metadata)

    def items_since(self, collection: str, after: FoundItem | None = None) -> list[FoundItem]:
        """Return the collection's items that come after `after`, by publicdate and then identifier.

        `after` is the last item that the caller has dealt with. An item can show up in IA's index later than its
        publicdate says: whoever must have all of them looks back, with `FoundItem(some_days_earlier, "")`, and knows
        again what it has. The whole answer is read, compared with the total that IA promises, and sorted here: nothing
        is handed out of a search that failed half way. Raises `SearchFailed`.
        """
        check_identifier(collection)
        query = f"collection:{collection}"
        if after is not None:
            # By whole days, which IA's query language takes in every place where it takes dates; the rest is cut below.
            query += f" AND publicdate:[{after.publicdate:%Y-%m-%d} TO 9999-12-31]"
        failures = 0
        found: set[FoundItem] | None = None
        while found is None:
            try:
                found = self._search(query)
            except ArchiveOrgUnreachable as error:
                raise SearchFailed(f"Searching for {query!r}: {error}") from error
            except TemporaryFailure as failure:
                failures += 1
                if not self.retry.wait(failures, failure):
                    raise SearchFailed(
                        f"Searching {self.base_url} for {query!r}: {failure}. Try again later."
                    ) from None
        return sorted(item for item in found if after is None or item > after)

    def file_url(self, identifier: str, name: str) -> str:
        """Return where a file of an item is downloaded from (by way of a redirect to the machine that has it)."""
        return f"{self.base_url}/download/{check_identifier(identifier)}/{quote(name)}"

    def download_session(self) -> requests.Session:
        """Return a session for files: the same manners, connections kept, bytes as they are, no retries of its own."""
        session = requests.Session()
        session.headers.update({"User-Agent": self.user_agent, "Accept-Encoding": "identity"})
        session.max_redirects = 5
        return session

    def _client(self) -> "ArchiveSession":
        from internetarchive import ArchiveSession

        # No configuration file: what a search returns must not hang on who runs it.
        session = ArchiveSession(config={"general": {"secure": self._scheme == "https"}}, config_file=os.devnull)
        session.host = self._host
        session.protocol = f"{self._scheme}:"
        session.headers["User-Agent"] = f"{self.user_agent} {requests.utils.default_user_agent()}"
        session.headers["Connection"] = "keep-alive"
        # The client mounts an adapter of its own at "https://archive.org" with each search; the longer prefix wins.
        session.mount(f"{self.base_url}/", _PoliteAdapter(self.retry))
        return session

    def _search(self, query: str) -> set[FoundItem]:
        found: set[FoundItem] = set()
        repeated = 0
        with self._client() as session:
            search = session.search_items(
                query,
                fields=["identifier", "publicdate"],
                sorts=["publicdate asc", "identifier asc"],
                params={"count": self._search_page},
                request_kwargs={"timeout": self.timeout},
            )
            try:
                for row in search:
                    before = len(found)
                    found.add(_found_item(row))
                    repeated += len(found) == before
                    if repeated > _REPEATS_TOLERATED:
                        raise TemporaryFailure("IA hands out the same items again and again")
                if not found and search.num_found != 0:
                    raise TemporaryFailure(f"no items came, and the total is {search.num_found}")
            except requests.ReadTimeout as error:
                # The client's way to say that it did not get as many as promised. More is well: the collection grew.
                if len(found) < search.num_found:
                    raise TemporaryFailure(f"{len(found)} of {search.num_found} items came") from error
            except (RequestException, ValueError, KeyError) as error:
                raise TemporaryFailure(f"IA's answer cannot be read: {error!r}") from error
        return found


class _PoliteAdapter(HTTPAdapter):
    """Sends each request of the metadata and search client until it is answered, as the policy allows.

    Retrying here, below the client, is what keeps the server's Retry-After, of which the client's errors say nothing.
    """

    def __init__(self, retry: RetryPolicy) -> None:
        super().__init__(max_retries=0)
        self._retry = retry

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        failures = 0
        while True:
            try:
                response = super().send(request, *args, **kwargs)
                # Read it now: a body that is cut off is a failure of the request and not of whoever reads the body.
                _ = response.content
                if response.status_code not in TEMPORARY_STATUSES:
                    return response
                failure = TemporaryFailure(f"HTTP {response.status_code}", retry_after_seconds(response.headers))
            except (requests.ConnectionError, requests.Timeout, ChunkedEncodingError) as error:
                failure = TemporaryFailure(str(error))
            failures += 1
            if not self._retry.wait(failures, failure):
                asked = f", and asks to wait {failure.retry_after:.0f} s" if failure.retry_after else ""
                raise ArchiveOrgUnreachable(
                    f"{request.method} {request.url} failed {failures} times in a row; at last: {failure}{asked}. "
                    "Try again later, or see whether the server is up."
                )


def _found_item(row: Mapping[str, Any]) -> FoundItem:
    """Return one row of a search. Raises `TemporaryFailure` for an error, `SearchFailed` for what has no date."""
    if "error" in row:
        raise TemporaryFailure(f"IA answers: {row['error']}")
    publicdate = row.get("publicdate")
    if isinstance(publicdate, list):
        publicdate = publicdate[0] if publicdate else None
    try:
        return FoundItem(parse_date(str(publicdate)), check_identifier(str(row.get("identifier"))))
    except (ValueError, BadMetadata) as error:
        raise SearchFailed(f"IA found an item that cannot be used: {dict(row)} ({error}).") from None


def _refusal(identifier: str, error: HTTPError) -> ImgmineError:
    """Say what an HTTP error of the metadata means. The client raises a new one, without the answer, from the first."""
    first = error.__context__ if isinstance(error.__context__, HTTPError) else error
    status = first.response.status_code if first.response is not None else None
    if status in {401, 403}:
        return ItemRestricted(f"{identifier}: IA refuses its metadata (HTTP {status}). Leave it out.")
    if status in {404, 410}:
        return ItemMissing(f"{identifier}: IA has no such item (HTTP {status}). Check the identifier.")
    return ArchiveOrgUnreachable(f"{identifier}: {error}")
