"""Every decision that imgmine takes about a record, a file or a score: one list, used by code, tables and reports.

The rules that lead to a decision live where they are applied, not here.
"""

from collections.abc import Mapping
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


class NsfwDecision(StrEnum):
    """Whether a page may show an image to those who did not ask for everything."""

    SHOWN = "shown"
    HIDDEN = "hidden"


class ProbeDecision(StrEnum):
    """Whether a label is likely to apply to an image."""

    YES = "yes"
    NO = "no"


class CategoryDecision(StrEnum):
    """Whether the likeliest category of an image is likely enough to be called its category."""

    NAMED = "named"
    UNKNOWN = "unknown"


class WatermarkDecision(StrEnum):
    """Whether an image shows the mark of somebody who claims it."""

    KEPT = "kept"
    WATERMARKED = "watermarked"


# In words, for tables and reports: what is true of a record or file with this decision.
RECORD_MEANINGS: Mapping[str, str] = {
    RecordDecision.KEPT: "the first record of these bytes in the archive: its file is in the dataset",
    RecordDecision.DUPLICATE: "the same bytes as a kept record of this archive",
    RecordDecision.DOWNSCALED_COPY: "by its URL a smaller copy that the source made; only originals are kept",
    RecordDecision.LESSER_COPY: "the archive has the same picture in a format that is preferred",
    RecordDecision.NO_MEDIA: "no picture or video, by its URL or its bytes",
    RecordDecision.REDIRECT: "HTTP 3xx: the server only pointed to another address",
    RecordDecision.ERROR_STATUS: "another HTTP status than 200",
    RecordDecision.REMOVED: "the source's picture for what it has removed, or a redirect to it",
    RecordDecision.TRUNCATED: "the body is shorter than it should be: the connection was cut",
    RecordDecision.EMPTY: "HTTP 200 without a body",
    RecordDecision.REVISIT: "refers to an earlier record of the same payload, and holds no bytes",
    RecordDecision.BLOCKED: "taken down, or on a list of hashes",
    RecordDecision.NOT_FETCHED: "left out by selective reading: its bytes were not looked at",
    RecordDecision.DAMAGED: "bytes that no reader could make sense of",
}
IMAGE_MEANINGS: Mapping[str, str] = {
    ImageDecision.KEPT: "loads whole, is RGB and large enough",
    ImageDecision.UNDECODABLE: "the decoder refused it",
    ImageDecision.TRUNCATED: "the picture ends early",
    ImageDecision.BOMB: "more than 89 megapixels by its header",
    ImageDecision.MODE: "not RGB: grey, palette, transparency, CMYK",
    ImageDecision.SIZE: "a side below 128 pixels",
    ImageDecision.BLOCKED: "taken down, or on a list of hashes",
}
SCORE_MEANINGS: Mapping[str, str] = {
    ScoreDecision.KEPT: "usual enough among the reference images",
    ScoreDecision.ANOMALOUS: "below the percentile of the reference images",
}
WATERMARK_MEANINGS: Mapping[str, str] = {
    WatermarkDecision.KEPT: "no watermark was found",
    WatermarkDecision.WATERMARKED: "a watermark, as probable as the threshold or more",
}
PROBE_MEANINGS: Mapping[str, str] = {
    ProbeDecision.YES: "the label is more likely to apply than not",
    ProbeDecision.NO: "the label is less likely to apply than not",
}
CATEGORY_MEANINGS: Mapping[str, str] = {
    CategoryDecision.NAMED: "the category is likely enough",
    CategoryDecision.UNKNOWN: "no category is likely enough; the likeliest is told",
}
NSFW_MEANINGS: Mapping[str, str] = {
    NsfwDecision.SHOWN: "below the threshold: pages show it",
    NsfwDecision.HIDDEN: "not safe for work by the threshold or more: pages hide it; it stays in the dataset",
}
# Of the tables beside the funnel, see `imgmine.store.tables.JUDGEMENTS`.
JUDGEMENT_MEANINGS: Mapping[str, Mapping[str, str]] = {
    "watermark_scores": WATERMARK_MEANINGS,
    "nsfw_scores": NSFW_MEANINGS,
    "probe_scores": PROBE_MEANINGS,
    "categories": CATEGORY_MEANINGS,
}
