"""Every trap of the collection, one function each: odd answers of a host, and odd ways in which a crawler kept them.

The usual groups are in `exchanges`; how often each trap is laid is in `plan`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from imgmine.decisions import RecordDecision
from imgmine.demo.exchanges import Exchange, Group, Host, Kind, Place, copies, fetched, page
from imgmine.demo.http_heads import Framing
from imgmine.demo.payloads import Body, make
from imgmine.demo.warc_writer import Layout

REMOVED = "https://i.imgur.com/removed.png"
Trap = Callable[[Host], list[Group]]


def _alone(*exchanges: Exchange, place: Place = Place.ANYWHERE) -> list[Group]:
    return [Group(exchanges, place)]


def _moved(exchange: Exchange, case: str, decision: RecordDecision, location: str, status: int = 302) -> Exchange:
    body = Body("text", "", "moved")
    return replace(
        exchange,
        case=case,
        decision=decision,
        location=location,
        status=status,
        body=body,
        served_type="text/html",
        framing=Framing.LENGTH,
    )


def removed_by_redirect(host: Host) -> list[Group]:
    """A removed picture: 302 to removed.png, for the original and, where those were crawled, for a thumbnail."""
    media_id = host.new_id()
    asked = [fetched("removed_by_redirect", media_id, host.picture("jpeg"))]
    if host.kind is Kind.APRIL:
        asked.append(replace(asked[0], url=f"https://i.imgur.com/{media_id}m.jpg"))
    moved = (_moved(each, "removed_by_redirect", RecordDecision.REMOVED, REMOVED) for each in asked)
    return _alone(*moved, place=Place.EARLY if host.kind is Kind.MAY_15 else Place.ANYWHERE)


def removed_by_body(host: Host) -> list[Group]:
    """A removed picture: 200 with the 503 bytes; once with its length, once in chunks."""
    made = []
    for case, framing in (("removed_by_body", Framing.LENGTH), ("removed_by_body_in_chunks", Framing.CHUNKED)):
        body = Body("text", "", "removed")
        made.append(
            Exchange(
                case=case,
                url=f"https://i.imgur.com/{(media_id := host.new_id())}.jpg",
                item=f"image:{media_id}",
                media_id=media_id,
                decision=RecordDecision.REMOVED,
                body=body,
                served_type="image/png",
                framing=framing,
            )
        )
    return _alone(*made, place=Place.EARLY)


def removed_copy(host: Host) -> list[Group]:
    """A thumbnail of a removed picture, 503 bytes: a copy all the same."""
    media_id = host.new_id()
    small = copies(media_id, host.picture("jpeg"), host.rng)[0]
    return _alone(
        replace(small, case="removed_copy", body=Body("text", "", "removed"), served_type="image/png"),
        place=Place.EARLY,
    )


def redirects(host: Host) -> list[Group]:
    """301 and 302 of pages and of files that are no removed pictures."""
    media_id, other = host.new_id(), host.new_id()
    plain = replace(page(media_id), url=f"http://imgur.com/{media_id}")
    gallery = page(other, path=f"gallery/{other}")
    file = replace(fetched("redirect_of_file", other, host.picture("png")), url=f"http://i.imgur.com/{other}.png")
    return _alone(
        _moved(plain, "redirect_301_of_page", RecordDecision.REDIRECT, f"https://imgur.com/{media_id}", 301),
        _moved(gallery, "redirect_302_of_page", RecordDecision.REDIRECT, f"https://imgur.com/{other}"),
        _moved(file, "redirect_of_file", RecordDecision.REDIRECT, f"https://i.imgur.com/{other}.png", 301),
        replace(
            _moved(page(media_id), "removed_page", RecordDecision.REMOVED, REMOVED), url=f"https://imgur.com/{media_id}"
        ),
    )


def not_found(host: Host) -> list[Group]:
    """A few 404: a page, a file and, where those were crawled, a thumbnail."""
    media_id = host.new_id()
    lost: dict[str, Any] = {
        "status": 404,
        "decision": RecordDecision.ERROR_STATUS,
        "body": Body("text", media_id, "sorry"),
        "served_type": "text/html",
    }
    asked = [page(media_id, "not_found_page"), fetched("not_found_file", media_id, host.picture("jpeg"))]
    if host.kind is Kind.APRIL:
        asked.append(replace(copies(media_id, host.picture("jpeg"), host.rng)[2], case="not_found_copy"))
    return _alone(*(replace(each, **lost) for each in asked))


def short_body(host: Host) -> list[Group]:
    """The server closed early: a short body in an ordinary response."""
    return _alone(
        fetched(
            "short_body",
            host.new_id(),
            host.picture("jpeg"),
            arrived=host.rng.uniform(0.2, 0.95),
            decision=RecordDecision.TRUNCATED,
        ),
        fetched(
            "short_by_one_byte", host.new_id(), host.picture("png"), arrived_bytes=-1, decision=RecordDecision.TRUNCATED
        ),
    )


def short_body_of_503_bytes(host: Host) -> list[Group]:
    """A short body of which exactly 503 bytes came: truncated, not removed."""
    return _alone(
        fetched(
            "short_body_of_503_bytes",
            host.new_id(),
            host.picture("jpeg"),
            arrived_bytes=503,
            decision=RecordDecision.TRUNCATED,
        ),
        place=Place.EARLY,
    )


def short_better_original(host: Host) -> list[Group]:
    """The better original came short, so the lesser is the best sound one: a PNG and its JPEG, a film and its still."""
    picture, film = host.new_id(), host.new_id()
    body = host.picture("png")
    return _alone(
        fetched("short_better_original", picture, body, arrived=0.6, decision=RecordDecision.TRUNCATED),
        fetched("best_sound_original", picture, body.derived("jpeg")),
        fetched("short_film", film, host.picture("mp4"), arrived=0.5, decision=RecordDecision.TRUNCATED),
        fetched("still_of_short_film", film, host.picture("jpeg")),
    )


def short_copy(host: Host) -> list[Group]:
    """A copy with a short body: a copy first of all."""
    media_id = host.new_id()
    return _alone(replace(copies(media_id, host.picture("jpeg"), host.rng)[4], case="short_copy", arrived=0.5))


def marked_truncated(host: Host) -> list[Group]:
    """Responses that the crawler itself marked with WARC-Truncated: a file, and a page."""
    file = fetched(
        "marked_truncated", host.new_id(), host.picture("jpeg"), arrived=0.7, decision=RecordDecision.TRUNCATED
    )
    whole = fetched(
        "marked_truncated_without_length",
        host.new_id(),
        host.picture("jpeg"),
        framing=Framing.CLOSE,
        decision=RecordDecision.TRUNCATED,
    )
    return _alone(
        replace(file, warc_truncated="disconnect"),
        replace(whole, warc_truncated="time", arrived=0.8),
        replace(page(host.new_id(), "marked_truncated_page"), warc_truncated="time"),
    )


def chunked_bodies(host: Host) -> list[Group]:
    """Files in chunks: plain, in every legal oddity, and broken off before the last chunk; and a page broken off."""
    return _alone(
        fetched("chunked_image", host.new_id(), host.picture("jpeg"), framing=Framing.CHUNKED),
        fetched("chunked_oddly", host.new_id(), host.picture("png"), framing=Framing.CHUNKED_ODD),
        fetched(
            "chunked_cut",
            host.new_id(),
            host.picture("jpeg"),
            framing=Framing.CHUNKED_CUT,
            arrived=0.6,
            decision=RecordDecision.TRUNCATED,
        ),
        fetched(
            "chunked_without_end",
            host.new_id(),
            host.picture("jpeg"),
            framing=Framing.CHUNKED_CUT,
            decision=RecordDecision.TRUNCATED,
        ),
        page(host.new_id(), "chunked_page_cut", framing=Framing.CHUNKED_CUT),
    )


def empty_bodies(host: Host) -> list[Group]:
    """Empty bodies: declared empty, declared longer, in chunks, with nothing said."""
    nothing = Body("text", "", "nothing")
    kinds: dict[str, dict[str, Any]] = {
        "empty_declared": {"body": nothing},
        "empty_though_declared": {"arrived": 0.0},
        "empty_in_chunks": {"body": nothing, "framing": Framing.CHUNKED},
        "empty_on_close": {"body": nothing, "framing": Framing.CLOSE},
    }
    return _alone(
        *(
            replace(fetched(case, host.new_id(), host.picture("jpeg")), decision=RecordDecision.EMPTY, **more)
            for case, more in kinds.items()
        )
    )


def no_length(host: Host) -> list[Group]:
    """Whole files whose length was not declared, of which one has no Content-Type and one a wrong one."""
    return _alone(
        fetched("no_content_length", host.new_id(), host.picture("jpeg"), framing=Framing.CLOSE),
        fetched("no_content_type", host.new_id(), host.picture("png"), served_type=None),
        fetched("wrong_content_type", host.new_id(), host.picture("png"), extension="jpg", served_type="image/jpeg"),
        fetched("plain_head", host.new_id(), host.picture("jpeg"), plain_head=True),
    )


def no_media_at_media_url(host: Host) -> list[Group]:
    """A page where a picture should be, once even served as a picture; JSON too."""
    made = []
    for case, form, served_type in (
        ("page_at_media_url", "sorry", "text/html"),
        ("page_served_as_picture", "sorry", "image/jpeg"),
        ("json_at_media_url", "api", "application/json"),
    ):
        media_id = host.new_id()
        exchange = fetched(
            case, media_id, host.picture("jpeg"), served_type=served_type, decision=RecordDecision.NO_MEDIA
        )
        made.append(replace(exchange, body=Body("text", media_id, form)))
    return _alone(*made)


def elsewhere(host: Host) -> list[Group]:
    """Pictures that are not on i.imgur.com, and answers of the API: no media of this source."""
    media_id, other = host.new_id(), host.new_id()
    api = replace(page(media_id, "api_answer", form="api"), served_type="application/json; charset=utf-8")
    foreign: dict[str, Any] = {"decision": RecordDecision.NO_MEDIA, "media_id": None}
    return _alone(
        replace(
            api,
            url=f"https://api.imgur.com/post/v1/media/{media_id}?client_id=546c25a59c58ad7&include=media%2Cadconfig%2Caccount",
        ),
        replace(
            fetched("picture_on_other_host", other, host.picture("png")),
            url=f"https://i.stack.imgur.com/{other}.png",
            **foreign,
        ),
        replace(
            fetched("picture_on_page_host", other, host.picture("jpeg")),
            url=f"https://imgur.com/{other}.jpg",
            **foreign,
        ),
    )


def odd_urls(host: Host) -> list[Group]:
    """Originals whose URL looks like something else: an id that ends in a size letter, a query, plain http."""
    letter, query, plain = host.new_id("s"), host.new_id(), host.new_id()
    return _alone(
        fetched("id_ends_in_size_letter", letter, host.picture("jpeg")),
        replace(fetched("original_with_query", query, host.picture("jpeg")), url=f"https://i.imgur.com/{query}.jpg?1"),
        replace(fetched("original_over_http", plain, host.picture("png")), url=f"http://i.imgur.com/{plain}.png"),
    )


def odd_copies(host: Host) -> list[Group]:
    """Copies by their query alone, and by their stem alone; their ids have no original here."""
    query, stem = host.new_id(), host.new_id()
    by_query = fetched("copy_by_query", query, host.picture("jpeg"), decision=RecordDecision.DOWNSCALED_COPY)
    by_stem = copies(stem, host.picture("jpeg"), host.rng)[-2]
    return _alone(
        replace(by_query, url=f"{by_query.url}?maxwidth=640&shape=thumb"),
        replace(by_stem, case="copy_by_stem", url=f"https://i.imgur.com/{stem}_d.webp"),
    )


def only_copies(host: Host) -> list[Group]:
    """An id of which only copies were archived."""
    media_id = host.new_id()
    return _alone(
        *(
            replace(each, case="only_copies")
            for each in host.rng.sample(copies(media_id, host.picture("jpeg"), host.rng), 5)
        )
    )


def ranks(host: Host) -> list[Group]:
    """Which original of one id wins: bytes decide, not URLs; two of one rank both stay; WebP beats JPEG."""
    by_bytes, twins, three = host.new_id(), host.new_id(), host.new_id()
    picture, body = host.picture("png"), host.picture("webp")
    lesser: dict[str, Any] = {"decision": RecordDecision.LESSER_COPY}
    return _alone(
        fetched("webp_under_png_called_jpg", by_bytes, picture.derived("webp"), **lesser),
        fetched("png_called_jpg", by_bytes, picture, extension="jpg", served_type="image/png"),
        fetched("twin_of_one_rank", twins, host.picture("jpeg")),
        fetched("twin_of_one_rank", twins, host.picture("jpeg"), extension="jpeg"),
        fetched("jpg_under_webp", three, body.derived("jpeg"), **lesser),
        fetched("webp_over_jpg", three, body),
    )


def ranks_across_files(host: Host) -> list[Group]:
    """The lesser original lies in one WARC file of the archive and the better one in another."""
    media_id, body = host.new_id(), host.picture("png")
    lesser = fetched("lesser_in_other_file", media_id, body.derived("jpeg"), decision=RecordDecision.LESSER_COPY)
    better = fetched("better_in_other_file", media_id, body)
    return [Group((lesser,), Place.FIRST_FILE), Group((better,), Place.LAST_FILE)]


def duplicates(host: Host) -> list[Group]:
    """The same bytes under two ids, in one source WARC and in two files of the archive."""
    near, far = host.picture("jpeg"), host.picture("png")
    return [
        Group((fetched("duplicate_nearby", host.new_id(), near), fetched("duplicate_nearby", host.new_id(), near))),
        Group((fetched("duplicate_in_other_file", host.new_id(), far),), Place.FIRST_FILE),
        Group((fetched("duplicate_in_other_file", host.new_id(), far),), Place.LAST_FILE),
    ]


def revisits(host: Host) -> list[Group]:
    """Revisits of a picture under its own and under another URL, of a copy, and of a page."""
    media_id, other = host.new_id(), host.new_id()
    picture = fetched("original", media_id, host.picture("jpeg"))
    first = {"same_url": picture, "page": page(media_id)}
    if host.kind is Kind.APRIL:
        first["copy"] = copies(media_id, picture.body, host.rng)[1]
    again = [replace(each, case=f"revisit_of_{name}", refers_to=each.url) for name, each in first.items()]
    again.append(replace(fetched("revisit_of_other_url", other, picture.body), refers_to=picture.url))
    return _alone(*first.values(), *(replace(each, decision=RecordDecision.REVISIT) for each in again))


def odd_frames(host: Host) -> list[Group]:
    """Records over several frames, after an empty frame, after a skippable frame in the middle of the file."""
    return [
        Group((fetched(layout.value, host.new_id(), host.picture("jpeg"), layout=layout),), Place.ANYWHERE)
        for layout in (Layout.SEVERAL_FRAMES, Layout.AFTER_EMPTY_FRAME, Layout.AFTER_SKIPPABLE_FRAME)
    ]


def late_503_bytes(host: Host) -> list[Group]:
    """After 20 May a body of 503 bytes is what it is: here a small picture."""
    return _alone(fetched("late_503_bytes", host.new_id(), host.picture("png_of_503_bytes")), place=Place.LATE)


def digest_with_zero_byte(host: Host) -> list[Group]:
    """A file whose SHA-1 has a zero byte, fetched when the crawler's build cut digests there."""
    while True:
        body = host.picture("mp4")
        if b"\0" in hashlib.sha1(make(body, 1.0).body).digest():
            return _alone(fetched("digest_with_zero_byte", host.new_id(), body), place=Place.LATE)


