"""Work on many items by threads, with the results in the items' order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], threads: int, ahead: int | None = None
) -> Iterator[_Result]:
    """Yield `function(item)` in the items' order, worked on by threads, with few items and results in memory.

    `ahead` is how many items are begun beyond the one that is waited for; twice the threads, if it is not given.
    """
    waiting: deque[Future[_Result]] = deque()
    most = 2 * threads if ahead is None else ahead
    with ThreadPoolExecutor(threads, thread_name_prefix="in-order") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
