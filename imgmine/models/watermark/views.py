"""The views of a picture that a watermark classifier looks at: the whole, and its four quadrants at double resolution.

A small mark vanishes where a picture becomes 224 pixels wide. How views are judged is in `classifier`.
"""

from PIL import Image

from imgmine.models.cards import ModelCard
from imgmine.models.preprocessing import FILTERS

VIEWS = 5
"""The whole picture, and its four quadrants."""


def quadrants(picture: Image.Image, card: ModelCard) -> list[Image.Image]:
    """Return the quadrants of an RGB picture, each of the size of the model's input: left to right, top to bottom.

    The picture is squashed to a square of twice that size, so that nothing is cut away: marks are often in corners.
    """
    side = card.size
    square = picture.resize((2 * side, 2 * side), FILTERS[card.interpolation], reducing_gap=2.0)
    corners = ((0, 0), (side, 0), (0, side), (side, side))
    return [square.crop((left, top, left + side, top + side)) for left, top in corners]
