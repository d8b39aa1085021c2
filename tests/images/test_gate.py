import io
import struct
import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, TiffImagePlugin

from imgmine.decisions import ImageDecision
from imgmine.images.gate import FORMATS, gate
from tests.images.made_pictures import encoded, jpeg, moving, noise, photograph, png_chunk, png_of, webp_of

KEPT, MODE, SIZE = ImageDecision.KEPT, ImageDecision.MODE, ImageDecision.SIZE
JPEG_HEAD = b"\xff\xd8\xff"
TRUNCATED, UNDECODABLE, BOMB = ImageDecision.TRUNCATED, ImageDecision.UNDECODABLE, ImageDecision.BOMB


@pytest.mark.parametrize(
    ("kind", "mode", "options", "expected"),
    [
        ("JPEG", "RGB", {}, KEPT),
        ("JPEG", "RGB", {"progressive": True}, KEPT),
        ("JPEG", "L", {}, MODE),
        ("JPEG", "CMYK", {}, MODE),
        ("PNG", "RGB", {}, KEPT),
        ("PNG", "RGB", {"transparency": (1, 2, 3)}, KEPT),
        ("PNG", "RGBA", {}, MODE),
        ("PNG", "P", {}, MODE),
        ("PNG", "L", {}, MODE),
        ("PNG", "LA", {}, MODE),
        ("PNG", "1", {}, MODE),
        ("PNG", "I;16", {}, MODE),
        ("GIF", "P", {}, MODE),
        ("GIF", "L", {}, MODE),
        ("WEBP", "RGB", {}, KEPT),
        ("WEBP", "RGB", {"lossless": True}, KEPT),
        ("WEBP", "RGBA", {}, MODE),
        ("AVIF", "RGB", {}, KEPT),
        ("AVIF", "RGBA", {}, MODE),
        ("BMP", "RGB", {}, KEPT),
        ("BMP", "L", {}, MODE),
        ("TIFF", "RGB", {}, KEPT),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}, KEPT),
        ("TIFF", "CMYK", {}, MODE),
    ],
)
def test_each_format_and_mode(kind: str, mode: str, options: dict[str, Any], expected: ImageDecision) -> None:
    source = photograph(size=(200, 150))
    picture = source.convert("L").convert(mode) if mode == "I;16" else source.convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))  # encoders drop an alpha that is all opaque
    verdict, decoded = gate(encoded(picture, kind, **options))
    assert (verdict.decision, verdict.width, verdict.height, verdict.format) == (expected, 200, 150, kind)
    assert verdict.frames == 1
    assert verdict.detail is None
    assert (decoded is not None) == (expected is KEPT)
    if expected is KEPT:
        assert verdict.mode == "RGB"


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((128, 128), KEPT),
        ((127, 128), SIZE),
        ((128, 127), SIZE),
        ((127, 4000), SIZE),
        ((1, 1), SIZE),
        ((128, 4000), KEPT),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_both_sides_must_have_128_pixels(kind: str, size: tuple[int, int], expected: ImageDecision) -> None:
    verdict, _ = gate(encoded(photograph(size=size), kind))
    assert (verdict.decision, verdict.width, verdict.height) == (expected, *size)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 8}])
def test_a_jpeg_cut_at_any_place_is_never_kept(options: dict[str, Any]) -> None:
    whole = jpeg((200, 150), **options)
    first_scan = whole.index(b"\xff\xda")
    for cut in [*range(0, len(whole), 101), *range(len(whole) - 40, len(whole))]:
        verdict, picture = gate(whole[:cut])
        if cut <= first_scan:
            assert verdict.decision is UNDECODABLE, cut
        elif cut > first_scan + 20:
            assert verdict.decision is TRUNCATED, cut
        assert picture is None
    assert gate(whole).verdict.decision is KEPT


def test_a_jpeg_that_decodes_without_its_end_marker_is_truncated() -> None:
    cut = jpeg((200, 150))[:-2]
    Image.open(io.BytesIO(cut)).load()  # Pillow takes it without a word
    verdict, picture = gate(cut)
    assert (verdict.decision, verdict.detail) == (TRUNCATED, "the end marker is missing")
    assert (verdict.width, verdict.height, verdict.mode, picture) == (200, 150, "RGB", None)


