"""Plots of the dataset's statistics as PNG: the same numbers give the same bytes.

Numbers in, pictures out: where the numbers come from is `statistics_plots`' queries on the warehouse and nothing else.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from imgmine.dataset.funnel import PICTURE, STILL, VIDEO, FunnelCount
from imgmine.figures import new_figure, plain_axes, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STAGES = ("records", "files", "images", "scores")

_GOES_ON = frozenset({"kept", PICTURE, STILL, VIDEO})
_KEPT_COLOUR = "#2f6f9f"
_DROPPED_COLOUR = "#c2703d"
_NAMED_ARCHIVES = 40
# Of `archiveteam_imgur_20230503123456_0123abcd`, what tells it from others.
_LABEL = 23
_MEGAPIXELS = tuple(2 ** (exponent / 2) for exponent in range(-12, 14))


_FUNNEL = "SELECT archive, stage, decision, n FROM funnel ORDER BY ALL"
_RESOLUTIONS = "SELECT width, height, count(*) FROM images WHERE decision = 'kept' GROUP BY ALL ORDER BY ALL"
_YIELDS = """
SELECT archive, sum(n)::BIGINT, coalesce(sum(n) FILTER (decision = 'kept'), 0)::BIGINT
FROM funnel LEFT JOIN archives USING (archive) WHERE stage = 'images'
GROUP BY archive, publicdate ORDER BY publicdate NULLS LAST, archive
"""
_SHARES = """
WITH gated AS (
    SELECT archive, sum(n) AS total, row_number() OVER (ORDER BY publicdate NULLS LAST, archive) AS place
    FROM funnel LEFT JOIN archives USING (archive) WHERE stage = 'images' GROUP BY archive, publicdate
)
SELECT decision, place, coalesce(n, 0) / total
FROM gated CROSS JOIN (SELECT DISTINCT decision FROM funnel WHERE stage = 'images')
LEFT JOIN (FROM funnel WHERE stage = 'images') USING (archive, decision) ORDER BY decision, place
"""
_DAYS = """
SELECT captured_at::DATE AS day, count(*) FROM files
WHERE captured_at IS NOT NULL AND video_blake2b IS NULL GROUP BY day ORDER BY day
"""
_SCORES = """
SELECT least(floor(percentile / 5) * 5, 95)::INT AS start, count(*) FROM anomaly_scores GROUP BY start ORDER BY start
"""
_ACCUMULATION = "SELECT archives, expected, as_published, files FROM accumulation ORDER BY archives"


class ArchiveYield(NamedTuple):
    """What one archive gave: its pictures and stills, and how many of them the gate kept."""

    archive: str
    images: int
    kept: int


class DecisionShare(NamedTuple):
    """A decision's share, from 0 to 1, in the archive at this place of the order."""

    decision: str
    place: int
    share: float


class AccumulationPoint(NamedTuple):
    """Distinct files in so many archives; see the warehouse's table `accumulation`."""

    archives: int
    expected: float
    as_published: int | None
    files: float


