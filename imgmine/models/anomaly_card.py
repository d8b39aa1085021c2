"""The card of a fitted anomaly model: the curve of the choice, the histogram of scores, and the text beside them.

It draws what is in the model and its report, and decides nothing. The same model gives the same bytes.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imgmine.figures import BLUE, GREEN, GREY, ORANGE, RED, VIOLET, new_figure, png
from imgmine.models.anomaly_model import AnomalyModel
from imgmine.models.detectors.density import Density
from imgmine.models.detectors.kinds import GMM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHOICE_PLOT = "choice.png"
SCORES_PLOT = "scores.png"
TEXT = "CARD.md"

_BINS = 32
# Of the scores that the histogram shows; a few far below would leave the rest in one bar.
_SHOWN_FROM = 0.01


def anomaly_card(model: AnomalyModel, percentile: float = 5.0) -> dict[str, bytes]:
    """Return the card's files by name: `CARD.md` and the plots that it shows (PNG).

    The curve of the choice is there where something was chosen, which is the mixture's. `percentile` is the one below
    which an image is anomalous.
    """
    plots = {CHOICE_PLOT: choice_plot(model.report)} if model.kind == GMM else {}
    return {TEXT: card_text(model, percentile).encode(), **plots, SCORES_PLOT: scores_plot(model, percentile)}


def choice_plot(report: Mapping[str, Any]) -> bytes:
    """Return the curve of the choice: log-likelihood (training, held-out) and BIC against components, as PNG."""
    figure = new_figure(3.9)
    likelihood, bic = figure.subplots(1, 2)
    chosen = report["chosen"]
    candidates: Sequence[Mapping[str, Any]] = report["candidates"]
    first = candidates[0]["regularisation"]
    kinds = list(dict.fromkeys(candidate["covariance_type"] for candidate in candidates))
    for kind, colour in zip(kinds, itertools.cycle((BLUE, ORANGE, GREEN, VIOLET)), strict=False):
        curve = [c for c in candidates if c["covariance_type"] == kind and c["regularisation"] == first]
        components = [candidate["components"] for candidate in curve]
        held_out = np.array([candidate["held_out_log_likelihood"] for candidate in curve])
        error = np.array([candidate["behind_error"] for candidate in curve])
        training = [candidate["training_log_likelihood"] for candidate in curve]
        likelihood.plot(components, training, color=colour, linewidth=0.8, linestyle=":")
        likelihood.plot(components, held_out, color=colour, marker="o", markersize=4, label=kind)
        if kind == chosen["covariance_type"]:
            band = (held_out - error, held_out + error)
            likelihood.fill_between(components, *band, color=colour, alpha=0.15, linewidth=0)
        bic.plot(components, [c["bic"] for c in curve], color=colour, marker="o", markersize=4, label=kind)
    others = [candidate for candidate in candidates if candidate["regularisation"] != first]
    for candidate, marker in zip(others, itertools.cycle("v^s*"), strict=False):
        label = f"regularisation {candidate['regularisation']:.1g}"
        for axes, value in ((likelihood, "held_out_log_likelihood"), (bic, "bic")):
            axes.plot(
                candidate["components"], candidate[value], color=GREY, marker=marker, linestyle="none", label=label
            )
    for axes, value in ((likelihood, "held_out_log_likelihood"), (bic, "bic")):
        axes.plot(
            chosen["components"],
            chosen[value],
            marker="o",
            markersize=11,
            markerfacecolor="none",
            markeredgecolor=RED,
            markeredgewidth=1.8,
            linestyle="none",
            label=f"chosen: {chosen['components']}, {chosen['covariance_type']}",
        )
        _component_axis(axes, sorted({candidate["components"] for candidate in candidates}))
    # Their entries are the same; and within, it would lie upon the curves.
    figure.legend(*bic.get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=5)
    likelihood.set_title("Held-out log-likelihood (dotted: training): higher is better", fontsize=10)
    likelihood.set_ylabel("nats, within the subspace")
    bic.set_title("BIC: lower is better", fontsize=10)
    bic.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return png(figure)


def scores_plot(model: AnomalyModel, percentile: float) -> bytes:
    """Return the histogram of the scores of training and held-out images, with percentiles, as PNG."""
    figure = new_figure(4.0)
    axes = figure.subplots()
    training, held_out = model.training_scores, model.calibration.scores
    both = np.concatenate([training, held_out])
    low, high = float(np.quantile(both, _SHOWN_FROM)), float(both.max())
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    for scores, colour, name in ((training, GREY, "training"), (held_out, BLUE, "held-out")):
        shares = np.histogram(np.clip(scores, low, None), edges)[0] / len(scores) * 100
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.45, label=f"{name} ({len(scores)} images)")
        axes.stairs(shares, edges, color=colour, linewidth=1)
    decisive = model.calibration.score_at(percentile)
    if low <= decisive:
        axes.axvspan(edges[0], decisive, color=RED, alpha=0.08, linewidth=0)
    top = 1.07 * axes.get_ylim()[1]  # room for the percentages
    for mark in dict.fromkeys((percentile, 25.0, 50.0, 75.0)):
        score = model.calibration.score_at(mark)
        colour = RED if mark == percentile else "black"
        axes.axvline(score, color=colour, linewidth=1.2 if mark == percentile else 0.7, linestyle="--")
        axes.text(score, 0.985 * top, f" {mark:g}%", color=colour, fontsize=8, va="top", ha="left")
    axes.set_ylim(0, top)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_title(f"Scores of reference images; below the {percentile:g}% line is anomalous", fontsize=10)
    axes.set_xlabel(f"{model.report['score']}; the leftmost bar holds everything lower")
    axes.set_ylabel("% of images")
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    return png(figure)


def card_text(model: AnomalyModel, percentile: float) -> str:
    """Return the card's text, in Markdown."""
    report = model.report
    reference, rows, overfit = (report[key] for key in ("reference", "rows", "overfit"))
    title = "Gaussian mixture" if model.kind == GMM else f"Detector {model.kind},"
    lines = [
        f"# {title} {model.version}",
        "",
        *(f"> **Warning.** {warning}\n" for warning in report["warnings"]),
        f"- **Scores** the vectors of `{model.embedder}` ({model.dimension} dimensions). High is usual, low is odd. A "
        f"score is {report['score']}.",
        f"- **Reference**: {reference['rows']} images: {reference.get('source', 'vectors that were given')}. "
        f"{rows['training']} for training, {rows['validation']} for the choice, {rows['calibration']} for calibration.",
        *_groups(reference),
        *_rejected(reference),
        f"- **Choice**: {report['reason']}",
        *([f"- **Subspace**: {_subspace_line(model.detector, report)}"] if isinstance(model.detector, Density) else []),
        f"- **Overfit**: an image of the fit scores higher than a held-out one {overfit['share']:.0%} of the time "
        f"(50% would be none), by {overfit['gap']:.3g} on average.",
        f"- **Decision**: anomalous below percentile {percentile:g}, a score of "
        f"{model.calibration.score_at(percentile):.5g}.",
        "",
        *(_choice_section(report) if model.kind == GMM else []),
        f"![The histogram of scores]({SCORES_PLOT})",
        "",
        "## What a percentile means",
        "",
        "Percentile 5 is the score that 5% of held-out reference images fall below, whichever detector gives it. It "
        "holds for images of the reference's kind; a collection of another kind has more below it. The scores "
        "themselves compare within one version of the model only.",
        "",
    ]
    return "\n".join(lines)


