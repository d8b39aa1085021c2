import io

import pytest
from PIL import Image

from imgmine.images.contact_sheet import MOST_BYTES, contact_sheet
from tests.images.made_pictures import encoded, jpeg, noise


def opened(sheet: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(sheet))
    picture.load()
    return picture


def test_pictures_stand_in_rows_each_above_its_caption() -> None:
    red, blue = (encoded(Image.new("RGB", (300, 200), colour), "PNG") for colour in ("red", "blue"))
    sheet = opened(contact_sheet([(red, "first"), (blue, "second"), (red, "third")], columns=2, cell=100))
    assert sheet.format == "WEBP"
    assert sheet.size == (2 * 104 + 4, 2 * 118 + 4)
    for place, colour in (((54, 54), (254, 0, 0)), ((158, 54), (0, 0, 254)), ((54, 172), (254, 0, 0))):
        assert all(abs(a - b) < 12 for a, b in zip(sheet.getpixel(place), colour, strict=True))
    caption = sheet.crop((4, 105, 104, 118)).convert("L")
    assert caption.getextrema()[0] < 150


def test_what_does_not_decode_has_a_crossed_cell() -> None:
    sheet = opened(contact_sheet([(None, "undecodable"), (b"no picture", "truncated"), (jpeg()[:400], "cut")], cell=60))
    for column in range(3):
        assert sheet.getpixel((column * 64 + 4 + 30, 4 + 8)) != (250, 250, 250)


def test_a_sheet_is_always_small_enough_to_be_inlined() -> None:
    loud = encoded(noise((448, 448)), "JPEG")
    for count, cell in ((1, 96), (40, 96), (70, 128)):
        sheet = contact_sheet([(loud, "noise")] * count, cell=cell)
        assert len(sheet) <= MOST_BYTES
        opened(sheet)


def test_long_and_strange_captions() -> None:
    captions = ["x" * 500, "", "日本語のとても長い説明", "a\nb", "🦊"]
    long = opened(contact_sheet([(jpeg(), caption) for caption in captions]))
    short = opened(contact_sheet([(jpeg(), caption[:1]) for caption in captions]))
    assert long.size == short.size
    assert long.tobytes() != short.tobytes()


def test_the_same_pictures_give_the_same_bytes() -> None:
    pictures = [(jpeg(), "one"), (None, "two")]
    assert contact_sheet(pictures) == contact_sheet(pictures)


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        contact_sheet([])
