import hashlib
import io
import warnings
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from imgmine.decisions import ImageDecision, RecordDecision
from imgmine.demo.encodings import Gate, removed_picture
from imgmine.demo.exchanges import FAILING_FORMS, Kind
from imgmine.demo.payloads import ORIGINALS, Body, make
from imgmine.demo.pictures_drawn import SUBJECTS, draw
from imgmine.images.decoder_pool import DecoderPool, StillRequest
from tests.demo.demo_archives import ReadBack

A, B, C = Kind.APRIL, Kind.MAY_3, Kind.MAY_15
EVERYWHERE = (A, B, C)

# Case, the archives that have it, what becomes of its records.
CASES: list[tuple[str, tuple[Kind, ...], set[str]]] = [
    ("original", EVERYWHERE, {"kept", "duplicate"}),
    ("page", EVERYWHERE, {"no_media"}),
    ("album", (C,), {"no_media"}),
    ("api_answer", EVERYWHERE, {"no_media"}),
    ("thumbnail", (A,), {"downscaled_copy"}),
    ("scaled_webp", (A,), {"downscaled_copy"}),
    ("scaled_png", (A,), {"downscaled_copy"}),
    ("low_quality_film", (A,), {"downscaled_copy"}),
    ("copy_by_query", (A, B), {"downscaled_copy"}),
    ("copy_by_stem", (A, B), {"downscaled_copy"}),
    ("only_copies", (A,), {"downscaled_copy"}),
    ("short_copy", (A,), {"downscaled_copy"}),
    ("removed_copy", (A,), {"downscaled_copy"}),
    ("removed_by_redirect", EVERYWHERE, {"removed"}),
    ("removed_page", EVERYWHERE, {"removed"}),
    ("removed_by_body", EVERYWHERE, {"removed"}),
    ("removed_by_body_in_chunks", EVERYWHERE, {"removed"}),
    ("late_503_bytes", (C,), {"kept"}),
    ("redirect_301_of_page", EVERYWHERE, {"redirect"}),
    ("redirect_302_of_page", EVERYWHERE, {"redirect"}),
    ("redirect_of_file", EVERYWHERE, {"redirect"}),
    ("not_found_page", EVERYWHERE, {"error_status"}),
    ("not_found_file", EVERYWHERE, {"error_status"}),
    ("not_found_copy", (A,), {"error_status"}),
    ("short_body", EVERYWHERE, {"truncated"}),
    ("short_by_one_byte", EVERYWHERE, {"truncated"}),
    ("short_body_of_503_bytes", (A, B), {"truncated"}),
    ("short_better_original", EVERYWHERE, {"truncated"}),
    ("best_sound_original", EVERYWHERE, {"kept"}),
    ("short_film", EVERYWHERE, {"truncated"}),
    ("still_of_short_film", EVERYWHERE, {"kept"}),
    ("marked_truncated", EVERYWHERE, {"truncated"}),
    ("marked_truncated_without_length", EVERYWHERE, {"truncated"}),
    ("marked_truncated_page", EVERYWHERE, {"no_media"}),
    ("chunked_image", EVERYWHERE, {"kept"}),
    ("chunked_oddly", EVERYWHERE, {"kept"}),
    ("chunked_cut", EVERYWHERE, {"truncated"}),
    ("chunked_without_end", EVERYWHERE, {"truncated"}),
    ("chunked_page_cut", EVERYWHERE, {"no_media"}),
    ("empty_declared", EVERYWHERE, {"empty"}),
    ("empty_though_declared", EVERYWHERE, {"empty"}),
    ("empty_in_chunks", EVERYWHERE, {"empty"}),
    ("empty_on_close", EVERYWHERE, {"empty"}),
    ("no_content_length", EVERYWHERE, {"kept"}),
    ("no_content_type", EVERYWHERE, {"kept"}),
    ("wrong_content_type", EVERYWHERE, {"kept"}),
    ("plain_head", EVERYWHERE, {"kept"}),
    ("page_at_media_url", EVERYWHERE, {"no_media"}),
    ("page_served_as_picture", EVERYWHERE, {"no_media"}),
    ("json_at_media_url", EVERYWHERE, {"no_media"}),
    ("picture_on_other_host", EVERYWHERE, {"no_media"}),
    ("picture_on_page_host", EVERYWHERE, {"no_media"}),
    ("id_ends_in_size_letter", EVERYWHERE, {"kept"}),
    ("original_with_query", EVERYWHERE, {"kept"}),
    ("original_over_http", EVERYWHERE, {"kept"}),
    ("webp_under_png_called_jpg", EVERYWHERE, {"lesser_copy"}),
    ("png_called_jpg", EVERYWHERE, {"kept"}),
    ("twin_of_one_rank", EVERYWHERE, {"kept"}),
    ("jpg_under_webp", EVERYWHERE, {"lesser_copy"}),
    ("webp_over_jpg", EVERYWHERE, {"kept"}),
    ("lesser_jpg", EVERYWHERE, {"lesser_copy"}),
    ("lesser_in_other_file", EVERYWHERE, {"lesser_copy"}),
    ("better_in_other_file", EVERYWHERE, {"kept"}),
    ("still_beside_film", EVERYWHERE, {"lesser_copy"}),
    ("gif_beside_film", (A,), {"lesser_copy"}),
    ("film_of_gif", (A,), {"kept"}),
    ("same_bytes_as_jpg", (B, C), {"duplicate", "kept"}),
    ("duplicate_nearby", EVERYWHERE, {"kept", "duplicate"}),
    ("duplicate_in_other_file", EVERYWHERE, {"kept", "duplicate"}),
    ("revisit_of_same_url", EVERYWHERE, {"revisit"}),
    ("revisit_of_other_url", EVERYWHERE, {"revisit"}),
    ("revisit_of_page", EVERYWHERE, {"revisit"}),
    ("revisit_of_copy", (A,), {"revisit"}),
    ("revisit_of_original", (B, C), {"revisit"}),
    ("several_frames", EVERYWHERE, {"kept"}),
    ("after_empty_frame", EVERYWHERE, {"kept"}),
    ("after_skippable_frame", EVERYWHERE, {"kept"}),
    ("digest_with_zero_byte", (C,), {"kept"}),
]