def _choice_section(report: Mapping[str, Any]) -> list[str]:
    return [
        f"![The curve of the choice]({CHOICE_PLOT})",
        "",
        "## How it was chosen",
        "",
        "Each candidate was fitted on the training images and judged on the validation images. Components were added "
        "until the images could not carry more, or two numbers in a row were worse by both measures. The candidates "
        "whose held-out likelihood is behind the best by no more than one standard error of the difference are as "
        "good; of these the one of the lowest BIC was chosen, and fitted again on training and validation images "
        "together. The number of dimensions was chosen before by the same rule. The calibration images took part in "
        "nothing but the percentiles.",
        "",
        "| components | covariance | regularisation | BIC | training | held-out | behind the best | |",
        "|---:|---|---:|---:|---:|---:|---:|---|",
        *(_candidate_row(candidate, candidate == report["chosen"]) for candidate in report["candidates"]),
        "",
        "| dimensions | BIC | held-out log-likelihood of the probabilistic PCA | behind the best | |",
        "|---:|---:|---:|---:|---|",
        *(
            f"| {point['dimensions']} | {point['bic']:.0f} | {point['held_out_log_likelihood']:.1f} "
            f"| {point['behind']:.1f} ± {point['behind_error']:.1f} "
            f"| {'**chosen**' if point['dimensions'] == report['dimensions']['chosen'] else ''} |"
            for point in report["dimensions"]["curve"]
        ),
        "",
        "Scores are float32 products; over the images of the fit they differ from scikit-learn's `score_samples` by "
        f"at most {report['largest_rounding']:.1g} nats.",
        "",
    ]


def _groups(reference: Mapping[str, Any]) -> list[str]:
    if "groups" not in reference:
        return []
    return [
        f"- **Alike**: they are {reference['groups']} groups of pictures that resemble one another (a cosine of "
        f"{reference['alike_from']:g}), such as crops of one photograph; a group is on one side, so that those held "
        "out are strangers."
    ]


def _rejected(reference: Mapping[str, Any]) -> list[str]:
    if not reference.get("rejected"):
        return []
    more = reference["rejected"] - len(reference["rejected_files"])
    named = "; ".join([*reference["rejected_files"], *([f"{more} more"] if more else [])])
    return [f"- **Left out** of the reference, for they did not pass the gate: {reference['rejected']}. {named}."]


def _subspace_line(density: Density, report: Mapping[str, Any]) -> str:
    dimensions = report["dimensions"]
    if density.subspace is None:
        return f"none; the mixture is over all {dimensions['of']} dimensions."
    return (
        f"a PCA to {dimensions['chosen']} of {dimensions['of']} dimensions. What lies outside it counts as Gaussian "
        f"noise, of the variance {density.subspace.noise:.3g} in each direction that held-out images have there."
    )


def _candidate_row(candidate: Mapping[str, Any], chosen: bool) -> str:
    behind = f"{candidate['behind']:.3f} ± {candidate['behind_error']:.3f}"
    note = "**chosen**" if chosen else "" if candidate["converged"] else "not converged"
    return (
        f"| {candidate['components']} | {candidate['covariance_type']} | {candidate['regularisation']:.3g} "
        f"| {candidate['bic']:.0f} | {candidate['training_log_likelihood']:.3f} "
        f"| {candidate['held_out_log_likelihood']:.3f} | {behind} | {note} |"
    )


def _component_axis(axes: "Axes", components: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(components, [str(number) for number in components])
    axes.minorticks_off()
    axes.set_xlabel("components")
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
