"""How many records a file may have in pieces that hold several: so many, and more for each byte of it.

How they are told apart is `assembly`'s.
"""

AT_FIRST = 100_000
# A record-id alone has 122 random bits, which nothing compresses to fewer than 15 bytes. Redirects in one frame, all
# alike but for id, URL and date, take 29 bytes each at zstd's level 19, and 35 in gzip. A dictionary makes frames
# of 16 bytes that are a record each, so that no lower number would spare a row.
EACH_BYTES = 16


class RecordBudget:
    """Keeps account, for one file, of records that are not the first of their piece: each costs a row of the ledger.

    Pieces of a few hundred bytes can hold 100,000 each. Files that were not made for that never come near what is
    allowed.

    Attributes:
        begin: where in the file the stream begins that is being read: not at 0 where it has only a part of the file.
    """

    __slots__ = ("_spent", "begin")

    def __init__(self) -> None:
        self.begin = 0
        self._spent = 0

    def spend(self, position: int) -> bool:
        """Take one more record of a piece that ends at `position` of the stream; return whether it is allowed."""
        if self._spent >= AT_FIRST + (self.begin + position) // EACH_BYTES:
            return False
        self._spent += 1
        return True
