"""Numerics that come out the same whatever the number of cores: BLAS and OpenMP held to one thread.

Libraries that are loaded only within the block are not held: import what it needs before it.
"""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold the numerical libraries to one thread: sums over several come out in another order, so in other bytes."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=1):
        yield
