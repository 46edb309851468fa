"""Scores against what they cost: one row for each task, columns for parameters, seconds and pieces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weam_fairseq.report.gains import Results, TaskGains
from weam_fairseq.report.plots.style import (
    SOFT,
    TASKS_IN_A_FIGURE,
    Look,
    MethodLine,
    Palette,
    PanelPlot,
    Plots,
    add_legend,
    canvas,
    draw_line,
    lines_of_methods,
    method_handles,
    plots_of_families,
    to_svg,
)
from weam_fairseq.report.positions import ModelPosition, StudySetting, joined
from weam_fairseq.report.study_folder import Study, mean_cost
from weam_fairseq.report.task_table import AVERAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COSTS = {"parameters": "parameters", "seconds": "training, seconds", "pieces": "pieces read in training"}
_STEPS = (1, 2, 5)  # of a decade
_MARGIN = 1.35  # beside the smallest and the largest cost, as a factor
_ALIKE = 1.05  # no line joins architectures whose costs differ by less
_ASIDE = 0.013  # of the axis, between two methods of the same cost


@dataclass(frozen=True)
class CostPoint:
    """A score, its standard deviation over seeds, and the model's cost including its base's training."""

    model: str
    arch: str
    parameters: float | None
    seconds: float | None
    pieces: float | None
    score: float
    sd: float | None
    seeds: dict[int, float]


@dataclass(frozen=True)
class CostPanel:
    task: str
    lower_is_better: bool
    lines: list[MethodLine[CostPoint]]


@dataclass(frozen=True)
class CostPlot(PanelPlot):
    """Scores against parameters, seconds and pieces, for one set of pairs; one panel for each task."""

    setting: str
    panels: list[CostPanel]
    most_panels = TASKS_IN_A_FIGURE

    @property
    def caption(self) -> str:
        return f"{self.setting}."

    def draw(self, palette: Palette, name: str) -> str:
        rows = len(self.panels)
        with canvas(2.35 * rows + 0.45, rows, len(_COSTS), sharey="row") as (figure, axes):
            for number, panel in enumerate(self.panels):
                row = axes[number * len(_COSTS) : (number + 1) * len(_COSTS)]
                for axis, cost in zip(row, _COSTS, strict=True):
                    _draw_panel(axis, panel, cost, palette.looks)
                    axis.set_title(panel.task)
                    axis.set_xlabel(_COSTS[cost])
                row[0].set_ylabel("score" + (", lower is better" if panel.lower_is_better else ""))
            add_legend(figure, method_handles(self.panels, palette))
            return to_svg(figure, name)


def score_by_cost(results: Results) -> Plots[CostPlot]:
    """One for each set of pairs (and unusual options) that has two or more architectures."""
    tasks, positions, study = results.tasks, results.positions, results.study

    def plot_of(name: str, family: list[StudySetting]) -> CostPlot | str:
        archs = list(dict.fromkeys(setting.arch for setting in family))
        if len(archs) < 2:
            return f"all models have the architecture {archs[0]}."
        # Base models that were evaluated as they are belong to every plot of their architecture.
        shown = [*(each for each in positions.settings if not each.pairs and each.arch in archs), *family]

        def lines(task: TaskGains) -> list[MethodLine[CostPoint]]:
            return lines_of_methods(
                *(positions, shown, lambda position: _cost_point(task, position, study)),
                order=lambda point: point.parameters or 0.0,
            )

        panels = [CostPanel(task.title, task.lower_is_better, lines(task)) for task in tasks]
        return CostPlot(name, [panel for panel in panels if panel.lines])

    settings = [setting for setting in positions.settings if setting.pairs]
    return plots_of_families(settings, lambda setting: joined(setting.pairs_name, setting.options), plot_of)


def _cost_point(task: TaskGains, position: ModelPosition, study: Study) -> CostPoint | None:
    if (position.model, AVERAGE) not in task.cells:
        return None
    cost = mean_cost(study.of_model(position.model))
    score = task.cells[position.model, AVERAGE].score
    return CostPoint(
        model=position.model,
        arch=position.setting.arch,
        parameters=cost.parameters,
        seconds=_sum(cost.seconds, cost.base_seconds),
        pieces=_sum(cost.pieces, cost.base_pieces),
        score=score.mean,
        sd=score.sd,
        seeds=score.values,
    )


def _sum(own: float | None, base: float | None) -> float | None:
    return None if own is None or base is None else own + base


def _draw_panel(axis: Axes, panel: CostPanel, cost: str, looks: Mapping[str, Look]) -> None:
    measured = [_by_cost(line, cost) for line in panel.lines]
    archs = {value: point.arch for points in measured for value, point in points}
    if not archs:
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", va="center", color=SOFT)
        return
    low, high = min(archs) / _MARGIN, max(archs) * _MARGIN
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    alike = all(points[-1][0] < _ALIKE * points[0][0] for points in measured if points)
    for order, (line, points) in enumerate(zip(panel.lines, measured, strict=True)):
        look = looks[line.method]
        # Methods of the same cost would hide each other.
        share = _ASIDE * (order - (len(panel.lines) - 1) / 2) if alike or cost == "parameters" else 0.0
        draw_line(
            *(axis, look, 3 + order, [value * (high / low) ** share for value, _ in points]),
            values=[point.score for _, point in points],
            bounds=[(point.score - (point.sd or 0.0), point.score + (point.sd or 0.0)) for _, point in points],
            joined=not alike,
        )
    ticks = list(archs) if cost == "parameters" else log_ticks(low, high)
    names = {value: f"{arch.removeprefix('weam_')}\n" for value, arch in archs.items()} if cost == "parameters" else {}
    axis.set_xticks(ticks, [names.get(tick, "") + compact(tick) for tick in ticks])
    axis.minorticks_off()


def _by_cost(line: MethodLine[CostPoint], cost: str) -> list[tuple[float, CostPoint]]:
    """The line's points, least cost first, without those whose cost is 0 or was not measured."""
    found = [(float(value), point) for point in line.points if (value := getattr(point, cost))]
    return sorted(found, key=lambda pair: pair[0])


def log_ticks(low: float, high: float) -> list[float]:
    """About two to six round numbers from low to high."""
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
