"""What all plots have in common: size, colours, and that the same plot gives the same bytes.

What is drawn is the business of those who draw.
"""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, RED = "#2f6db3", "#d9822b", "#8a8f98", "#b3342f"
GREEN, VIOLET = "#3f8f4f", "#7b5ea7"

_WIDTH, _DPI = 8.0, 100  # 800 pixels


def new_figure(height: float) -> "Figure":
    """Return an empty figure, 800 pixels wide and `height` inches high, of 100 pixels each."""
    # A figure of its own, without pyplot: nothing global is touched, and threads may draw at once.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain_axes(figure: "Figure") -> "Axes":
    """Return axes that fill the figure, without a frame above and on the right."""
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def png(figure: "Figure") -> bytes:
    """Return the figure as a PNG."""
    out = io.BytesIO()
    # matplotlib would write its version into the file.
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
