from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmine.images.media_types import extension, media_type
from tests.images.made_pictures import encoded, photograph

DATA = Path(__file__).parent / "data"


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + major + b"\0\0\0\0" + b"".join(compatible)
    return (len(body) + 4).to_bytes(4, "big") + body + b"\0\0\0\x08mdat"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"\xff\xd8\xff\xdb", "image/jpeg"),
        (b"\xff\xd8", None),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
        (b"\x89PNG\n\x1a\n", None),
        (b"GIF87a\x01\0", "image/gif"),
        (b"GIF89a\x01\0", "image/gif"),
        (b"GIF90a\x01\0", None),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x24\0\0\0WAVEfmt ", None),
        (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", "image/bmp"),
        (b"BMW is a maker of cars", None),
        (b"BM", None),
        (b"II*\0\x08\0\0\0", "image/tiff"),
        (b"MM\0*\0\0\0\x08", "image/tiff"),
        (b"II+\0\x08\0\0\0", "image/tiff"),
        (ftyp(b"avif", b"mif1"), "image/avif"),
        (ftyp(b"mif1", b"avif", b"miaf"), "image/avif"),
        (ftyp(b"heic", b"mif1"), "image/heic"),
        (ftyp(b"mif1", b"heic"), "image/heic"),
        (ftyp(b"isom", b"iso2", b"avc1", b"mp41"), "video/mp4"),
        (ftyp(b"mp42"), "video/mp4"),
        (ftyp(b"M4V "), "video/mp4"),
        (ftyp(b"M4A "), None),
        (ftyp(b"qt  "), "video/quicktime"),
        (ftyp(b"3gp5"), "video/3gpp"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x88matroska", "video/x-matroska"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84else", None),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
        (b"<!DOCTYPE html><html>", None),
        (b"%!PS-Adobe-3.0 EPSF-3.0", None),
        (b"", None),
        (b"\0" * 64, None),
    ],
)
def test_the_type_is_told_from_the_first_bytes(head: bytes, expected: str | None) -> None:
    assert media_type(head) == expected
    assert media_type(memoryview(head)) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("AVIF", "image/avif"),
    ],
)
def test_what_pillow_writes_is_told_apart(kind: str, expected: str) -> None:
    assert media_type(encoded(photograph(size=(16, 16)), kind)) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("b_frames.mp4", "video/mp4"), ("vp8.webm", "video/webm"), ("vp9.webm", "video/webm")]
)
def test_videos_are_told_apart(name: str, expected: str) -> None:
    assert media_type((DATA / name).read_bytes()) == expected


@given(st.binary(max_size=300))
def test_any_bytes_have_a_type_with_an_extension_or_none(payload: bytes) -> None:
    found = media_type(payload)
    assert found is None or extension(found).isalnum()


def test_extensions() -> None:
    assert [extension(kind) for kind in ("image/jpeg", "image/png", "video/mp4")] == ["jpg", "png", "mp4"]
    with pytest.raises(ValueError, match="text/html"):
        extension("text/html")
