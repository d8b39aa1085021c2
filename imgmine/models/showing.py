"""Which pictures a page may show: only what is known to be safe for work, unless everything was asked for.

The one place where this is decided; every contact sheet goes through it. Nothing is ever deleted for what is here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from imgmine.models.preprocessing import UnreadablePicture

ASK = "IMGMINE_SHOW_NSFW=1 shows them"


class Judge(Protocol):
    """What gives the probability that an encoded picture is not safe for work: `nsfw.NsfwModel`."""

    def probabilities(self, pictures: Sequence[bytes]) -> list[float]: ...


@dataclass(frozen=True)
class Shown:
    """Pictures with None in place of those that may not be shown, and why: a line for people, or nothing."""

    pictures: list[bytes | None]
    note: str


@dataclass(frozen=True)
class Screen:
    """What may be shown: pictures below `threshold` by `judge`; none where there is no judge; all if `show_all`.

    A picture that nobody judged is not shown: `threshold` promises something of each picture that is seen.
    """

    threshold: float
    show_all: bool
    judge: Judge | None

    def screen(self, pictures: Sequence[bytes | None]) -> Shown:
        """Return the pictures as they may be shown, in their order. None stays None."""
        there = [picture for picture in pictures if picture is not None]
        if self.show_all or not there:
            return Shown(list(pictures), "")
        if self.judge is None:
            return Shown(
                [None] * len(pictures),
                f"The pictures are not shown: what is safe for work is not known without `pip install "
                f"'imgmine[nsfw]'`. {ASK}.",
            )
        may_show = iter(self._below(there))
        shown = [picture if picture is not None and next(may_show) else None for picture in pictures]
        hidden = len(there) - sum(picture is not None for picture in shown)
        if not hidden:
            return Shown(shown, "")
        return Shown(
            shown, f"{hidden} of {len(there)} are hidden: not safe for work by {self.threshold:g} or more. {ASK}."
        )

    def _below(self, pictures: Sequence[bytes]) -> list[bool]:
        assert self.judge is not None
        try:
            return [probability < self.threshold for probability in self.judge.probabilities(pictures)]
        except UnreadablePicture:  # one of them; a sheet shows it crossed in any case
            return [self._is_below(picture) for picture in pictures]

    def _is_below(self, picture: bytes) -> bool:
        assert self.judge is not None
        try:
            return self.judge.probabilities([picture])[0] < self.threshold
        except UnreadablePicture:
            return False
