"""The rules of the Imgur archives: which URL is an original and which a copy, and what becomes of each record.

Pure functions, and the whole order in which the rules apply. Reading records and keeping bytes is `extract`'s business.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import unquote

from imgmine.decisions import RecordDecision

# Imgur served a picture of its own in place of a removed one; from this day on the crawler left it out.
REMOVED_PICTURE_SIZE = 503
REMOVED_PICTURE_UNTIL = datetime(2023, 5, 21, tzinfo=UTC)
_REMOVED_PICTURE = "removed.png"

_SIZE_LETTERS = frozenset("bghlmrst")
_COPY_VARIANTS = frozenset({"d", "lq"})
_ID_LENGTHS = (5, 7)
# What Imgur serves or once took in; a name without any extension is served too. Others (robots.txt) are no media.
_STILL_EXTENSIONS = {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "avif", "bmp", "tif", "tiff", "heic", "heif", "jxl"}
# `.mpeg4` is what some pages name their video, and what the crawler then fetched.
_MOVING_EXTENSIONS = {"gif", "apng", "gifv", "mp4", "mpeg4", "mpeg", "m4v", "mov", "3gp", "mkv", "webm"}
_EXTENSIONS = frozenset({"", *_STILL_EXTENSIONS, *_MOVING_EXTENSIONS})

_I_IMGUR_COM = re.compile(
    r"https?://(?:[^/?#@]*@)?i\.imgur\.com\.?(?::\d*)?/+(?P<name>[^/?#]+)/*(?:\?(?P<query>[^#]*))?(?:#.*)?",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)
# The crawler of the first days asked here before it asked i.imgur.com, whose same bytes then became a mere revisit.
_DOWNLOAD = re.compile(
    r"https?://(?:[^/?#@]*@)?imgur\.com\.?(?::\d*)?/+download/+(?P<stem>[A-Za-z0-9]+)(?:[/?#].*)?",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)
# Links from the wild carry rubbish after the extension (`abcde.jpg,`), which Imgur ignores.
_NAME = re.compile(
    r"(?P<stem>[A-Za-z0-9]+)(?:_(?P<variant>[A-Za-z0-9]+))?(?:\.(?P<extension>[A-Za-z0-9]*)(?:[^A-Za-z0-9].*)?)?",
    re.ASCII | re.DOTALL,
)
_PAGE = re.compile(
    r"https?://(?:[^/?#@]*@)?(?:(?:www|m)\.)?imgur\.com\.?(?::\d*)?/+"
    r"(?P<media_id>[A-Za-z0-9]{7}|[A-Za-z0-9]{5})(?:\.[A-Za-z0-9]+)?/*(?:[?#].*)?",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)
_MAXWIDTH = re.compile(r"(?:^|[&;])maxwidth(?:[=&;]|$)", re.ASCII | re.IGNORECASE)


class UrlKind(StrEnum):
    """What a URL says about the bytes behind it."""

    ORIGINAL = "original"
    COPY = "copy"
    REMOVED = "removed"
    OTHER = "other"


class ImgurUrl(NamedTuple):
    """A classified URL; `media_id` is set for originals and copies (there: the id of what it is a copy of)."""

    kind: UrlKind
    media_id: str | None


class Candidate(NamedTuple):
    """A sound original: what is needed to choose among those of one id, and among equal bytes."""

    media_id: str
    media_type: str
    blake2b: bytes


_OTHER = ImgurUrl(UrlKind.OTHER, None)


def classify_url(url: str | None) -> ImgurUrl:
    """Tell originals, copies, the "removed" picture and everything else apart, by the URL alone.

    Media are `http(s)://i.imgur.com/NAME[.EXTENSION]`, whatever the port, the host's case and the percent-encoding,
    and `http(s)://imgur.com/download/ID[/TITLE]`, which served the original (or a page, as its bytes then say).
    Ids have 5 or 7 characters, so a stem of one more is a copy where it ends in a size letter; where it does not, and
    for stems of any other length, it is taken for an original, so that nothing is lost to a guess. `ID_d`, `ID_lq`
    and a `maxwidth` query are copies.
    """
    if url is not None and (download := _DOWNLOAD.fullmatch(url.strip())) is not None:
        return ImgurUrl(UrlKind.ORIGINAL, download["stem"])
    address = _I_IMGUR_COM.fullmatch(url.strip()) if url is not None else None
    name = _NAME.fullmatch(unquote(address["name"])) if address is not None else None
    if address is None or name is None:
        return _OTHER
    stem, extension = name["stem"], (name["extension"] or "").lower()
    if extension not in _EXTENSIONS:
        return _OTHER
    if f"{stem}.{extension}".lower() == _REMOVED_PICTURE:
        return ImgurUrl(UrlKind.REMOVED, None)
    if len(stem) - 1 in _ID_LENGTHS and stem[-1] in _SIZE_LETTERS:
        return ImgurUrl(UrlKind.COPY, stem[:-1])
    if name["variant"] in _COPY_VARIANTS or _MAXWIDTH.search(unquote(address["query"] or "")):
        return ImgurUrl(UrlKind.COPY, stem)
    return ImgurUrl(UrlKind.ORIGINAL, stem)


def id_of_page(url: str) -> str | None:
    """Return the id of the one picture that a page of Imgur's shows; None for albums, and for what is no page."""
    page = _PAGE.fullmatch(url.strip())
    return page["media_id"] if page is not None else None


