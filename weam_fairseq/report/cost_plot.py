"""Scores against what they cost as SVG: a row a task; parameters, seconds and pieces beside each other, all log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from weam_fairseq.report.gain_plot import WIDTH
from weam_fairseq.report.legend import add_legend, labelled
from weam_fairseq.report.looks import Look
from weam_fairseq.report.study_points import CostLine, CostPanel, CostPlot, CostPoint
from weam_fairseq.report.svg import RC, load_matplotlib, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COSTS = {"parameters": "parameters", "seconds": "training, seconds", "pieces": "pieces read in training"}
_STEPS = (1, 2, 5)  # of a decade
_MARGIN = 1.35  # beside the smallest and the largest cost, as a factor
_ALIKE = 1.05  # architectures whose costs differ by less are joined by no line
_ASIDE = 0.013  # of the axis, between two methods of the same cost


def draw_costs(plot: CostPlot, looks: Mapping[str, Look], name: str) -> str:
    """Draws one plot; see gain_plot.draw_gains for the arguments.

    Raises:
        InputError: matplotlib is not installed.
    """
    matplotlib = load_matplotlib()
    from matplotlib.figure import Figure

    rows = len(plot.panels)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(WIDTH, 2.35 * rows + 0.45), layout="constrained")
        axes = figure.subplots(rows, len(_COSTS), sharey="row", squeeze=False)
        for row, panel in zip(axes, plot.panels, strict=True):
            for axis, cost in zip(row, _COSTS, strict=True):
                _draw_panel(axis, panel, cost, looks)
                axis.set_title(panel.task)
                axis.set_xlabel(_COSTS[cost])
            row[0].set_ylabel("score" + (", lower is better" if panel.lower_is_better else ""))
        add_legend(figure, labelled(axes.flatten()))
        return to_svg(figure, name)


def _draw_panel(axis: Axes, panel: CostPanel, cost: str, looks: Mapping[str, Look]) -> None:
    measured = [_by_cost(line, cost) for line in panel.lines]
    archs = {value: point.arch for points in measured for value, point in points}
    if not archs:
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", va="center", color="#777777")
        return
    low, high = min(archs) / _MARGIN, max(archs) * _MARGIN
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    alike = all(points[-1][0] < _ALIKE * points[0][0] for points in measured if points)
    for order, (line, points) in enumerate(zip(panel.lines, measured, strict=True)):
        look = looks[line.method]
        # Where methods cost the same, one would hide the other.
        share = _ASIDE * (order - (len(panel.lines) - 1) / 2) if alike or cost == "parameters" else 0.0
        axis.errorbar(
            [value * (high / low) ** share for value, _ in points],
            [point.score for _, point in points],
            yerr=[point.sd or 0.0 for _, point in points],
            label=line.method,
            color=look.colour,
            linestyle="none" if alike else look.line,
            marker=look.marker,
            markersize=5.4,
            linewidth=1.3,
            elinewidth=1.1,
            zorder=3 + order,
        )
    ticks = list(archs) if cost == "parameters" else log_ticks(low, high)
    names = {value: f"{arch.removeprefix('weam_')}\n" for value, arch in archs.items()} if cost == "parameters" else {}
    axis.set_xticks(ticks, [names.get(tick, "") + compact(tick) for tick in ticks])
    axis.minorticks_off()


def _by_cost(line: CostLine, cost: str) -> list[tuple[float, CostPoint]]:
    """The line's points, least cost first; those whose cost was not measured, or is nothing, have no place."""
    found = [(float(value), point) for point in line.points if (value := getattr(point, cost))]
    return sorted(found, key=lambda pair: pair[0])


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, some two to six of them."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    round_ones = [step * 10.0**decade for decade in decades for step in _STEPS]
    inside = [value for value in round_ones if low <= value <= high]
    if len(inside) > 6:
        inside = [value for value in inside if math.log10(value) == round(math.log10(value))]
    if len(inside) > 1:
        return inside
    unit = 10.0 ** math.floor(math.log10(high - low))
    step = next(each * unit for each in (0.5, 1, 2, 5) if (high - low) / (each * unit) <= 5)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def compact(value: float) -> str:
    """To three digits: `950`, `1.2k`, `11M`."""
    value = float(f"{value:.3g}")
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}"
