"""Gains against the number of pairs: one row for each task; all, seen and unseen languages beside each other.

A line is a method. A full marker: every 95 % interval excludes 0; a hollow one: at least one does not. Small points are
seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
class GainPanel:
    """`average`: over all languages, the seen or the unseen ones."""

    task: str
    average: str
    lines: list[MethodLine[GainPoint]]


@dataclass(frozen=True)
class GainPlot(PanelPlot):
    """Gains against the number of pairs, for one architecture; three panels for each task, one for each average."""

    setting: str
    panels: list[GainPanel]
    most_panels = TASKS_IN_A_FIGURE * len(AVERAGES)

    @property
    def caption(self) -> str:
        return f"{self.setting}."

    def draw(self, palette: Palette, name: str) -> str:
        rows = len(self.panels) // len(AVERAGES)
        from matplotlib.lines import Line2D

        handles = method_handles(self.panels, palette)
        methods = list(handles)
        counts = sorted({point.pairs for panel in self.panels for line in panel.lines for point in line.points})
        shape = (2.45 * rows + 0.45, rows, len(AVERAGES))
        with canvas(*shape, settings={"axes.grid.axis": "y"}, sharey="row", sharex=True) as (figure, axes):
            for axis, panel in zip(axes, self.panels, strict=True):
                _draw_panel(axis, panel, methods, palette.looks, counts)
                # A task's name may be longer than a panel, so only the first panel of a row has it.
                task = panel.task if panel.average == AVERAGE else ""
                axis.set_title(f"{task}\n{_TITLES[panel.average]}")
            for axis in axes[:: len(AVERAGES)]:
                axis.set_ylabel(f"gain over {palette.baseline}, points")
            for axis in axes[-len(AVERAGES) :]:
                axis.set_xlabel("pairs in training")
            add_legend(figure, {**handles, f"{palette.baseline} (0)": Line2D([], [], color=INK, linewidth=1.0)})
            return to_svg(figure, name)


def gain_by_pairs(results: Results) -> Plots[GainPlot]:
    """One for each architecture (and unusual options) that has two or more numbers of pairs beside a baseline."""
    tasks, positions = results.tasks, results.positions

    def plot_of(name: str, family: list[StudySetting]) -> GainPlot | str:
        counts = sorted({len(setting.pairs) for setting in family})
        if len(counts) < 2:
            return f"all models have {counts[0]} {'pair' if counts[0] == 1 else 'pairs'}."

        def lines(task: TaskGains, average: str) -> list[MethodLine[GainPoint]]:
            return lines_of_methods(
                positions, family, lambda position: _gain_point(position, task, average), lambda point: point.pairs
            )

        panels = [GainPanel(task.title, average, lines(task, average)) for task in tasks for average in AVERAGES]
        return GainPlot(name, panels) if any(panel.lines for panel in panels) else "only the baseline has scores."

    settings = [setting for setting in positions.settings if setting.pairs and setting in positions.baselines]
    return plots_of_families(settings, lambda setting: joined(setting.arch, setting.options), plot_of)


def _gain_point(position: ModelPosition, task: TaskGains, average: str) -> GainPoint | None:
    if (gain := task.gain(position.model, average)) is None:
        return None
    low, high = (gain.interval.low, gain.interval.high) if gain.interval else (None, None)
    pairs, languages = len(position.setting.pairs), len(task.cells[position.model, average].over)
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


def _draw_line(axis: Axes, line: MethodLine[GainPoint], look: Look, octaves: float, order: int) -> None:
    points = line.points
    places = [point.pairs * 2**octaves for point in points]
    draw_line(
        *(axis, look, order, places, [point.gain for point in points]),
        bounds=[(point.low, point.high) for point in points],
        joined=len(set(places)) == len(places),  # not if two sets have the same number of pairs
        full=[point.clear for point in points],
    )
    for x, point in zip(places, points, strict=True):
        if len(point.seeds) > 1:
            beside = [x * 2**_SEED_SHIFT] * len(point.seeds)
            axis.plot(beside, list(point.seeds.values()), ".", color=look.colour, markersize=3.2, zorder=order)
