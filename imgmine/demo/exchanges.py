"""What the crawler asked for and got: exchanges, and groups of them that belong to one picture of the host.

Which groups an archive has, and how many, is in `plan`; the special cases one by one are in `cases`.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random

from imgmine.decisions import RecordDecision
from imgmine.demo.encodings import THUMBNAILS
from imgmine.demo.http_heads import Framing
from imgmine.demo.payloads import Body
from imgmine.demo.pictures_drawn import SUBJECTS
from imgmine.demo.warc_writer import Layout

_BASE62 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

# Extension under which the host offers a form, and the type it says it is.
_OFFERED = {
    "jpeg": ("jpg", "image/jpeg"),
    "png": ("png", "image/png"),
    "gif": ("gif", "image/gif"),
    "webp": ("webp", "image/webp"),
    "mp4": ("mp4", "video/mp4"),
    "webm": ("webm", "video/webm"),
}
_FAILING_FORMS = """
    jpeg_grey jpeg_cmyk jpeg_small jpeg_no_end jpeg_cut jpeg_cut_with_thumbnail png_rgba png_palette png_grey png_small
    png_16_bit_grey png_corrupt png_bad_header png_bomb png_large_bomb png_of_503_bytes gif gif_still gif_bomb
    webp_alpha webp_animated
"""
FAILING_FORMS = frozenset(_FAILING_FORMS.split())


class Kind(StrEnum):
    """The three ages of the crawl, each with its own sort of records."""

    APRIL = "april"  # 27 April to 3 May 2023: pages, originals, every thumbnail, scaled copies, films and their copies
    MAY_3 = "may_3"  # from 3 May: no thumbnails, ID.ext and ID.jpg
    MAY_15 = "may_15"  # from 15 May: films only where they are the original, albums


class Place(StrEnum):
    """Where in an archive a group may lie."""

    ANYWHERE = "anywhere"
    EARLY = "early"  # in the earliest source WARC
    LATE = "late"  # in the latest source WARC
    FIRST_FILE = "first_file"
    LAST_FILE = "last_file"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer.

    `decision` is what the record is meant to be; `kept` means: kept, or a duplicate where the same bytes came before.
    `arrived` is the share of the body that reached the crawler, `arrived_bytes` the number of its bytes where that
    matters (from the end where negative).
    With `refers_to`, the URL of an earlier response in the same source WARC, the answer is written as a revisit.
    """

    case: str
    url: str
    item: str
    media_id: str | None
    decision: RecordDecision
    body: Body
    served_type: str | None
    status: int = 200
    location: str | None = None
    framing: Framing = Framing.LENGTH
    arrived: float = 1.0
    arrived_bytes: int | None = None
    warc_truncated: str | None = None
    refers_to: str | None = None
    layout: Layout = Layout.ONE_FRAME
    plain_head: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Exchanges that follow one another, and where they may lie; `usual` are those of one picture without any trap."""

    exchanges: tuple[Exchange, ...]
    place: Place = Place.ANYWHERE
    usual: bool = False


@dataclass(slots=True)
class Host:
    """What the crawl knows of the host: the age of the crawl, the ids in use in one archive, and a source of chance."""

    kind: Kind
    rng: Random
    used: set[str] = field(default_factory=set)

    def new_id(self, last: str = "") -> str:
        """Return an id that no other picture of the archive has: 7 characters, or 5 as old ones; it ends in `last`."""
        while True:
            length = 5 if self.rng.random() < 0.15 else 7
            media_id = "".join(self.rng.choices(_BASE62, k=length - len(last))) + last
            if media_id not in self.used:
                self.used.add(media_id)
                return media_id

    def picture(self, form: str) -> Body:
        """Return a new picture in `form`, of a subject that people put on the host; a PNG is rarely a photograph."""
        rarely = {"photograph": 0.12, "meme": 0.3} if form.startswith("png") else {}
        weights = [weight * rarely.get(subject, 1.0) for subject, weight in SUBJECTS.items()]
        subject = self.rng.choices(list(SUBJECTS), weights=weights)[0]
        return Body(subject, f"{self.rng.getrandbits(64):016x}", form)


def offered_as(form: str) -> tuple[str, str]:
    """Return the extension and Content-Type under which the host offers `form`: JPEG for what it made itself."""
    return _OFFERED.get(form.split("_")[0], _OFFERED["jpeg"])


def fetched(
    case: str, media_id: str, body: Body, *, stem: str | None = None, extension: str | None = None, **more: object
) -> Exchange:
    """Return the exchange for a file of i.imgur.com; `stem` and `extension` where they are not the usual ones."""
    usual, served_type = offered_as(body.form)
    values: dict[str, object] = {
        "case": case,
        "url": f"https://i.imgur.com/{stem or media_id}.{extension or usual}",
        "item": f"image:{media_id}",
        "media_id": media_id,
        "decision": RecordDecision.KEPT,
        "body": body,
        "served_type": served_type,
    }
    return Exchange(**(values | more))  # type: ignore[arg-type]


def page(
    media_id: str,
    case: str = "page",
    *,
    path: str | None = None,
    form: str = "page",
    framing: Framing = Framing.CHUNKED,
) -> Exchange:
    """Return the exchange for a page of imgur.com, sent in chunks as the host did."""
    return Exchange(
        case=case,
        url=f"https://imgur.com/{path or media_id}",
        item=f"image:{media_id}",
        media_id=None,
        decision=RecordDecision.NO_MEDIA,
        body=Body("text", media_id, form),
        served_type="text/html; charset=utf-8",
        framing=framing,
    )


def copies(media_id: str, picture: Body, rng: Random, *, moving: bool = False) -> list[Exchange]:
    """Return the copies of the April crawl: thumbnails of all sizes, the `_d` files, a film's low-quality copy."""
    made = [
        fetched(
            "thumbnail",
            media_id,
            picture.derived(f"thumbnail_{letter}"),
            stem=media_id + letter,
            decision=RecordDecision.DOWNSCALED_COPY,
        )
        for letter in sorted(THUMBNAILS)
    ]
    for extension, query in (
        ("webp", "maxwidth=760&fidelity=grand"),
        ("png", "maxwidth=520&shape=thumb&fidelity=high"),
    ):
        scaled = fetched(
            f"scaled_{extension}",
            media_id,
            picture.derived(f"scaled_{extension}"),
            stem=f"{media_id}_d",
            extension=extension,
            served_type=f"image/{extension}",
            decision=RecordDecision.DOWNSCALED_COPY,
        )
        made.append(replace(scaled, url=f"{scaled.url}?{query}"))
    if moving:
        made.append(
            fetched(
                "low_quality_film",
                media_id,
                picture.derived("lesser_mp4"),
                stem=f"{media_id}_lq",
                extension="mp4",
                served_type="video/mp4",
                decision=RecordDecision.DOWNSCALED_COPY,
            )
        )
    return made


