"""Validation losses of a study's cells by update.

A cell's loss is the mean over its pairs, at the updates at which all of them were logged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from weam_fairseq.common.training_log import Curve, TrainingLog, read_log
from weam_fairseq.report.gains import Results
from weam_fairseq.report.plots.style import Look, Palette, Plot, Plots, add_legend, canvas, labelled, to_svg
from weam_fairseq.report.study_folder import Study, StudyCell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOSSES = {
    "mp_loss": ("Multilingual prediction (mp_loss), validation.", "Masked pieces from their own states."),
    "cp_loss": (
        "Cross-lingual prediction (cp_loss), validation.",
        "The same pieces after linked states were exchanged, through the right links whatever the objective.",
    ),
}
_IN_A_ROW = 3


@dataclass(frozen=True)
class LossLine:
    """One method: a curve for each seed, and their mean at the updates that all of them have."""

    method: str
    seeds: dict[int, Curve]
    mean: Curve


@dataclass(frozen=True)
class LossPanel:
    setting: str
    lines: list[LossLine]


@dataclass(frozen=True)
class LossPlot(Plot):
    loss: str
    panels: list[LossPanel]

    @property
    def caption(self) -> str:
        return LOSSES[self.loss][0]

    @property
    def meaning(self) -> str:  # type: ignore[override]
        return LOSSES[self.loss][1]

    def draw(self, palette: Palette, name: str) -> str:
        """Seeds as thin lines, their mean as a thick one with markers. Each panel has its own axis."""
        rows = -(-len(self.panels) // _IN_A_ROW)
        with canvas(2.35 * rows + 0.45, rows, _IN_A_ROW) as (figure, axes):
            for axis, panel in zip(axes, self.panels, strict=False):
                _draw_panel(axis, panel, palette.looks)
            for axis in axes[len(self.panels) :]:
                axis.set_visible(False)
            for axis in axes[::_IN_A_ROW]:
                axis.set_ylabel("nats per masked piece")
            for axis in axes[max(0, len(self.panels) - _IN_A_ROW) : len(self.panels)]:
                axis.set_xlabel("updates")
            add_legend(figure, labelled(axes))
            return to_svg(figure, name)


def losses(results: Results) -> Plots[LossPlot]:
    """One plot for each loss, with a panel for each setting."""
    study, positions = results.study, results.positions
    logs = {cell.name: _read(study, cell) for cell in study.cells}
    lost = [cell.name for cell in study.cells if cell.train_log and logs[cell.name] is None]
    left_out = [f"Training logs are missing for: {', '.join(lost)}."] if lost else []
    plots = []
    for loss in LOSSES:
        panels = []
        for setting in positions.settings:
            found = [_line(each.method, study.of_model(each.model), logs, loss) for each in positions.within(setting)]
            lines = [line for line in found if line]
            panels += [LossPanel(setting.name, lines)] if lines else []
        if panels:
            plots.append(LossPlot(loss, panels))
        else:
            left_out.append(f"No plot of {loss}: no training log contains it.")
    return Plots(plots, left_out)


def _read(study: Study, cell: StudyCell) -> TrainingLog | None:
    if not cell.train_log or not (path := study.path / cell.train_log).is_file():
        return None
    return read_log(path)


def _line(
    method: str, cells: Sequence[StudyCell], logs: Mapping[str, TrainingLog | None], loss: str
) -> LossLine | None:
    seeds: dict[int, Curve] = {}
    for cell in cells:
        log = logs[cell.name]
        if log and cell.pairs:
            curve = _mean([log.curve("valid", f"{pair}:{loss}") for pair in cell.pairs])
            seeds |= {cell.seed: curve} if curve.x else {}
    return LossLine(method, seeds, _mean(list(seeds.values()))) if seeds else None


def _mean(curves: Sequence[Curve]) -> Curve:
    """At the updates that all of them have."""
    values = [dict(zip(curve.x, curve.y, strict=True)) for curve in curves]
    common = sorted(set.intersection(*(set(each) for each in values)))
    return Curve(common, [fmean(each[update] for each in values) for update in common])


def _draw_panel(axis: Axes, panel: LossPanel, looks: Mapping[str, Look]) -> None:
    axis.set_title(panel.setting)
    for order, line in enumerate(panel.lines):
        look = looks[line.method]
        if len(line.seeds) > 1:
            for curve in line.seeds.values():
                axis.plot(curve.x, curve.y, color=look.colour, linewidth=0.6, alpha=0.7, zorder=2)
        axis.plot(
            line.mean.x,
            line.mean.y,
            label=line.method,
            color=look.colour,
            linestyle=look.line,
            linewidth=1.5,
            marker=look.marker,
            markersize=4,
            markevery=max(1, len(line.mean.x) // 8),
            zorder=3 + order,
        )
