"""What a fuzz target is: the bytes to begin with, and what must hold for any bytes whatever."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


class Broken(AssertionError):
    """A promise does not hold for a case."""


def promise(holds: bool, what: str) -> None:
    """Raise `Broken` where something does not hold."""
    if not holds:
        raise Broken(what)


@dataclass(frozen=True)
class Target:
    """One reader under test.

    Attributes:
        name: on the command line.
        seeds: make the cases to begin with, none of which may break a promise.
        check: judge one case. Raises `Broken`, or whatever the reader raised that it should not have.
        tokens: byte strings that mean something to the reader, for mutation.
        longest: bytes of a case.
        guided: whether coverage of our Python code can guide the choice of cases; not where native code does the work.
        summary: what to tell of the cases so far; empty where there is nothing to tell.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    check: Callable[[bytes], None]
    tokens: tuple[bytes, ...]
    longest: int = 4096
    guided: bool = True
    summary: Callable[[], str] = str
