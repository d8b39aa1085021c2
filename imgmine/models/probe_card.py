"""The card of the probes: how well each tells held-out pictures apart, in a table and in a plot.

It draws what is in the report, and decides nothing. The same probes give the same bytes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from imgmine.figures import BLUE, GREY, RED, new_figure, png
from imgmine.models.probe import FOLDS, REPEATS
from imgmine.models.probe_model import ProbeModel, without_vectors

TEXT, PLOT = "CARD.md", "probabilities.png"
# A probe that tells held-out pictures apart no better than this is hardly better than chance.
WEAK_AUROC = 0.7

_MOST_DRAWN = 12
_COLUMNS = 2
_ROW = 2.3  # inches


def probe_card(model: ProbeModel) -> dict[str, bytes]:
    """Return the card's files by name: `CARD.md` and, where a label has a probe, the plot that it shows (PNG)."""
    reports: Mapping[str, Mapping[str, Any]] = model.report["labels"]
    drawn = {label: report for label, report in reports.items() if "held_out" in report}
    plots = {PLOT: probabilities_plot(dict(list(drawn.items())[:_MOST_DRAWN]))} if drawn else {}
    return {TEXT: _text(model, bool(drawn)).encode(), **plots}


def probabilities_plot(reports: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return, of each label, the histogram of the probabilities that held-out pictures had, as PNG."""
    rows = -(-len(reports) // _COLUMNS)
    figure = new_figure(_ROW * rows + 0.2)
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes, (label, report) in zip(panels, reports.items(), strict=False):
        for name, colour in (("no", GREY), ("yes", BLUE)):
            counts = np.array(report["held_out"][name])
            edges = np.linspace(0, 1, len(counts) + 1)
            shares = counts / counts.sum() * 100
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.45, label=f"{name} ({counts.sum()})")
            axes.stairs(shares, edges, color=colour, linewidth=1)
        axes.axvline(0.5, color=RED, linewidth=0.8, linestyle="--")
        axes.set_xlim(0, 1)
        axes.set_title(f"{label}: AUROC {report['auroc']:.3f} ± {report['auroc_spread']:.3f}", fontsize=10)
        axes.set_ylabel("% of pictures", fontsize=8)
        axes.legend(frameon=False, fontsize=8, title="labelled", title_fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(reports) :]:
        axes.set_axis_off()
    figure.supxlabel("probability of the label, when the picture was held out", fontsize=9)
    return png(figure)


def _text(model: ProbeModel, drawn: bool) -> str:
    reports: Mapping[str, Mapping[str, Any]] = model.report["labels"]
    lines = [
        f"# Probes {model.version}",
        "",
        f"Logistic regression on the vectors of `{model.embedder}`, one probe a label, from what people labelled. A "
        "probability holds for pictures like those labelled, in the share in which the label was given.",
        "",
        "| label | yes | no | AUROC | lowest fold | log loss | of the share alone | C | |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for label, report in reports.items():
        if "refused" in report:
            lines.append(f"| {label} | {report['yes']} | {report['no']} | | | | | | no probe: {report['refused']} |")
            continue
        weak = "hardly better than chance" if report["auroc"] - report["auroc_spread"] < WEAK_AUROC else ""
        lines.append(
            f"| {label} | {report['yes']} | {report['no']} | {report['auroc']:.3f} ± {report['auroc_spread']:.3f} "
            f"| {report['auroc_least']:.3f} | {report['log_loss']:.3f} | {report['prior_log_loss']:.3f} "
            f"| {report['strength']:g} | {weak} |"
        )
    missing = without_vectors(model)
    lines += [
        "",
        *([missing, ""] if missing else []),
        *([f"![Probabilities of held-out pictures]({PLOT})", ""] if drawn else []),
        f"The AUROC is of pictures that had no part in the fit nor in the choice of C: {FOLDS} folds, {REPEATS} times, "
        "with pictures that are nearly the same kept together; ± is the standard deviation over the folds. It says how "
        "well labelled pictures are told apart. Where people labelled only what was easy, it says too much.",
        "",
    ]
    return "\n".join(lines)
