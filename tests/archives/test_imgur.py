"""The rules of the Imgur archives as a table of cases: each line is one thing that the rules have to get right."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmine.archives.imgur import (
    REMOVED_PICTURE_UNTIL,
    Candidate,
    ImgurUrl,
    UrlKind,
    choose,
    classify_url,
    decide_before_body,
    decide_on_body,
    rank,
)
from imgmine.decisions import RecordDecision as D

M, C, R, X = UrlKind.ORIGINAL, UrlKind.COPY, UrlKind.REMOVED, UrlKind.OTHER

URLS = [
    # originals: five and seven characters, every extension
    ("https://i.imgur.com/abcde.jpg", M, "abcde"),
    ("https://i.imgur.com/AbCdEf1.png", M, "AbCdEf1"),
    ("https://i.imgur.com/abcde.jpeg", M, "abcde"),
    ("https://i.imgur.com/abcde.gif", M, "abcde"),
    ("https://i.imgur.com/abcde.mp4", M, "abcde"),
    ("https://i.imgur.com/abcde.mpeg4", M, "abcde"),
    ("https://i.imgur.com/abcde.webm", M, "abcde"),
    ("https://i.imgur.com/abcde.webp", M, "abcde"),
    ("https://i.imgur.com/abcde.JPG", M, "abcde"),
    ("https://i.imgur.com/abcde.gifv", M, "abcde"),  # a page in truth: its bytes say so
    ("https://i.imgur.com/abcde", M, "abcde"),
    ("https://i.imgur.com/abcde.", M, "abcde"),
    # an id of five or seven that ends in a size letter is no copy
    ("https://i.imgur.com/abcdb.jpg", M, "abcdb"),
    ("https://i.imgur.com/abcdefh.jpg", M, "abcdefh"),
    # host and scheme
    ("http://i.imgur.com/abcde.jpg", M, "abcde"),
    ("HTTPS://I.Imgur.COM/abcde.jpg", M, "abcde"),
    ("https://i.imgur.com:443/abcde.jpg", M, "abcde"),
    ("http://i.imgur.com:80/abcde.jpg", M, "abcde"),
    ("https://i.imgur.com./abcde.jpg", M, "abcde"),
    ("https://someone@i.imgur.com/abcde.jpg", M, "abcde"),
    (" https://i.imgur.com/abcde.jpg\n", M, "abcde"),
    # queries, fragments, slashes, rubbish, percent-encoding
    ("https://i.imgur.com/abcde.jpg?1", M, "abcde"),
    ("https://i.imgur.com/abcde.jpg?", M, "abcde"),
    ("https://i.imgur.com/abcde.png?fb", M, "abcde"),
    ("https://i.imgur.com/abcde.jpg#maxwidth=1", M, "abcde"),
    ("https://i.imgur.com/abcde.jpg?notmaxwidth=1", M, "abcde"),
    ("https://i.imgur.com//abcde.jpg", M, "abcde"),
    ("https://i.imgur.com/abcde.jpg/", M, "abcde"),
    ("https://i.imgur.com/abcde.jpg,", M, "abcde"),
    ("https://i.imgur.com/abcde.jpg%20", M, "abcde"),
    ("https://i.imgur.com/abcde.jpg%3F1", M, "abcde"),
    ("https://i.imgur.com/%61bcde%2Ejpg", M, "abcde"),
    ("https://i.imgur.com/abcde_hq.mp4", M, "abcde"),
    # where the crawler of the first days asked for the original
    ("https://imgur.com/download/abcdefg/", M, "abcdefg"),
    ("https://imgur.com/download/abcdefg/A title, 100%", M, "abcdefg"),
    ("https://imgur.com/download/", X, None),
    # stems of six and eight characters: the last decides
    *[(f"https://i.imgur.com/abcdZ{letter}.jpg", C, "abcdZ") for letter in "bghlmrst"],
    *[(f"https://i.imgur.com/abcdefZ{letter}.jpg", C, "abcdefZ") for letter in "bghlmrst"],
    ("https://i.imgur.com/abcdZl.png", C, "abcdZ"),
    ("https://i.imgur.com/abcdZh.gif?1", C, "abcdZ"),
    ("https://i.imgur.com/abcdZ%6C.jpg", C, "abcdZ"),
    ("https://i.imgur.com/abcdef.jpg", M, "abcdef"),
    ("https://i.imgur.com/abcdefgz.jpg", M, "abcdefgz"),
    ("https://i.imgur.com/abcdZL.jpg", M, "abcdZL"),  # letters have a case
    ("https://i.imgur.com/abcdZ1.jpg", M, "abcdZ1"),
    # other lengths are no ids that we know of: kept, so that nothing is lost
    ("https://i.imgur.com/abcs.jpg", M, "abcs"),
    ("https://i.imgur.com/abcdefghs.jpg", M, "abcdefghs"),
    # variants and maxwidth
    ("https://i.imgur.com/abcde_d.webp?maxwidth=760&fidelity=grand", C, "abcde"),
    ("https://i.imgur.com/abcdefg_d.png", C, "abcdefg"),
    ("https://i.imgur.com/abcde_d.jpg", C, "abcde"),
    ("https://i.imgur.com/abcdefg_lq.mp4", C, "abcdefg"),
    ("https://i.imgur.com/abcdZl_d.jpg", C, "abcdZ"),
    ("https://i.imgur.com/abcde.jpg?maxwidth=640", C, "abcde"),
    ("https://i.imgur.com/abcde.jpg?shape=thumb&maxwidth=640", C, "abcde"),
    ("https://i.imgur.com/abcde.jpg?shape=thumb;MaxWidth=640", C, "abcde"),
    ("https://i.imgur.com/abcde.jpg?maxwidth", C, "abcde"),
    ("https://i.imgur.com/abcde.jpg?%6Daxwidth=640", C, "abcde"),
    # the picture that stands for removed ones
    ("https://i.imgur.com/removed.png", R, None),
    ("http://i.imgur.com/removed.png?1", R, None),
    ("https://i.imgur.com/removed.jpg", M, "removed"),
    # everything else
    ("https://i.imgur.com/", X, None),
    ("https://i.imgur.com", X, None),
    ("https://i.imgur.com/?abcde.jpg", X, None),
    ("https://i.imgur.com/a/abcde.jpg", X, None),
    ("https://i.imgur.com/a%2Fabcde.jpg", X, None),
    ("https://i.imgur.com/robots.txt", X, None),
    ("https://i.imgur.com/favicon.ico", X, None),
    ("https://i.imgur.com/abcde.html", X, None),
    ("https://i.imgur.com/.jpg", X, None),
    ("https://i.imgur.com/_d.jpg", X, None),
    ("https://i.imgur.com/äbcde.jpg", X, None),
    ("https://i.imgur.com/abcde\udc80.jpg", X, None),
    ("https://i.imgur.com/%FF%00.jpg", X, None),
    ("https://imgur.com/abcde", X, None),
    ("https://imgur.com/abcde.jpg", X, None),
    ("https://imgur.com/a/abcde", X, None),
    ("https://imgur.com/gallery/abcde", X, None),
    ("https://i.stack.imgur.com/abcde.jpg", X, None),
    ("https://xi.imgur.com/abcde.jpg", X, None),
    ("https://ixImgur.com/abcde.jpg", X, None),
    ("https://i.imgur.com.example.org/abcde.jpg", X, None),
    ("https://example.org/https://i.imgur.com/abcde.jpg", X, None),
    ("https://example.org/?u=x@i.imgur.com/abcde.jpg", X, None),
    ("ftp://i.imgur.com/abcde.jpg", X, None),
    ("//i.imgur.com/abcde.jpg", X, None),
    ("i.imgur.com/abcde.jpg", X, None),
    ("https://[::1/abcde.jpg", X, None),
    ("dns:i.imgur.com", X, None),
    ("", X, None),
    (None, X, None),
]


@pytest.mark.parametrize(("url", "kind", "media_id"), URLS)
def test_a_url_is_classified(url: str | None, kind: UrlKind, media_id: str | None) -> None:
    assert classify_url(url) == ImgurUrl(kind, media_id)


@given(st.text() | st.text().map(lambda text: f"https://i.imgur.com/{text}"))
def test_no_url_is_too_odd_to_be_classified(url: str) -> None:
    found = classify_url(url)
    assert (found.media_id is not None) == (found.kind in (M, C))


ORIGINAL, COPY = ImgurUrl(M, "abcde"), ImgurUrl(C, "abcde")
REMOVED_URL, OTHER = ImgurUrl(R, None), ImgurUrl(X, None)

HEADS = [
    ("response", ORIGINAL, False, None, None, D.DAMAGED),
    ("response", OTHER, False, None, None, D.DAMAGED),
    ("response", ORIGINAL, True, None, None, D.DAMAGED),
    ("revisit", ORIGINAL, False, None, None, D.DAMAGED),
    ("revisit", ORIGINAL, True, None, None, D.REVISIT),  # nothing in it: allowed
    ("revisit", ORIGINAL, True, 200, None, D.REVISIT),
    ("revisit", OTHER, True, 302, "https://i.imgur.com/removed.png", D.REVISIT),
    ("response", ORIGINAL, True, 302, "https://i.imgur.com/removed.png", D.REMOVED),
    ("response", COPY, True, 302, "//i.imgur.com/removed.png?1", D.REMOVED),
    ("response", OTHER, True, 301, "/removed.png", D.REMOVED),
    ("response", ORIGINAL, True, 302, "removed.png", D.REMOVED),
    ("response", ORIGINAL, True, 302, "https://imgur.com/abcde", D.REDIRECT),
    ("response", ORIGINAL, True, 302, "https://i.imgur.com/notremoved.png", D.REDIRECT),
    ("response", ORIGINAL, True, 302, "https://imgur.com/?then=/removed.png", D.REDIRECT),
    ("response", OTHER, True, 301, None, D.REDIRECT),
    ("response", ORIGINAL, True, 304, None, D.REDIRECT),
    ("response", ORIGINAL, True, 404, None, D.ERROR_STATUS),
    ("response", OTHER, True, 503, None, D.ERROR_STATUS),
    ("response", ORIGINAL, True, 206, None, D.ERROR_STATUS),  # a part of a file is not the file
    ("response", ORIGINAL, True, 99999, None, D.ERROR_STATUS),
    ("response", OTHER, True, 200, None, D.NO_MEDIA),
    ("response", REMOVED_URL, True, 200, None, D.REMOVED),
    ("response", COPY, True, 200, None, D.DOWNSCALED_COPY),
    ("response", ORIGINAL, True, 200, None, None),
    ("response", ORIGINAL, True, 200, "https://i.imgur.com/removed.png", None),
]


@pytest.mark.parametrize(("record_type", "url", "readable", "status", "location", "decision"), HEADS)
def test_the_head_decides(
    record_type: str, url: ImgurUrl, readable: bool, status: int | None, location: str | None, decision: D | None
) -> None:
    assert decide_before_body(record_type, url, readable, status, location) == decision


LATE = REMOVED_PICTURE_UNTIL
EARLY = LATE - timedelta(microseconds=1)

BODIES = [
    (0, True, EARLY, None, D.EMPTY),
    (0, False, EARLY, None, D.EMPTY),
    (700, False, EARLY, "image/jpeg", D.TRUNCATED),
    (503, False, EARLY, "image/png", D.TRUNCATED),
    (503, True, EARLY, "image/png", D.REMOVED),
    (503, True, EARLY, None, D.REMOVED),
    (503, True, LATE, "image/png", None),
    (503, True, LATE, None, D.NO_MEDIA),
    (503, True, None, "image/png", None),  # of no known date: kept, so that nothing is lost
    (502, True, EARLY, "image/png", None),
    (504, True, EARLY, "image/png", None),
    (9000, True, EARLY, None, D.NO_MEDIA),
    (9000, True, datetime(2024, 1, 1, tzinfo=UTC), "video/mp4", None),
]


@pytest.mark.parametrize(("length", "complete", "captured_at", "media_type", "decision"), BODIES)
def test_the_body_decides(
    length: int, complete: bool, captured_at: datetime | None, media_type: str | None, decision: D | None
) -> None:
    assert decide_on_body(length, complete, captured_at, media_type) == decision


def test_moving_goes_over_still_and_lossless_over_lossy() -> None:
    best_first = ["video/mp4", "image/gif", "image/png", "image/webp", "image/jpeg", "image/bmp"]
    assert sorted(best_first, key=rank, reverse=True) == best_first
    assert len({rank(media_type) for media_type in best_first}) == len(best_first)
    assert rank("video/webm") == rank("video/mp4")


def of(media_id: str, short_type: str, payload: bytes) -> Candidate:
    return Candidate(media_id, short_type, payload)


PNG, JPG, GIF, MP4 = "image/png", "image/jpeg", "image/gif", "video/mp4"

CHOICES = [
    ([], []),
    ([of("a", JPG, b"1")], [D.KEPT]),
    ([of("a", JPG, b"1"), of("a", JPG, b"1")], [D.KEPT, D.DUPLICATE]),
    ([of("a", JPG, b"1"), of("b", JPG, b"1")], [D.KEPT, D.DUPLICATE]),
    ([of("a", PNG, b"1"), of("a", JPG, b"2")], [D.KEPT, D.LESSER_COPY]),
    ([of("a", JPG, b"2"), of("a", PNG, b"1")], [D.LESSER_COPY, D.KEPT]),
    ([of("a", GIF, b"1"), of("a", MP4, b"2"), of("a", JPG, b"3")], [D.LESSER_COPY, D.KEPT, D.LESSER_COPY]),
    # equal rank, other bytes: no rule says which, so both
    ([of("a", JPG, b"1"), of("a", JPG, b"2")], [D.KEPT, D.KEPT]),
    # lesser under one id, the best of another: kept where it is the best, though it comes later
    ([of("a", JPG, b"1"), of("a", PNG, b"2"), of("b", JPG, b"1")], [D.LESSER_COPY, D.KEPT, D.KEPT]),
    ([of("b", JPG, b"1"), of("a", PNG, b"2"), of("a", JPG, b"1")], [D.KEPT, D.KEPT, D.LESSER_COPY]),
]


@pytest.mark.parametrize(("candidates", "decisions"), CHOICES)
def test_originals_are_chosen(candidates: list[Candidate], decisions: list[D]) -> None:
    assert list(choose(candidates)) == decisions