@pytest.mark.parametrize(("case", "kinds", "decisions"), CASES, ids=[case for case, *_ in CASES])
def test_every_case_is_there(
    demo: dict[Kind, ReadBack], case: str, kinds: tuple[Kind, ...], decisions: set[str]
) -> None:
    for kind in kinds:
        found = {row.decision for row in demo[kind].truth.records if row.case == case}
        assert found, f"{kind} has no record of this case"
        assert found <= decisions


def test_the_table_names_every_case(demo: dict[Kind, ReadBack]) -> None:
    assert {row.case for each in demo.values() for row in each.truth.records} == {case for case, *_ in CASES}


def test_every_decision_of_a_sound_archive_is_there(demo: dict[Kind, ReadBack]) -> None:
    impossible = {RecordDecision.BLOCKED, RecordDecision.NOT_FETCHED, RecordDecision.DAMAGED}
    assert {row.decision for each in demo.values() for row in each.truth.records} == set(RecordDecision) - impossible
    verdicts = {file.gate.decision for each in demo.values() for file in each.truth.files}
    assert verdicts == set(ImageDecision) - {ImageDecision.BLOCKED}


def test_only_the_april_crawl_has_thumbnails(demo: dict[Kind, ReadBack]) -> None:
    assert demo[A].truth.count(RecordDecision.DOWNSCALED_COPY) > 150
    assert demo[B].truth.count(RecordDecision.DOWNSCALED_COPY) < 5
    assert demo[C].truth.count(RecordDecision.DOWNSCALED_COPY) == 0


