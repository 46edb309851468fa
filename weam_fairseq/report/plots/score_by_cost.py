"""Scores against what they cost: one row for each task, columns for parameters, seconds and pieces."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from weam_fairseq.report.gains import Results, TaskGains
from weam_fairseq.report.plots.style import (
    SOFT,
    TASKS_IN_A_FIGURE,
    Look,
    Palette,
    Plot,
    Plots,
    add_legend,
    canvas,
    labelled,
    no_plots,
    to_svg,
)
from weam_fairseq.report.positions import ModelPosition, Positions, StudySetting, group_settings, joined
from weam_fairseq.report.study_folder import Study, mean_cost
from weam_fairseq.report.task_table import AVERAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COSTS = {"parameters": "parameters", "seconds": "training, seconds", "pieces": "pieces read in training"}
_STEPS = (1, 2, 5)  # of a decade
_MARGIN = 1.35  # beside the smallest and the largest cost, as a factor
_ALIKE = 1.05  # architectures whose costs differ by less are joined by no line
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
class CostLine:
    method: str
    points: list[CostPoint]


@dataclass(frozen=True)
class CostPanel:
    task: str
    lower_is_better: bool
    lines: list[CostLine]


@dataclass(frozen=True)
class CostPlot(Plot):
    """Scores against parameters, seconds and pieces, for one set of pairs; one panel for each task."""

    setting: str
    panels: list[CostPanel]

    @property
    def caption(self) -> str:
        return f"{self.setting}."

    def parts(self) -> Iterator[Self]:
        size = TASKS_IN_A_FIGURE
        for start in range(0, len(self.panels), size):
            yield replace(self, panels=self.panels[start : start + size])

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
            add_legend(figure, labelled(axes))
            return to_svg(figure, name)


def score_by_cost(results: Results) -> Plots[CostPlot]:
    """One for each set of pairs (and unusual options) that has two or more architectures."""
    tasks, positions, study = results.tasks, results.positions, results.study
    plots: list[CostPlot] = []
    left_out: dict[str, list[str]] = {}
    settings = [setting for setting in positions.settings if setting.pairs]
    for name, family in group_settings(settings, lambda setting: joined(setting.pairs_name, setting.options)).items():
        archs = list(dict.fromkeys(setting.arch for setting in family))
        if len(archs) < 2:
            left_out.setdefault(f"all models have the architecture {archs[0]}.", []).append(name)
            continue
        # Base models that were evaluated as they are belong to every plot of their architecture.
        bases = [each for each in positions.settings if not each.pairs and each.arch in archs]
        panels = [
            CostPanel(task.title, task.lower_is_better, _cost_lines(task, [*bases, *family], positions, study))
            for task in tasks
        ]
        plots.append(CostPlot(name, [panel for panel in panels if panel.lines]))
    return Plots(plots, no_plots(left_out))


def _cost_lines(
    task: TaskGains, settings: Sequence[StudySetting], positions: Positions, study: Study
) -> list[CostLine]:
    lines = []
    for method, models in positions.by_method(settings).items():
        points = [_cost_point(task, position, study) for position in models if (position.model, AVERAGE) in task.cells]
        if points:
            lines.append(CostLine(method, sorted(points, key=lambda point: point.parameters or 0.0)))
    return lines


def _cost_point(task: TaskGains, position: ModelPosition, study: Study) -> CostPoint:
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
