"""Gains against the number of pairs as SVG: a row a task; all languages, seen and unseen ones beside each other.

A line is a method, told apart by colour, line style and marker. A full marker: every 95 % interval leaves 0 out; a
hollow one: at least one does not. Small points are seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weam_fairseq.report.figures import AVERAGE
from weam_fairseq.report.gains import AVERAGES, SEEN, UNSEEN
from weam_fairseq.report.legend import add_legend
from weam_fairseq.report.looks import Look
from weam_fairseq.report.study_points import GainLine, GainPanel, GainPlot
from weam_fairseq.report.svg import RC, load_matplotlib, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 10.4  # inches, as wide as the page
_TITLES = {AVERAGE: "all languages", SEEN: "seen languages", UNSEEN: "unseen languages"}
_SPREAD = 0.12  # octaves between two methods at one number of pairs
_SEED_SHIFT = 0.05  # octaves from a marker to its seeds


def draw_gains(plot: GainPlot, looks: Mapping[str, Look], baseline: str, name: str) -> str:
    """Draws one plot.

    Args:
        looks: of every method in the report.
        baseline: what the zero line stands for.
        name: what the drawing's ids start with.

    Raises:
        InputError: matplotlib is not installed.
    """
    matplotlib = load_matplotlib()
    from matplotlib.figure import Figure

    rows = len(plot.panels) // len(AVERAGES)
    methods = list(dict.fromkeys(line.method for panel in plot.panels for line in panel.lines))
    counts = sorted({point.pairs for panel in plot.panels for line in panel.lines for point in line.points})
    with matplotlib.rc_context({**RC, "axes.grid.axis": "y"}):
        figure = Figure(figsize=(WIDTH, 2.45 * rows + 0.45), layout="constrained")
        axes = figure.subplots(rows, len(AVERAGES), sharey="row", sharex=True, squeeze=False).flatten()
        for axis, panel in zip(axes, plot.panels, strict=True):
            _draw_panel(axis, panel, methods, looks, counts)
            # A task's name may be as long as a row: it stands over the first panel, and runs on over the next.
            task = panel.task if panel.average == AVERAGE else ""
            axis.set_title(f"{task}\n{_TITLES[panel.average]}")
        for axis in axes[:: len(AVERAGES)]:
            axis.set_ylabel(f"gain over {baseline}, points")
        for axis in axes[-len(AVERAGES) :]:
            axis.set_xlabel("pairs in training")
        add_legend(figure, _handles(methods, looks, baseline))
        return to_svg(figure, name)


def _draw_panel(
    axis: Axes, panel: GainPanel, methods: Sequence[str], looks: Mapping[str, Look], counts: Sequence[int]
) -> None:
    axis.axhline(0, color="#1d2127", linewidth=1.0, zorder=1)
    for line in panel.lines:
        number = methods.index(line.method)
        _draw_line(axis, line, looks[line.method], (number - (len(methods) - 1) / 2) * _SPREAD, 3 + number)
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.minorticks_off()
    axis.set_xlim(counts[0] / 1.6, counts[-1] * 1.6)
    axis.tick_params(labelbottom=True)
    if not panel.lines:
        axis.text(0.5, 0.6, "no such language", transform=axis.transAxes, ha="center", color="#777777")


def _draw_line(axis: Axes, line: GainLine, look: Look, octaves: float, order: int) -> None:
    places = [point.pairs * 2**octaves for point in line.points]
    counts = [point.pairs for point in line.points]
    if len(set(counts)) == len(counts):  # two sets of as many pairs are no line
        axis.plot(
            places,
            [point.gain for point in line.points],
            color=look.colour,
            linestyle=look.line,
            linewidth=1.3,
            zorder=order,
        )
    for x, point in zip(places, line.points, strict=True):
        low = point.gain if point.low is None else point.low
        high = point.gain if point.high is None else point.high
        axis.vlines(x, low, high, color=look.colour, linewidth=1.3, zorder=order)
        axis.plot(
            x,
            point.gain,
            marker=look.marker,
            markersize=6,
            color=look.colour,
            markerfacecolor=look.colour if point.clear else "#ffffff",
            markeredgewidth=1.3,
            zorder=order + 0.5,
        )
        if len(point.seeds) > 1:
            beside = [x * 2**_SEED_SHIFT] * len(point.seeds)
            axis.plot(beside, list(point.seeds.values()), ".", color=look.colour, markersize=3.2, zorder=order)


def _handles(methods: Sequence[str], looks: Mapping[str, Look], baseline: str) -> dict[str, Any]:
    from matplotlib.lines import Line2D

    handles = {
        each: Line2D([], [], color=looks[each].colour, linestyle=looks[each].line, marker=looks[each].marker)
        for each in methods
    }
    return {**handles, f"{baseline} (0)": Line2D([], [], color="#1d2127", linewidth=1.0)}
