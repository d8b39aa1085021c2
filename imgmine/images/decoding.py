"""How exactly pictures are decoded for their previews: the choice, and its price in names. No pixels here.

What it does is in `gate`; that no verdict depends on it is tested there.
"""

from enum import StrEnum


class Decoding(StrEnum):
    """What a preview is made from. Verdicts, widths and heights are the same either way."""

    EXACT = "exact"
    """Every pixel."""
    SCALED = "scaled"
    """JPEGs at a half, a quarter or an eighth, as libjpeg decodes them; never less than the preview's size.

    That applies from 896 pixels on the short side on.
    """