def test_every_form_of_a_picture_is_in_some_archive(demo: dict[Kind, ReadBack]) -> None:
    assert {file.form for each in demo.values() for file in each.truth.files} >= set(ORIGINALS)


def test_captures_lie_in_the_age_of_their_crawl(demo: dict[Kind, ReadBack]) -> None:
    ages = {A: ("2023-04-27", "2023-05-03"), B: ("2023-05-03", "2023-05-15"), C: ("2023-05-15", "2023-06-13")}
    for kind, (first, last) in ages.items():
        days = [(row.captured_at or "")[:10] for row in demo[kind].truth.records]
        assert first <= min(days) <= max(days) <= last
    removed = [row for row in demo[C].truth.records if row.case.startswith("removed_by_body")]
    assert all((row.captured_at or "") < "2023-05-21" for row in removed)
    assert all((row.captured_at or "") >= "2023-05-21" for row in demo[C].truth.records if row.case == "late_503_bytes")


def test_the_removed_picture_has_503_bytes_and_opens() -> None:
    assert len(removed_picture()) == 503
    with Image.open(io.BytesIO(removed_picture())) as image:
        image.load()


def judged_by_pillow(body: bytes) -> Gate:
    """The gate's rule as the facts have it, with Pillow alone and no care for memory."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(body))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Gate("bomb", None, None, None, None)
    except Image.UnidentifiedImageError:
        return Gate("undecodable", None, None, None, None)
    seen = (image.width, image.height, image.mode, image.format, getattr(image, "n_frames", 1))
    if image.mode != "RGB":
        return Gate("mode", *seen)
    if min(image.size) < 128:
        return Gate("size", *seen)
    try:
        image.load()
    except OSError as error:
        return Gate("truncated" if "truncated" in str(error) else "undecodable", *seen)
    return Gate("kept", *seen, image.getexif().get(0x8298))


@pytest.mark.parametrize("form", [form for form in ORIGINALS if form not in ("mp4", "webm")])
@pytest.mark.parametrize("subject", ["photograph", "website", "pixel_art"])
def test_pillow_agrees_with_what_the_gate_should_say(form: str, subject: str) -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    for number in range(3):
        payload = make(Body(subject, f"pillow{number}", form), 1.0)
        assert payload.gate is not None
        judged = judged_by_pillow(payload.body)
        assert judged.decision == payload.gate.decision
        assert (judged.decision != "kept") == (form in FAILING_FORMS)
        if judged.width is not None:
            assert judged == payload.gate


def test_every_video_gives_a_still_of_the_size_that_is_told(tmp_path: Path) -> None:
    bodies = [Body("photograph", f"film{number}", form) for form in ("mp4", "webm") for number in range(20)]
    payloads = [make(body, 1.0) for body in bodies]
    requests = []
    for number, payload in enumerate(payloads):
        path = tmp_path / f"{number}"
        path.write_bytes(payload.body)
        digest = hashlib.blake2b(payload.body, digest_size=32).digest()
        requests.append(StillRequest(path, 0, len(payload.body), digest))
    assert len({request.blake2b for request in requests}) == len(requests)
    with DecoderPool() as pool:
        for result, payload in zip(pool.stills(requests), payloads, strict=True):
            assert result.png is not None
            assert judged_by_pillow(result.png) == payload.gate


def test_a_cut_jpeg_with_a_whole_thumbnail_has_an_end_marker_in_it() -> None:
    body = make(Body("photograph", "cut", "jpeg_cut_with_thumbnail"), 1.0).body
    assert b"\xff\xd9" in body
    assert not body.endswith(b"\xff\xd9")


@pytest.mark.parametrize("subject", SUBJECTS)
def test_pictures_of_a_subject_differ_and_come_again(subject: str) -> None:
    first, second = (draw(subject, seed, 1.0).tobytes() for seed in ("one", "two"))
    assert first != second
    draw.cache_clear()
    assert draw(subject, "one", 1.0).tobytes() == first
