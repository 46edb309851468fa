"""The headline of a study: each model's gain over its baseline, averaged over all languages, with its interval.

One panel for each task, one row for each model. Blue markers are clear gains and orange ones clear losses; hollow grey
ones may be chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from weam_fairseq.report.gains import Results, TaskGains
from weam_fairseq.report.plots.style import GAIN, INK, LOSS, PAPER, SOFT, Palette, PanelPlot, Plots, canvas, to_svg
from weam_fairseq.report.positions import ModelPosition
from weam_fairseq.report.task_table import AVERAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_IN_A_ROW = 3
_TITLE_LENGTH = 40  # characters that fit above a panel


@dataclass(frozen=True)
class HeadlinePoint:
    """A gain in points with its 95 % interval `over` items, or else seeds; `clear`: every interval excludes 0."""

    model: str
    label: str
    gain: float
    low: float | None
    high: float | None
    over: str
    clear: bool


@dataclass(frozen=True)
class HeadlinePanel:
    task: str
    points: list[HeadlinePoint]


@dataclass(frozen=True)
class HeadlinePlot(PanelPlot):
    """`rows`: the labels of all compared models, from top to bottom."""

    rows: list[str]
    panels: list[HeadlinePanel]
    most_panels = 6

    @property
    def caption(self) -> str:
        return "Gain over the baseline, averaged over all languages."

    def draw(self, palette: Palette, name: str) -> str:
        columns = min(_IN_A_ROW, len(self.panels))
        lines = -(-len(self.panels) // columns)
        height = (0.24 * len(self.rows) + 0.85) * lines
        with canvas(height, lines, columns, settings={"axes.grid.axis": "x"}, sharey=True) as (figure, axes):
            for axis, panel in zip(axes, self.panels, strict=False):
                self._draw_panel(axis, panel)
                axis.set_xlabel(f"points better than {palette.baseline}")
            for axis in axes[len(self.panels) :]:
                axis.set_visible(False)
            axes[0].set_yticks(range(len(self.rows)), self.rows)
            axes[0].set_ylim(len(self.rows) - 0.5, -0.5)
            return to_svg(figure, name)

    def _draw_panel(self, axis: Axes, panel: HeadlinePanel) -> None:
        axis.axvline(0, color=INK, linewidth=1.0, zorder=1)
        axis.tick_params(axis="y", length=0)
        axis.set_title(panel.task if len(panel.task) <= _TITLE_LENGTH else panel.task.replace(", ", ",\n", 1))
        for point in panel.points:
            row = self.rows.index(point.label)
            colour = SOFT if not point.clear else GAIN if point.gain > 0 else LOSS
            low = point.gain if point.low is None else point.low
            high = point.gain if point.high is None else point.high
            axis.hlines(row, low, high, color=colour, linewidth=1.6, zorder=2)
            face = colour if point.clear else PAPER
            axis.plot(point.gain, row, "o", color=colour, markerfacecolor=face, markersize=5.5, zorder=3)


def headline(results: Results) -> Plots[HeadlinePlot]:
    """One plot of all tasks that have a gain."""
    compared = results.positions.compared
    panels = [panel for task in results.tasks if (panel := _panel(task, compared)).points]
    if not panels:
        return Plots([], ["No chart of gains: no model has both a score and a baseline."])
    shown = {point.label for panel in panels for point in panel.points}
    return Plots([HeadlinePlot([label for each in compared if (label := _label(each)) in shown], panels)], [])


def _panel(task: TaskGains, compared: list[ModelPosition]) -> HeadlinePanel:
    points = []
    for position in compared:
        if gain := task.gain(position.model, AVERAGE):
            low, high = (gain.interval.low, gain.interval.high) if gain.interval else (None, None)
            label = _label(position)
            points.append(HeadlinePoint(position.model, label, gain.value, low, high, gain.over, gain.clear))
    return HeadlinePanel(task.title, points)


def _label(position: ModelPosition) -> str:
    return f"{position.method}, {position.setting.name}"
