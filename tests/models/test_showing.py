"""What a page may show: nothing that nobody judged, nothing from the threshold on, unless everything was asked for."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from imgmine.models.preprocessing import UnreadablePicture
from imgmine.models.showing import ASK, Screen


class ByItsFirstByte:
    """Takes the first byte of a picture for its probability in hundredths; an empty one does not decode."""

    def probabilities(self, pictures: Sequence[bytes]) -> list[float]:
        if not all(pictures):
            raise UnreadablePicture("empty")
        return [picture[0] / 100 for picture in pictures]


def test_what_is_at_the_threshold_or_above_is_hidden_in_its_place() -> None:
    shown = Screen(0.2, show_all=False, judge=ByItsFirstByte()).screen([b"\x13", b"\x14", None, b"\x50", b"\x00"])
    assert shown.pictures == [b"\x13", None, None, None, b"\x00"]
    assert shown.note == f"2 of 4 are hidden: not safe for work by 0.2 or more. {ASK}."


def test_what_nobody_can_judge_is_not_shown() -> None:
    shown = Screen(0.2, show_all=False, judge=None).screen([b"\x00", None])
    assert shown.pictures == [None, None]
    assert "pip install 'imgmine[nsfw]'" in shown.note
    broken = Screen(0.2, show_all=False, judge=ByItsFirstByte()).screen([b"", b"\x01"])
    assert broken.pictures == [None, b"\x01"]


def test_everything_is_shown_to_who_asks() -> None:
    assert Screen(0.2, show_all=True, judge=None).screen([b"\x63", None]).pictures == [b"\x63", None]


@given(st.lists(st.none() | st.binary(min_size=1, max_size=2)), st.floats(0, 1))
def test_no_picture_of_the_threshold_or_more_is_ever_shown(pictures: list[bytes | None], threshold: float) -> None:
    shown = Screen(threshold, show_all=False, judge=ByItsFirstByte()).screen(pictures)
    assert len(shown.pictures) == len(pictures)
    for before, after in zip(pictures, shown.pictures, strict=True):
        assert after == (before if before is not None and before[0] / 100 < threshold else None)
