"""Every file that once broke Pillow, and some hundred that we broke: each gets its verdict, and no run ends."""

import io
import warnings
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from imgmine.decisions import ImageDecision
from imgmine.images.containers import ends_early
from imgmine.images.decoder_pool import DecoderPool, PictureRequest, StillRequest
from imgmine.images.decoding import Decoding
from imgmine.images.gate import FORMATS, LEAST_SIDE, MOST_PIXELS, Verdict
from tests.images.clips import tiny_clip
from tests.images.corpus import Case, CorpusUnavailable, fetched, variants
from tests.images.made_pictures import encoded, jpeg, moving, photograph

GOOD_OF_EACH_FORMAT = 6
LARGEST_GOOD = 1 << 20
VARIANTS_OF_EACH = 18
ERRORS = (ImageDecision.UNDECODABLE, ImageDecision.TRUNCATED, ImageDecision.BOMB)


def good_files(files: list[Case]) -> list[Case]:
    """Return the smallest good files of each format, and photographs of our own in each."""
    found: dict[str, list[Case]] = {}
    for case in sorted(files, key=lambda case: (len(case.payload), case.name)):
        if len(case.payload) <= LARGEST_GOOD and (kind := bare_pillow(case.payload)[0]) is not None:
            found.setdefault(kind, []).append(case)
    made = [
        Case("made", f"photograph.{kind.lower()}", encoded(photograph(), kind)) for kind in ("WEBP", "AVIF", "TIFF")
    ]
    made.append(Case("made", "photograph.jpg", jpeg()))
    made.append(Case("made", "progressive.jpg", jpeg(progressive=True, restart_marker_blocks=16)))
    made.append(Case("made", "moving.gif", moving("GIF", 5)))
    made.append(Case("made", "moving.webp", moving("WEBP", 5)))
    made.append(Case("made", "moving.png", moving("PNG", 5)))
    return [case for kind in sorted(found) for case in found[kind][:GOOD_OF_EACH_FORMAT]] + made


@cache
def bare_pillow(payload: bytes) -> tuple[str | None, str]:
    """Return the format of a picture that Pillow takes by the gate's rules (else None), and what was the matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(payload), formats=FORMATS) as picture:
                kind, mode, (width, height) = str(picture.format), picture.mode, picture.size
                if width * height > MOST_PIXELS:
                    return None, "too large to decode in the process of a test"
                if mode != "RGB" or min(width, height) < LEAST_SIDE:
                    return None, f"{mode}, {width} × {height}"
                picture.load()
        except Exception as error:
            return None, repr(error)
    return (None, "no end marker") if kind in ("JPEG", "MPO") and ends_early(payload) else (kind, "good")


@cache
def whole_corpus() -> list[Case]:
    try:
        files = list(fetched())
    except CorpusUnavailable as error:
        pytest.fail(str(error), pytrace=False)
    return files + list(variants(good_files(files), VARIANTS_OF_EACH))


def judged(cases: list[Case], folder: Path, decoding: Decoding = Decoding.EXACT) -> list[Verdict]:
    """Return the verdicts of worker processes on all cases, in one spool, as an archive's files are."""
    spool = folder / "spool"
    requests = []
    with spool.open("wb") as out:
        for case in cases:
            requests.append(PictureRequest(spool, out.tell(), len(case.payload)))
            out.write(case.payload)
    with DecoderPool(2, cpu_s=20, decoding=decoding) as pool:
        return [result.verdict for result in pool.pictures(requests)]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Case, Verdict]]:
    cases = whole_corpus()
    return list(zip(cases, judged(cases, tmp_path_factory.mktemp("corpus")), strict=True))


def test_the_corpus_is_whole() -> None:
    counts = Counter(case.source for case in whole_corpus())
    assert (counts["pillow"], counts["pillow-heif"]) == (1060, 75)
    assert counts["variants"] >= 600


def test_every_file_has_a_verdict_and_a_reason(verdicts: list[tuple[Case, Verdict]]) -> None:
    for case, verdict in verdicts:
        match verdict.decision:
            case ImageDecision.MODE:
                assert verdict.mode not in ("RGB", None), case
            case ImageDecision.SIZE:
                assert min(verdict.width or 0, verdict.height or 0) < LEAST_SIDE, case
            case ImageDecision.KEPT:
                assert (verdict.mode, verdict.detail) == ("RGB", None), case
            case _:
                assert verdict.decision in ERRORS, case
                assert verdict.detail, case


def test_no_file_of_the_corpus_kills_or_hangs_its_worker(verdicts: list[tuple[Case, Verdict]]) -> None:
    words = ("the decoder process", "not decoded in", "needs more memory")
    assert [case[:2] for case, verdict in verdicts if (verdict.detail or "").startswith(words)] == []


def test_what_is_kept_is_what_bare_pillow_takes(verdicts: list[tuple[Case, Verdict]]) -> None:
    wrong = []
    for case, verdict in verdicts:
        kind, reason = bare_pillow(case.payload)
        if (verdict.decision is ImageDecision.KEPT) != (kind is not None):
            wrong.append((*case[:2], verdict, reason))
    assert wrong == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("pillow", {"kept": 215, "undecodable": 356, "truncated": 3, "bomb": 4, "mode": 301, "size": 181}),
        ("pillow-heif", {"kept": 2, "undecodable": 53, "mode": 14, "size": 6}),
    ],
)
def test_the_fetched_files_get_the_verdicts_that_they_always_got(
    verdicts: list[tuple[Case, Verdict]], source: str, expected: dict[str, int]
) -> None:
    assert Counter(str(verdict.decision) for case, verdict in verdicts if case.source == source) == expected


def test_a_scaled_decode_never_changes_a_verdict(verdicts: list[tuple[Case, Verdict]], tmp_path: Path) -> None:
    # Only JPEGs from about a megapixel on are decoded scaled at all.
    large = [
        Case("made", "large.jpg", jpeg((1100, 1040))),
        Case("made", "large, progressive.jpg", jpeg((1040, 1040), progressive=True, quality=60)),
        Case("made", "larger, with restarts.jpg", jpeg((1200, 1030), subsampling=0, restart_marker_blocks=20)),
    ]
    broken = [*large, *variants(large, 24)]
    exact = [(case, verdict) for case, verdict in verdicts if case.payload.startswith(b"\xff\xd8")]
    exact += zip(broken, judged(broken, tmp_path), strict=True)
    assert len(exact) > 200
    scaled = judged([case for case, _ in exact], tmp_path, Decoding.SCALED)
    changed = [(*case[:2], one, other) for (case, one), other in zip(exact, scaled, strict=True) if one != other]
    assert changed == []


@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_a_video_whose_chunks_lie_beyond_two_gib_costs_no_worker(tmp_path: Path, container: str) -> None:
    # OpenCV hands such an offset on as a negative one, and dies of the exception that a file raises then.
    broken = bytearray(tiny_clip(container, "mp4v", 4))
    at = broken.index(b"stco") + 12
    broken[at : at + 4] = b"\x90\0\0\0"
    path = tmp_path / "video"
    path.write_bytes(broken)
    with DecoderPool(1) as pool:
        (result,) = pool.stills([StillRequest(path, 0, len(broken), bytes(31) + b"\1")])
    assert (result.png, result.detail) == (None, "no frame of the video can be decoded")
