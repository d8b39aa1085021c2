"""What a case costs when a part of it is repeated: so many times the bytes, not the square of that.

Cases are short, so that there can be many of them; what costs the square of its size shows only in long ones.
"""

import time
import zlib
from collections.abc import Callable

from fuzz.target import promise

LONG = 128 << 10
_ONCE_IN = 32
_AT_ONCE_S = 4.0  # what a reader may spend on a search before it counts each byte
_BYTE_S = 25e-6


def promise_cost(case: bytes, read: Callable[[bytes], object]) -> None:
    """See, for one case in 32, that `read` of it with a part repeated to 128 KiB takes bearable time.

    Raises `Broken` where it takes more, and what `read` raises.
    """
    choice = zlib.crc32(case)
    if not case or choice % _ONCE_IN:
        return
    begin = choice // _ONCE_IN % len(case)
    end = begin + 1 + (choice >> 16) % min(64, len(case) - begin)
    unit = case[begin:end]
    grown = case[:begin] + unit * (LONG // len(unit) + 1) + case[end:]
    before = time.process_time()
    read(grown)
    spent = time.process_time() - before
    promise(
        spent < _AT_ONCE_S + _BYTE_S * len(grown),
        f"{len(grown)} bytes ({unit!r} again and again from {begin} on) took {spent:.1f} s",
    )