def funnel_chart(counts: Sequence[FunnelCount]) -> bytes:
    """Return a bar for each decision of each stage, over all archives in `counts`; dropped ones in another colour."""
    totals: dict[tuple[str, str], int] = {}
    for count in counts:
        totals[count.stage, count.decision] = totals.get((count.stage, count.decision), 0) + count.n
    bars = sorted(totals.items(), key=lambda item: (STAGES.index(item[0][0]), -item[1], item[0][1]))
    figure, axes = _figure(height=1.2 + 0.26 * max(len(bars), 4))
    values = [n for _, n in bars]
    colours = [_KEPT_COLOUR if decision in _GOES_ON else _DROPPED_COLOUR for (_, decision), _ in bars]
    drawn = axes.barh(range(len(bars)), values, color=colours)
    axes.bar_label(drawn, [f"{n:,}" for n in values], padding=3, fontsize=8)
    axes.set_yticks(range(len(bars)), [f"{stage} · {decision}" for (stage, decision), _ in bars], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("rows")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_title("Funnel: blue goes on to the next stage")
    return png(figure)


def resolution_histogram(sizes: Sequence[tuple[int, int, int]]) -> bytes:
    """Return a histogram of megapixels, logarithmic, from (width, height, number of images)."""
    figure, axes = _figure(height=3.6)
    megapixels = [width * height / 1e6 for width, height, _ in sizes]
    axes.hist(megapixels, bins=list(_MEGAPIXELS), weights=[n for *_, n in sizes], color=_KEPT_COLOUR)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("megapixels")
    axes.set_ylabel("images")
    axes.set_title("Resolutions of the images that the gate kept")
    return png(figure)


def yield_chart(yields: Sequence[ArchiveYield]) -> bytes:
    """Return the share of each archive's pictures that the gate kept, in the order given; bars, or points for many."""
    figure, axes = _figure(height=3.6)
    shares = [100 * entry.kept / entry.images if entry.images else 0.0 for entry in yields]
    if len(yields) <= _NAMED_ARCHIVES:
        axes.bar(range(len(yields)), shares, color=_KEPT_COLOUR)
        axes.set_xticks(range(len(yields)), [entry.archive[-_LABEL:] for entry in yields], rotation=90, fontsize=7)
    else:
        axes.plot(range(len(yields)), shares, ".", markersize=3, color=_KEPT_COLOUR)
        axes.set_xlabel("archives, the earliest first")
    axes.set_ylim(0, 100)
    axes.set_ylabel("kept, % of pictures and stills")
    axes.set_title("Yield by archive")
    return png(figure)


def accumulation_chart(points: Sequence[AccumulationPoint]) -> bytes:
    """Return distinct files against archives: expected whatever their order, as published, and if none were shared."""
    figure, axes = _figure(height=3.8)
    mined = [point for point in points if point.as_published is not None]
    later = [*mined[-1:], *(point for point in points if point.as_published is None)]
    axes.plot(
        [p.archives for p in points], [p.files for p in points], ":", color="#999999", label="if none were shared"
    )
    axes.plot(
        [p.archives for p in later], [p.expected for p in later], "--", color=_KEPT_COLOUR, label="estimated, at least"
    )
    axes.plot(
        [p.archives for p in mined], [p.expected for p in mined], color=_KEPT_COLOUR, label="expected in any order"
    )
    axes.plot(
        [p.archives for p in mined],
        [p.as_published or 0 for p in mined],
        color=_DROPPED_COLOUR,
        linewidth=1,
        label="in order of publication",
    )
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("archives mined")
    axes.set_ylabel("distinct files")
    axes.legend(frameon=False, fontsize=8)
    axes.set_title("Distinct files against archives mined")
    return png(figure)


def shares_chart(shares: Sequence[DecisionShare]) -> bytes:
    """Return a line for each decision: its share in percent of each archive's rows, the archives from left to right."""
    figure, axes = _figure(height=3.8)
    for decision in sorted({share.decision for share in shares}):
        of_it = [share for share in shares if share.decision == decision]
        marker = "o" if len(of_it) == 1 else ""
        axes.plot([s.place for s in of_it], [100 * s.share for s in of_it], marker=marker, linewidth=1, label=decision)
    axes.set_ylim(0, 100)
    axes.set_xlabel("archives, the earliest first")
    axes.set_ylabel("% of the gate's verdicts")
    if shares:
        axes.legend(frameon=False, fontsize=8, ncols=2)
    axes.set_title("The gate's decisions over archives")
    return png(figure)


def days_chart(days: Sequence[tuple[date, int]]) -> bytes:
    """Return the number of originals that were captured on each day."""
    figure, axes = _figure(height=3.2)
    axes.bar([f"{day:%Y-%m-%d}" for day, _ in days], [n for _, n in days], color=_KEPT_COLOUR)
    axes.set_xticks(range(0, len(days), max(1, len(days) // 20)))
    axes.tick_params(axis="x", rotation=90, labelsize=7)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylabel("originals")
    axes.set_title("When the stored originals were captured (UTC)")
    return png(figure)


def scores_chart(bins: Sequence[tuple[int, int]]) -> bytes:
    """Return a bar for every five percentiles of the reference, from (where it begins, number of images)."""
    figure, axes = _figure(height=3.2)
    axes.bar([start for start, _ in bins], [n for _, n in bins], width=4.6, align="edge", color=_KEPT_COLOUR)
    axes.set_xlim(0, 100)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("percentile among held-out reference images")
    axes.set_ylabel("images")
    axes.set_title("Anomaly scores: even if the images were like the reference")
    return png(figure)


def statistics_plots(warehouse: duckdb.DuckDBPyConnection) -> Mapping[str, bytes]:
    """Return every plot of the dataset by name."""

    def rows(query: str) -> list[Any]:
        return warehouse.execute(query).fetchall()

    return {
        "funnel": funnel_chart([FunnelCount(*row) for row in rows(_FUNNEL)]),
        "resolutions": resolution_histogram(rows(_RESOLUTIONS)),
        "yield": yield_chart([ArchiveYield(*row) for row in rows(_YIELDS)]),
        "decisions": shares_chart([DecisionShare(*row) for row in rows(_SHARES)]),
        "captured": days_chart(rows(_DAYS)),
        "scores": scores_chart(rows(_SCORES)),
        "distinct": accumulation_chart([AccumulationPoint(*row) for row in rows(_ACCUMULATION)]),
    }


def _figure(height: float) -> "tuple[Figure, Axes]":
    figure = new_figure(height)
    return figure, plain_axes(figure)