def decide_before_body(
    record_type: str, url: ImgurUrl, head_readable: bool, status: int | None, location: str | None
) -> RecordDecision | None:
    """Decide by the record's type, its HTTP head and its URL; None where the body has to be looked at.

    `status` is None where there is no HTTP head, as in a revisit that carries nothing.
    """
    if not head_readable:
        return RecordDecision.DAMAGED
    if record_type == "revisit":
        return RecordDecision.REVISIT
    if status is None:
        return RecordDecision.DAMAGED
    if 300 <= status < 400:
        return RecordDecision.REMOVED if _leads_to_removed_picture(location) else RecordDecision.REDIRECT
    if status != 200:
        return RecordDecision.ERROR_STATUS
    match url.kind:
        case UrlKind.OTHER:
            return RecordDecision.NO_MEDIA
        case UrlKind.REMOVED:
            return RecordDecision.REMOVED
        case UrlKind.COPY:
            return RecordDecision.DOWNSCALED_COPY
        case UrlKind.ORIGINAL:
            return None


def _leads_to_removed_picture(location: str | None) -> bool:
    path = re.split(r"[?#]", location or "", maxsplit=1)[0]
    return path.strip().lower().rpartition("/")[2] == _REMOVED_PICTURE


def decide_on_body(
    body_length: int, complete: bool, captured_at: datetime | None, media_type: str | None
) -> RecordDecision | None:
    """Decide about the body of an original; None where it is sound, and so a candidate.

    `complete` is False where the body is shorter than declared or its record was cut; `media_type` is that of its
    bytes.
    """
    if body_length == 0:
        return RecordDecision.EMPTY
    if not complete:
        return RecordDecision.TRUNCATED
    if body_length == REMOVED_PICTURE_SIZE and captured_at is not None and captured_at < REMOVED_PICTURE_UNTIL:
        return RecordDecision.REMOVED
    if media_type is None:
        return RecordDecision.NO_MEDIA
    return None


def rank(media_type: str) -> int:
    """Return how good an original of this type is among those of one id; more is better.

    A moving picture is over a still one, a video over a GIF, PNG over WebP over JPEG over the rest.
    """
    return _RANKS.get(media_type, 0)


_RANKS = {"video/mp4": 5, "video/webm": 5, "image/gif": 4, "image/png": 3, "image/webp": 2, "image/jpeg": 1}


class BestOriginals:
    """The best rank seen of each media id."""

    def __init__(self) -> None:
        self._best: dict[str, int] = {}

    def see(self, candidate: Candidate) -> bool:
        """Take notice of a candidate; return whether none seen so far beats it."""
        own = rank(candidate.media_type)
        best = max(own, self._best.get(candidate.media_id, own))
        self._best[candidate.media_id] = best
        return own == best

    def is_beaten(self, media_id: str, media_type: str) -> bool:
        """Tell whether an original of this type is below the best seen of its id."""
        return rank(media_type) < self._best.get(media_id, 0)


def choose(candidates: Sequence[Candidate]) -> Iterator[RecordDecision]:
    """Yield the decision on each of an archive's candidates, given in the order of their records.

    Where an id has originals of several ranks, those below the best are lesser copies. Of the rest the first with its
    bytes is kept, and later ones with the same bytes are duplicates, whatever their id. Originals of one id with equal
    rank and different bytes are all kept: the archive has both, and no rule says which is right.
    """
    best = BestOriginals()
    for candidate in candidates:
        best.see(candidate)
    kept: set[bytes] = set()
    for candidate in candidates:
        if not best.see(candidate):
            yield RecordDecision.LESSER_COPY
        elif candidate.blake2b in kept:
            yield RecordDecision.DUPLICATE
        else:
            kept.add(candidate.blake2b)
            yield RecordDecision.KEPT
