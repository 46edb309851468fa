"""The scores of all models in each language, with intervals, for the report on scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from weam_fairseq.report.plots.heat_map import language_label
from weam_fairseq.report.plots.style import Look, add_legend, canvas, labelled, looks_of, to_svg
from weam_fairseq.report.task_table import TaskTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_IN_A_ROW = 16  # languages
_SPREAD = 0.62  # of the room between two languages


def draw_scores(table: TaskTable, models: Sequence[str], name: str) -> str:
    """A marker for each model and language, with its 95 % interval over items, or else ± sd over seeds, as a line.

    Args:
        models: all models of the report, in order, so that each looks the same in every plot.
        name: what the drawing's ids start with.
    """
    count = -(-len(table.rows) // _IN_A_ROW)
    size = -(-len(table.rows) // count)
    looks = looks_of(models)
    with canvas(2.5 * count + 0.4, count, 1, settings={"axes.grid.axis": "y"}, sharey=True) as (figure, axes):
        for axis, start in zip(axes, range(0, len(table.rows), size), strict=True):
            _draw_row(axis, table, table.rows[start : start + size], looks)
            axis.set_ylabel(table.group.metric)
        add_legend(figure, labelled(axes[:1]))
        return to_svg(figure, name)


def _draw_row(axis: Axes, table: TaskTable, languages: Sequence[str], looks: Mapping[str, Look]) -> None:
    step = _SPREAD / len(table.models)
    for number, model in enumerate(table.models):
        look = looks[model]
        columns = [at for at, language in enumerate(languages) if (model, language) in table.scores]
        scores = [table.scores[model, languages[at]] for at in columns]
        low, high = [], []
        for score in scores:
            spread = score.sd or 0.0
            lowest, highest = score.interval or (score.mean - spread, score.mean + spread)
            low.append(max(0.0, score.mean - lowest))
            high.append(max(0.0, highest - score.mean))
        shift = (number - (len(table.models) - 1) / 2) * step
        axis.errorbar(
            [at + shift for at in columns],
            [score.mean for score in scores],
            yerr=[low, high],
            label=model,
            color=look.colour,
            marker=look.marker,
            markersize=4.6,
            linestyle="none",
            elinewidth=1.1,
            zorder=3 + number,
        )
    for at in range(len(languages) - 1):
        axis.axvline(at + 0.5, color="#eeeeee", linewidth=0.8, zorder=0)
    axis.set_xticks(range(len(languages)), [language_label(table, each) for each in languages])
    axis.set_xlim(-0.5, max(len(languages), 4) - 0.5)
    axis.tick_params(axis="x", length=0)
