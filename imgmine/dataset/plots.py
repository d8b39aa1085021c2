"""Plots of the dataset's statistics as PNG: the same numbers give the same bytes.

Numbers in, pictures out: where the numbers come from is `statistics_plots`' queries on the warehouse and nothing else.
"""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from imgmine.dataset.funnel import PICTURE, STILL, VIDEO, FunnelCount

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


class ArchiveYield(NamedTuple):
    """What one archive gave: its pictures and stills, and how many of them the gate kept."""

    archive: str
    images: int
    kept: int


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
    return _png(figure)


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
    return _png(figure)


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
    return _png(figure)


def statistics_plots(warehouse: duckdb.DuckDBPyConnection) -> Mapping[str, bytes]:
    """Return every plot of the dataset by name: `funnel`, `resolutions`, `yield`."""
    funnel = warehouse.execute("SELECT archive, stage, decision, n FROM funnel ORDER BY ALL").fetchall()
    sizes = warehouse.execute(
        "SELECT width, height, count(*) FROM images WHERE decision = 'kept' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    yields = warehouse.execute(
        "SELECT archive, sum(n)::BIGINT, coalesce(sum(n) FILTER (decision = 'kept'), 0)::BIGINT "
        "FROM funnel LEFT JOIN archives USING (archive) WHERE stage = 'images' "
        "GROUP BY archive, publicdate ORDER BY publicdate NULLS LAST, archive"
    ).fetchall()
    return {
        "funnel": funnel_chart([FunnelCount(*row) for row in funnel]),
        "resolutions": resolution_histogram(sizes),
        "yield": yield_chart([ArchiveYield(*row) for row in yields]),
    }


def _figure(height: float) -> "tuple[Figure, Axes]":
    # Imported here: the graph, which only names the plots, loads faster and smaller without.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: "Figure") -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