def album(host: Host) -> list[Group]:
    """An album, its pictures by links alone."""
    media_id = host.new_id()
    return _alone(replace(page(media_id, "album", path=f"a/{media_id}", form="album"), item=f"album:{media_id}"))


_EVERY_KIND: tuple[Trap, ...] = (
    removed_by_redirect,
    redirects,
    not_found,
    short_body,
    short_better_original,
    marked_truncated,
    chunked_bodies,
    empty_bodies,
    no_length,
    no_media_at_media_url,
    elsewhere,
    odd_urls,
    ranks,
    ranks_across_files,
    duplicates,
    revisits,
    odd_frames,
)
TRAPS: dict[Kind, tuple[Trap, ...]] = {
    Kind.APRIL: (
        *(_EVERY_KIND),
        removed_by_redirect,
        removed_by_body,
        removed_copy,
        short_body_of_503_bytes,
        short_copy,
        odd_copies,
        only_copies,
        only_copies,
    ),
    Kind.MAY_3: (
        *_EVERY_KIND,
        *[removed_by_redirect] * 3,
        *[removed_by_body] * 2,
        short_body_of_503_bytes,
        odd_copies,
        short_body,
    ),
    Kind.MAY_15: (*_EVERY_KIND, removed_by_body, short_body, late_503_bytes, digest_with_zero_byte, *[album] * 6),
}