def test_bytes_after_the_end_marker_are_no_harm() -> None:
    assert gate(jpeg((200, 150)) + b"\0" * 100 + jpeg((30, 30))[:50]).verdict.decision is KEPT


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "BMP", "TIFF"])
def test_other_formats_cut_short(kind: str) -> None:
    whole = encoded(photograph(size=(200, 150)), kind)
    for share in (0.5, 0.9, 0.99):
        decision = gate(whole[: int(len(whole) * share)]).verdict.decision
        assert decision is TRUNCATED


def test_a_png_with_a_corrupt_chunk() -> None:
    whole = bytearray(encoded(photograph(size=(200, 150)), "PNG"))
    whole[whole.index(b"IDAT") + 2000] ^= 0xFF
    verdict, picture = gate(bytes(whole))
    assert (verdict.decision, verdict.mode, picture) == (UNDECODABLE, "RGB", None)
    assert verdict.detail


@pytest.mark.parametrize(
    "payload", [b"", b"\0", b"\0" * 5000, b"hello, world" * 40, b"<!DOCTYPE html>", b"\xff\xd8\xff"]
)
def test_what_is_no_picture(payload: bytes) -> None:
    verdict, picture = gate(payload)
    assert verdict.decision is UNDECODABLE
    assert verdict.detail in ("not a picture of a known kind", "not readable as image/jpeg")
    assert (verdict.width, verdict.mode, verdict.format, verdict.frames, picture) == (None, None, None, None, None)


def test_formats_beyond_a_picture_hosts_are_not_opened() -> None:
    for kind in ("EPS", "PPM", "TGA", "ICO", "PCX", "JPEG2000", "PDF"):
        verdict, _ = gate(encoded(photograph(size=(200, 150)), kind))
        assert verdict.decision is UNDECODABLE, kind
    assert gate(encoded(photograph(size=(200, 150)), "JPEG2000")).verdict.detail == "not readable as image/jp2"
    assert "EPS" not in FORMATS


@pytest.mark.parametrize(("width", "height"), [(8193, 10923), (9460, 9459), (10_000, 10_000), (2**31 - 1, 1)])
def test_a_header_that_claims_too_many_pixels_is_a_bomb(width: int, height: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verdict, picture = gate(png_of(width, height))
    assert (verdict.decision, picture) == (BOMB, None)
    assert str(width * height) in (verdict.detail or "")


def test_a_bomb_that_unpacks_to_real_pixels_is_not_unpacked() -> None:
    verdict, picture = gate(png_of(20_000, 20_000, b"\0" * 30_000_000))
    assert (verdict.decision, picture) == (BOMB, None)


def test_a_webp_canvas_can_be_a_bomb() -> None:
    assert gate(webp_of(16_384, 16_384)).verdict.decision is BOMB


def test_the_largest_picture_that_is_no_bomb() -> None:
    # 89,478,485 = 5 × 17,895,697: the header alone is asked, the sides are then too short.
    assert gate(png_of(17_895_697, 5)).verdict.decision is SIZE
    assert gate(png_of(17_895_698, 5)).verdict.decision is BOMB


@pytest.mark.parametrize(
    ("kind", "frames", "expected"),
    [("GIF", 1, MODE), ("GIF", 50, MODE), ("PNG", 5, KEPT), ("WEBP", 5, KEPT), ("AVIF", 5, KEPT), ("TIFF", 5, KEPT)],
)
def test_of_a_moving_picture_the_first_frame_is_judged(kind: str, frames: int, expected: ImageDecision) -> None:
    verdict, picture = gate(moving(kind, frames))
    assert (verdict.decision, verdict.frames) == (expected, frames)
    if picture is not None:
        assert picture.size == (160, 140)


def test_a_jpeg_of_several_pictures_is_read() -> None:
    verdict, _ = gate(encoded(photograph(), "MPO", save_all=True, append_images=[photograph(1)]))
    assert (verdict.decision, verdict.format, verdict.frames) == (KEPT, "MPO", 2)


def with_copyright(value: str | bytes) -> Image.Exif:
    exif = Image.Exif()
    exif[33432] = value
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_the_copyright_is_read_from_exif(kind: str) -> None:
    payload = encoded(photograph(), kind, exif=with_copyright("(c) Ada Lovelace"))
    assert gate(payload).verdict.exif_copyright == "(c) Ada Lovelace"


def test_the_copyright_of_a_tiff_and_of_a_dropped_picture() -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[33432] = "Ada"
    assert gate(encoded(photograph(), "TIFF", tiffinfo=tags)).verdict.exif_copyright == "Ada"
    small = gate(encoded(photograph(size=(60, 60)), "JPEG", exif=with_copyright("Ada"))).verdict
    assert (small.decision, small.exif_copyright) == (SIZE, "Ada")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("© Ada".encode(), "© Ada"),
        ("© Ada".encode("latin-1"), "© Ada"),
        (b"Ada\0Charles", "Ada; Charles"),
        (b"  Ada \r\n\x07 Lovelace  ", "Ada Lovelace"),
        (b" \0", None),
        (b"x" * 5000, "x" * 1000),
    ],
)
def test_a_copyright_is_made_clean_text(written: bytes, read: str | None) -> None:
    exif = b"Exif\0\0" + b"MM\0*\0\0\0\x08" + struct.pack(">H", 1)
    exif += struct.pack(">HHII", 33432, 2, len(written) + 1, 26) + b"\0\0\0\0" + written + b"\0"
    assert gate(encoded(photograph(), "JPEG", exif=exif)).verdict.exif_copyright == read


