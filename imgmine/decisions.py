"""Every decision that imgmine takes about a record, a file or a score: one list, used by code, tables and reports.

The rules that lead to a decision live where they are applied, not here.
"""

from enum import StrEnum


class RecordDecision(StrEnum):
    """What became of one response or revisit record of an archive."""

    KEPT = "kept"
    DUPLICATE = "duplicate"
    DOWNSCALED_COPY = "downscaled_copy"
    LESSER_COPY = "lesser_copy"
    NO_MEDIA = "no_media"
    REDIRECT = "redirect"
    ERROR_STATUS = "error_status"
    REMOVED = "removed"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    REVISIT = "revisit"
    BLOCKED = "blocked"
    NOT_FETCHED = "not_fetched"
    DAMAGED = "damaged"


class ImageDecision(StrEnum):
    """The gate's verdict on one file."""

    KEPT = "kept"
    UNDECODABLE = "undecodable"
    TRUNCATED = "truncated"
    BOMB = "bomb"
    MODE = "mode"
    SIZE = "size"
    BLOCKED = "blocked"


class ScoreDecision(StrEnum):
    """Whether an image is usual enough among the reference images."""

    KEPT = "kept"
    ANOMALOUS = "anomalous"
