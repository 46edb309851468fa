"""Losses of a study's cells by update, on validation and training pairs: means over a cell's pairs, and each pair.

The losses are those that the training logs name. A mean is over the pairs that a log line has, and over all seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from weam_fairseq.common.training_log import Curve
from weam_fairseq.report.gains import Results
from weam_fairseq.report.plots.style import Look, Palette, PanelPlot, Plots, add_legend, canvas, labelled, to_svg
from weam_fairseq.report.positions import StudySetting
from weam_fairseq.report.study_folder import Study, StudyCell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of the losses that need an explanation. Other losses in the logs are shown by their names.
_ABOUT = {
    "mp_loss": ("Multilingual prediction", "Masked pieces from their own states."),
    "cp_loss": (
        "Cross-lingual prediction",
        "The same pieces after linked states were exchanged: in validation through the right links whatever the "
        "objective, in training as the objective does.",
    ),
}
_IN_A_ROW = 3
_TRAINING_POINTS = 20  # of a curve
_DOTTED = (0, (1, 1.4))


@dataclass(frozen=True)
class LossLine:
    """One method. `seeds` and `mean` are of the validation, `train` is the mean over seeds of the training."""

    method: str
    seeds: dict[int, Curve]
    mean: Curve
    train: Curve


@dataclass(frozen=True)
class LossPanel:
    """`pair` is empty where the curves are means over all pairs of the setting."""

    setting: str
    lines: list[LossLine]
    pair: str = ""


@dataclass(frozen=True)
class LossPlot(PanelPlot):
    loss: str
    panels: list[LossPanel]
    most_panels = 12

    @property
    def caption(self) -> str:
        title, _ = _ABOUT.get(self.loss, ("", ""))
        return f"{title} ({self.loss})." if title else f"{self.loss}."

    @property
    def meaning(self) -> str:  # type: ignore[override]
        first = self.panels[0]
        return f"{first.setting}." if first.pair else _ABOUT.get(self.loss, ("", ""))[1]

    def draw(self, palette: Palette, name: str) -> str:
        """Each panel has its own axis."""
        from matplotlib.lines import Line2D

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
            training = Line2D([], [], color="black", linestyle=_DOTTED, linewidth=1.2)
            has_training = any(line.train.x for panel in self.panels for line in panel.lines)
            add_legend(figure, {**labelled(axes), **({"in training": training} if has_training else {})})
            return to_svg(figure, name)


def losses(results: Results) -> Plots[LossPlot]:
    """One plot for each loss, with a panel for each setting."""
    study, settings = results.study, results.positions.settings
    lost = [cell.name for cell in study.cells if cell.train_log and cell.name not in study.logs]
    left_out = [f"Training logs are missing for: {', '.join(lost)}."] if lost else []
    found = {
        loss: [LossPanel(each.name, lines) for each in settings if (lines := _lines(results, each, loss))]
        for loss in _names(study)
    }
    plots = [LossPlot(loss, panels) for loss, panels in found.items() if panels]
    return Plots(plots, left_out if plots else [*left_out, "No plot of losses: no training log contains any."])


def losses_by_pair(results: Results) -> Plots[LossPlot]:
    """One plot for each loss and each setting with several pairs, with a panel for each pair."""
    plots = []
    names = _names(results.study)
    for setting in results.positions.settings:
        for loss in names if len(setting.pairs) > 1 else []:
            panels = [
                LossPanel(setting.name, lines, pair)
                for pair in setting.pairs
                if (lines := _lines(results, setting, loss, pair))
            ]
            plots += [LossPlot(loss, panels)] if panels else []
    return Plots(plots, [])


def _names(study: Study) -> list[str]:
    """The losses that the logs have for a pair (`en-de:mp_loss`), in order of first mention."""
    figures: dict[str, float] = {}
    for log in study.logs.values():
        for each in (*log.valid.values(), *log.train.values()):
            figures.update(each)
    names = dict.fromkeys(figure.partition(":")[2] for figure in figures)
    return [name for name in names if name.endswith("_loss")]


def _lines(results: Results, setting: StudySetting, loss: str, pair: str = "") -> list[LossLine]:
    lines = []
    for position in results.positions.within(setting):
        cells = results.study.of_model(position.model)
        seeds, trained = (_curves(results.study, cells, part, loss, pair) for part in ("valid", "train"))
        if seeds or trained:
            train = _thinned(_mean(list(trained.values())))
            lines.append(LossLine(position.method, {} if pair else seeds, _mean(list(seeds.values())), train))
    return lines


def _curves(study: Study, cells: Sequence[StudyCell], part: str, loss: str, pair: str) -> dict[int, Curve]:
    """By seed; the mean over the cell's pairs, or one of them."""
    found = {}
    for cell in cells:
        pairs = [pair] if pair else cell.pairs
        if cell.name in study.logs and pairs:
            found[cell.seed] = _over_pairs([study.logs[cell.name].curve(part, f"{each}:{loss}") for each in pairs])
    return {seed: curve for seed, curve in found.items() if curve.x}


def _over_pairs(curves: Sequence[Curve]) -> Curve:
    """The mean at each update over the pairs that it logged: a rare pair may be missing between two log lines."""
    values: dict[int, list[float]] = {}
    for curve in curves:
        for x, y in zip(curve.x, curve.y, strict=True):
            values.setdefault(x, []).append(y)
    return Curve(sorted(values), [fmean(values[update]) for update in sorted(values)])


def _mean(curves: Sequence[Curve]) -> Curve:
    """At the updates that all of them have."""
    values = [dict(zip(curve.x, curve.y, strict=True)) for curve in curves]
    common = sorted(set.intersection(*(set(each) for each in values))) if values else []
    return Curve(common, [fmean(each[update] for each in values) for update in common])


def _thinned(curve: Curve) -> Curve:
    """Means over stretches of equally many log lines, each at its last update."""
    size = -(-len(curve.x) // _TRAINING_POINTS) or 1
    starts = range(0, len(curve.x), size)
    return Curve([curve.x[at : at + size][-1] for at in starts], [fmean(curve.y[at : at + size]) for at in starts])


def _draw_panel(axis: Axes, panel: LossPanel, looks: Mapping[str, Look]) -> None:
    axis.set_title(panel.pair or panel.setting)
    for order, line in enumerate(panel.lines):
        look = looks[line.method]
        axis.plot(line.train.x, line.train.y, color=look.colour, linestyle=_DOTTED, linewidth=1.2, zorder=2)
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
