"""Gains against the number of pairs: one row for each task; all, seen and unseen languages beside each other.

A line is a method. A full marker: every 95 % interval excludes 0; a hollow one: at least one does not. Small points are
seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from weam_fairseq.evaluation.bootstrap import Difference
from weam_fairseq.report.gains import AVERAGES, SEEN, UNSEEN, Results, TaskGains
from weam_fairseq.report.plots.style import (
    INK,
    SOFT,
    TASKS_IN_A_FIGURE,
    Look,
    Palette,
    Plot,
    Plots,
    add_legend,
    canvas,
    no_plots,
    to_svg,
)
from weam_fairseq.report.positions import ModelPosition, Positions, StudySetting, group_settings, joined
from weam_fairseq.report.task_table import AVERAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLES = {AVERAGE: "all languages", SEEN: "seen languages", UNSEEN: "unseen languages"}
_SPREAD = 0.12  # octaves between two methods at one number of pairs
_SEED_SHIFT = 0.05  # octaves from a marker to its seeds


@dataclass(frozen=True)
class GainPoint:
    """A gain in points with its 95 % interval `over` items, or else seeds; `clear`: every interval excludes 0."""

    model: str
    pairs: int
    gain: float
    low: float | None
    high: float | None
    over: str
    clear: bool
    seeds: dict[int, float]
    languages: int


@dataclass(frozen=True)
class GainLine:
    method: str
    points: list[GainPoint]


@dataclass(frozen=True)
class GainPanel:
    """`average`: over all languages, the seen or the unseen ones."""

    task: str
    average: str
    lines: list[GainLine]


@dataclass(frozen=True)
class GainPlot(Plot):
    """Gains against the number of pairs, for one architecture; three panels for each task, one for each average."""

    setting: str
    panels: list[GainPanel]

    @property
    def caption(self) -> str:
        return f"{self.setting}."

    def parts(self) -> Iterator[Self]:
        size = TASKS_IN_A_FIGURE * len(AVERAGES)
        for start in range(0, len(self.panels), size):
            yield replace(self, panels=self.panels[start : start + size])

    def draw(self, palette: Palette, name: str) -> str:
        rows = len(self.panels) // len(AVERAGES)
        methods = list(dict.fromkeys(line.method for panel in self.panels for line in panel.lines))
        counts = sorted({point.pairs for panel in self.panels for line in panel.lines for point in line.points})
        shape = (2.45 * rows + 0.45, rows, len(AVERAGES))
        with canvas(*shape, settings={"axes.grid.axis": "y"}, sharey="row", sharex=True) as (figure, axes):
            for axis, panel in zip(axes, self.panels, strict=True):
                _draw_panel(axis, panel, methods, palette.looks, counts)
                # A task's name may be as long as a row: it stands over the first panel, and runs on over the next.
                task = panel.task if panel.average == AVERAGE else ""
                axis.set_title(f"{task}\n{_TITLES[panel.average]}")
            for axis in axes[:: len(AVERAGES)]:
                axis.set_ylabel(f"gain over {palette.baseline}, points")
            for axis in axes[-len(AVERAGES) :]:
                axis.set_xlabel("pairs in training")
            add_legend(figure, _handles(methods, palette))
            return to_svg(figure, name)


def gain_by_pairs(results: Results) -> Plots[GainPlot]:
    """One for each architecture (and unusual options) that has two or more numbers of pairs beside a baseline."""
    tasks, positions = results.tasks, results.positions
    plots: list[GainPlot] = []
    left_out: dict[str, list[str]] = {}
    settings = [setting for setting in positions.settings if setting.pairs and setting in positions.baselines]
    for name, family in group_settings(settings, lambda setting: joined(setting.arch, setting.options)).items():
        counts = sorted({len(setting.pairs) for setting in family})
        if len(counts) < 2:
            there = "1 pair" if counts[0] == 1 else f"{counts[0]} pairs"
            left_out.setdefault(f"all models have {there}.", []).append(name)
            continue
        panels = [
            GainPanel(task.title, average, _gain_lines(task, average, family, positions))
            for task in tasks
            for average in AVERAGES
        ]
        if any(panel.lines for panel in panels):
            plots.append(GainPlot(name, panels))
        else:
            left_out.setdefault("only the baseline has scores.", []).append(name)
    return Plots(plots, no_plots(left_out))


def _gain_lines(task: TaskGains, average: str, family: Sequence[StudySetting], positions: Positions) -> list[GainLine]:
    lines = []
    for method, models in positions.by_method(family).items():
        points = [
            _gain_point(position, gain, len(task.cells[position.model, average].over))
            for position in models
            if (gain := task.gain(position.model, average))
        ]
        if points:
            lines.append(GainLine(method, sorted(points, key=lambda point: point.pairs)))
    return lines


def _gain_point(position: ModelPosition, gain: Difference, languages: int) -> GainPoint:
    low, high = (gain.interval.low, gain.interval.high) if gain.interval else (None, None)
    pairs = len(position.setting.pairs)
    return GainPoint(position.model, pairs, gain.value, low, high, gain.over, gain.clear, gain.by_seed, languages)


def _draw_panel(
    axis: Axes, panel: GainPanel, methods: Sequence[str], looks: Mapping[str, Look], counts: Sequence[int]
) -> None:
    axis.axhline(0, color=INK, linewidth=1.0, zorder=1)
    for line in panel.lines:
        number = methods.index(line.method)
        _draw_line(axis, line, looks[line.method], (number - (len(methods) - 1) / 2) * _SPREAD, 3 + number)
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.minorticks_off()
    axis.set_xlim(counts[0] / 1.6, counts[-1] * 1.6)
    axis.tick_params(labelbottom=True)
    if not panel.lines:
        axis.text(0.5, 0.6, "no such language", transform=axis.transAxes, ha="center", color=SOFT)


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


def _handles(methods: Sequence[str], palette: Palette) -> dict[str, Any]:
    from matplotlib.lines import Line2D

    looks = {method: palette.looks[method] for method in methods}
    handles = {
        method: Line2D([], [], color=look.colour, linestyle=look.line, marker=look.marker)
        for method, look in looks.items()
    }
    return {**handles, f"{palette.baseline} (0)": Line2D([], [], color=INK, linewidth=1.0)}