def test_broken_exif_takes_nothing_from_the_picture() -> None:
    verdict, _ = gate(encoded(photograph(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff broken"))
    assert (verdict.decision, verdict.exif_copyright) == (KEPT, None)


def test_a_png_that_is_dropped_for_its_mode_is_not_decoded() -> None:
    header = struct.pack(">IIBBBBB", 300, 300, 8, 6, 0, 0, 0)
    broken = (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"no deflate") + png_chunk(b"IEND", b"")
    )
    assert gate(broken).verdict.decision is MODE


def test_the_decoded_picture_is_handed_on() -> None:
    picture = gate(encoded(photograph(), "PNG")).picture
    assert picture is not None
    assert picture.tobytes() == photograph().tobytes()


def test_pillow_is_left_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    gate(png_of(10_000, 10_000))
    gate(jpeg())
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


HEADS = [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\xff\0\0\0WEBP", b"II*\0\x08\0\0\0", b"BM"]
GOOD = [
    jpeg((160, 140)),
    jpeg((160, 140), progressive=True),
    encoded(noise((130, 130)), "PNG"),
    encoded(photograph(size=(160, 140)).quantize(16), "PNG"),
    moving("GIF", 3),
    encoded(photograph(size=(160, 140)), "WEBP"),
    moving("WEBP", 3),
    encoded(photograph(size=(160, 140)), "AVIF"),
    encoded(photograph(size=(160, 140)), "BMP"),
    encoded(photograph(size=(160, 140)), "TIFF", compression="tiff_deflate"),
    moving("TIFF", 3),
]
quiet = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@given(st.sampled_from([b"", *HEADS]), st.binary(max_size=400))
@quiet
@example(b"BM", b"\0" * 60)
def test_random_bytes_get_a_verdict(head: bytes, rest: bytes) -> None:
    verdict, _ = gate(head + rest)
    assert verdict.decision in ImageDecision


@given(st.sampled_from(GOOD), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8), st.floats(0, 1))
@quiet
def test_mutations_of_good_pictures_get_a_verdict(payload: bytes, changes: list[tuple[float, int]], cut: float) -> None:
    mutated = bytearray(payload)
    for place, value in changes:
        mutated[int(place * (len(mutated) - 1))] = value
    if cut < 0.5:
        del mutated[int(2 * cut * len(mutated)) :]
    first, second = gate(bytes(mutated)), gate(bytes(mutated))
    assert first.verdict == second.verdict
    assert (first.picture is not None) == (first.verdict.decision is KEPT)
    if first.verdict.detail is not None:
        assert "0x7f" not in first.verdict.detail