def picture_group(kind: Kind, media_id: str, body: Body, rng: Random) -> Group:
    """Return what the crawl of `kind` fetched of one picture whose original is `body`."""
    form = body.form.split("_")[0]
    exchanges: list[Exchange] = []
    if rng.random() < {Kind.APRIL: 0.7, Kind.MAY_3: 0.2, Kind.MAY_15: 0.1}[kind]:
        exchanges.append(page(media_id, framing=rng.choice((Framing.CHUNKED, Framing.CHUNKED, Framing.LENGTH))))
    exchanges += _originals(kind, media_id, body, rng)
    if kind is Kind.APRIL:
        every = copies(media_id, body, rng, moving=form in ("gif", "mp4", "webm"))
        # An item that was cut off and crawled again elsewhere left only some copies here.
        exchanges += every if rng.random() < 0.8 else rng.sample(every, 3)
    return Group(tuple(exchanges), usual=True)


def _originals(kind: Kind, media_id: str, body: Body, rng: Random) -> list[Exchange]:
    form = body.form.split("_")[0]
    original = fetched("original", media_id, body)
    if form == "jpeg":
        if rng.random() < 0.8 or kind is Kind.APRIL:
            return [original]
        return [
            replace(original, url=f"https://i.imgur.com/{media_id}.jpeg"),
            replace(
                original,
                case="revisit_of_original",
                decision=RecordDecision.REVISIT,
                refers_to=f"https://i.imgur.com/{media_id}.jpeg",
            ),
        ]
    if form in ("mp4", "webm"):
        still = fetched("still_beside_film", media_id, body.derived("first_frame"))
        return [original, replace(still, decision=RecordDecision.LESSER_COPY)]
    if form == "gif" and kind is Kind.APRIL:
        film = fetched("film_of_gif", media_id, body.derived("mp4"))
        return [replace(original, case="gif_beside_film", decision=RecordDecision.LESSER_COPY), film]
    if rng.random() < 0.35:
        # The host often answered ID.jpg with the original's own bytes; within one source WARC that became a revisit.
        again = replace(original, case="revisit_of_original", url=f"https://i.imgur.com/{media_id}.jpg")
        if rng.random() < 0.7:
            return [original, replace(again, decision=RecordDecision.REVISIT, refers_to=original.url)]
        return [original, replace(again, case="same_bytes_as_jpg")]
    lesser = fetched("lesser_jpg", media_id, body.derived("first_frame"))
    pair = [original, replace(lesser, decision=RecordDecision.LESSER_COPY)]
    return pair if rng.random() < 0.7 else pair[::-1]
