"""How much of the search for the next record after damage may be in vain: so much for each byte of the file.

What is searched, and how, is `zstd_frames`' and `gzip_members`'.
"""

_AT_FIRST = 32 << 20
_EACH_BYTE = 8
_DECODED_SHARE = 8  # so many decoded bytes cost what one byte does that is walked over


class SearchBudget:
    """Keeps account, for one file, of the work on what began like a record and turned out to be none.

    Such may lie one in the other, each megabytes long: to look at all of them to their ends would cost the square of
    their number. Files that were not made for that never come near what is allowed.
    """

    __slots__ = ("_spent",)

    def __init__(self) -> None:
        self._spent = 0

    def allows(self, position: int) -> bool:
        """Tell whether what begins at `position` of the file may be looked at to its end."""
        return self._spent <= _AT_FIRST + _EACH_BYTE * position

    def spend(self, stored: int, decoded: int) -> None:
        """Note that so many stored bytes were looked at, and so many decoded, in vain."""
        self._spent += stored + decoded // _DECODED_SHARE
