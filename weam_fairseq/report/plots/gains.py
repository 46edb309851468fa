"""Gains against the number of pairs or the architecture.

One row for each task; all, seen and unseen languages beside each other.

A line is a method. A full marker: every 95 % interval excludes 0; a hollow one: at least one does not. Small points are
seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log2
from typing import TYPE_CHECKING, ClassVar, TypeVar

from weam_fairseq.report.gains import AVERAGES, SEEN, UNSEEN, Results, TaskGains
from weam_fairseq.report.plots.style import (
    INK,
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
from weam_fairseq.report.task_table import AVERAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLES = {AVERAGE: "all languages", SEEN: "seen languages", UNSEEN: "unseen languages"}
_SPREAD = 0.12  # octaves (or architectures) between two methods at one place of the axis
_SEED_SHIFT = 0.05  # from a marker to its seeds


SomeGainPlot = TypeVar("SomeGainPlot", bound="GainPlot")


@dataclass(frozen=True)
class GainPoint:
    """A gain in points with its 95 % interval `over` items, or else seeds; `clear`: every interval excludes 0."""

    model: str
    pairs: int
    arch: str
    gain: float
    low: float | None
    high: float | None
    over: str
    clear: bool
    seeds: dict[int, float]
    languages: int


@dataclass(frozen=True)
class GainPanel:
    """`average`: over all languages, the seen or the unseen ones."""

    task: str
    average: str
    lines: list[MethodLine[GainPoint]]


@dataclass(frozen=True)
class GainPlot(PanelPlot):
    """Gains for one architecture against the number of pairs; three panels for each task, one for each average."""

    setting: str
    panels: list[GainPanel]
    most_panels = TASKS_IN_A_FIGURE * len(AVERAGES)
    what: ClassVar[str] = "pairs in training"

    @property
    def caption(self) -> str:
        return f"{self.setting}."

    def place(self, point: GainPoint) -> float:
        """Where the point lies on the axis: one apart is one doubling of the pairs."""
        return log2(point.pairs)

    def ticks(self, points: Sequence[GainPoint]) -> dict[float, str]:
        """The label of each place on the axis."""
        return {self.place(point): str(point.pairs) for point in points}

    def draw(self, palette: Palette, name: str) -> str:
        rows = len(self.panels) // len(AVERAGES)
        from matplotlib.lines import Line2D

        handles = method_handles(self.panels, palette)
        methods = list(handles)
        ticks = self.ticks([point for panel in self.panels for line in panel.lines for point in line.points])
        shape = (2.45 * rows + 0.45, rows, len(AVERAGES))
        with canvas(*shape, settings={"axes.grid.axis": "y"}, sharey="row", sharex=True) as (figure, axes):
            for axis, panel in zip(axes, self.panels, strict=True):
                self._draw_panel(axis, panel, methods, palette.looks)
                axis.set_xticks(list(ticks), list(ticks.values()))
                axis.set_xlim(min(ticks) - 0.7, max(ticks) + 0.7)
                axis.tick_params(labelbottom=True)
                # A task's name may be longer than a panel, so only the first panel of a row has it.
                task = panel.task if panel.average == AVERAGE else ""
                axis.set_title(f"{task}\n{_TITLES[panel.average]}")
            for axis in axes[:: len(AVERAGES)]:
                axis.set_ylabel(f"gain over {palette.baseline}, points")
            for axis in axes[-len(AVERAGES) :]:
                axis.set_xlabel(self.what)
            add_legend(figure, {**handles, f"{palette.baseline} (0)": Line2D([], [], color=INK, linewidth=1.0)})
            return to_svg(figure, name)

    def _draw_panel(self, axis: Axes, panel: GainPanel, methods: Sequence[str], looks: Mapping[str, Look]) -> None:
        axis.axhline(0, color=INK, linewidth=1.0, zorder=1)
        for line in panel.lines:
            number = methods.index(line.method)
            shift = (number - (len(methods) - 1) / 2) * _SPREAD
            places = [self.place(point) + shift for point in line.points]
            _draw_line(axis, line.points, places, looks[line.method], 3 + number)
        if not panel.lines:
            axis.text(0.5, 0.6, "no such language", transform=axis.transAxes, ha="center", color=SOFT)


@dataclass(frozen=True)
class GainBySizePlot(GainPlot):
    """Gains for one set of pairs against the architecture, the smallest first."""

    archs: list[str] = field(default_factory=list)
    what: ClassVar[str] = "architecture"

    def place(self, point: GainPoint) -> float:
        return float(self.archs.index(point.arch))

    def ticks(self, points: Sequence[GainPoint]) -> dict[float, str]:
        return dict(enumerate(self.archs))


def gain_by_pairs(results: Results) -> Plots[GainPlot]:
    """One for each architecture (and unusual options) that has two or more numbers of pairs beside a baseline."""

    def plot_of(name: str, family: list[StudySetting]) -> GainPlot | str:
        counts = sorted({len(setting.pairs) for setting in family})
        if len(counts) < 2:
            return f"all models have {counts[0]} {'pair' if counts[0] == 1 else 'pairs'}."
        return _unless_empty(GainPlot(name, _panels(results, family, lambda point: point.pairs)))

    return plots_of_families(_compared(results), lambda setting: joined(setting.arch, setting.options), plot_of)


def gain_by_size(results: Results) -> Plots[GainBySizePlot]:
    """One for each set of pairs (and unusual options) that has two or more architectures beside a baseline."""

    def plot_of(name: str, family: list[StudySetting]) -> GainBySizePlot | str:
        archs = list(dict.fromkeys(setting.arch for setting in family))  # small ones come first
        if len(archs) < 2:
            return f"all models have the architecture {archs[0]}."
        panels = _panels(results, family, lambda point: archs.index(point.arch))
        return _unless_empty(GainBySizePlot(name, panels, archs))

    return plots_of_families(_compared(results), lambda setting: joined(setting.pairs_name, setting.options), plot_of)


def _compared(results: Results) -> list[StudySetting]:
    positions = results.positions
    return [setting for setting in positions.settings if setting.pairs and setting in positions.baselines]


def _panels(results: Results, family: Sequence[StudySetting], order: Callable[[GainPoint], float]) -> list[GainPanel]:
    def lines(task: TaskGains, average: str) -> list[MethodLine[GainPoint]]:
        return lines_of_methods(results.positions, family, lambda position: _gain_point(position, task, average), order)

    return [GainPanel(task.title, average, lines(task, average)) for task in results.tasks for average in AVERAGES]


def _unless_empty(plot: SomeGainPlot) -> SomeGainPlot | str:
    return plot if any(panel.lines for panel in plot.panels) else "only the baseline has scores."


def _gain_point(position: ModelPosition, task: TaskGains, average: str) -> GainPoint | None:
    if (gain := task.gain(position.model, average)) is None:
        return None
    low, high = (gain.interval.low, gain.interval.high) if gain.interval else (None, None)
    setting, languages = position.setting, len(task.cells[position.model, average].over)
    return GainPoint(
        *(position.model, len(setting.pairs), setting.arch, gain.value, low, high),
        *(gain.over, gain.clear, gain.by_seed, languages),
    )


def _draw_line(axis: Axes, points: Sequence[GainPoint], places: Sequence[float], look: Look, order: int) -> None:
    draw_line(
        *(axis, look, order, places, [point.gain for point in points]),
        bounds=[(point.low, point.high) for point in points],
        joined=len(set(places)) == len(places),  # not if two sets have the same number of pairs
        full=[point.clear for point in points],
    )
    for x, point in zip(places, points, strict=True):
        if len(point.seeds) > 1:
            beside = [x + _SEED_SHIFT] * len(point.seeds)
            axis.plot(beside, list(point.seeds.values()), ".", color=look.colour, markersize=3.2, zorder=order)
