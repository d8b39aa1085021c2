import pytest

from imgmine.images.containers import ends_early
from tests.images.made_pictures import encoded, jpeg, photograph


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}, {"optimize": True}])
def test_a_jpeg_is_ended_only_with_its_end_marker(options: dict[str, object]) -> None:
    whole = jpeg((200, 150), **options)
    assert not ends_early(whole)
    assert all(ends_early(whole[:cut]) for cut in range(2, len(whole), 97))
    assert ends_early(whole[:-1])
    assert ends_early(whole[:-2])


def test_bytes_after_the_end_marker_do_not_matter() -> None:
    whole = jpeg((200, 150))
    assert not ends_early(whole + b"\xff\xd8\xff\xe1 anything")
    assert not ends_early(whole + b"\0" * 1000)


def test_the_end_marker_of_a_thumbnail_is_not_the_pictures() -> None:
    thumbnail = jpeg((64, 48))
    whole = jpeg((200, 150))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with_thumbnail = whole[:2] + segment + whole[2:]
    assert not ends_early(with_thumbnail)
    assert ends_early(with_thumbnail[:-2])


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_a_container_shorter_than_it_declares_ends_early(kind: str) -> None:
    whole = encoded(photograph(size=(200, 150)), kind)
    assert not ends_early(whole)
    assert not ends_early(whole + b"\0" * 50)
    assert ends_early(whole[: len(whole) // 2])
    assert ends_early(whole[:-9])


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_of_other_formats_nothing_is_said(kind: str) -> None:
    whole = encoded(photograph(size=(200, 150)), kind)
    assert not ends_early(whole[: len(whole) // 2])


def test_no_bytes() -> None:
    assert not ends_early(b"")
