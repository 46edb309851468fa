"""Plots of a comparison as SVG: figures of all models in each language, and a heat map of the differences.

Models differ in colour and marker, so that grey print and colour-blind readers can tell them apart; the heat map runs
from brown (worse) over white to purple (better), and every cell holds its number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weam_fairseq.report.figures import AVERAGE, TaskTable
from weam_fairseq.report.looks import looks_of
from weam_fairseq.report.score_table import signed
from weam_fairseq.report.svg import RC, load_matplotlib, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 10.4  # inches, as wide as the page
_IN_A_ROW = 16  # languages
_SPREAD = 0.62  # of the room between two languages
_DIVERGING = "PuOr"  # ColorBrewer: orange and brown to purple, safe for colour-blind readers
_NOTHING = (0.96, 0.96, 0.96, 1.0)  # where there is no difference
_LEAST_SPAN = 1.0  # points: the heat map's colours never stand for less
_DARK = 0.45  # luminance below which a cell's number is white


def draw_figures(table: TaskTable, models: Sequence[str], name: str) -> str:
    """A marker for each model and language, its 95 % interval over items or else ± sd over seeds as a line.

    Args:
        models: all models of the report, in order: each looks the same in every plot.
        name: what the drawing's ids start with.

    Raises:
        InputError: matplotlib is not installed.
    """
    matplotlib = load_matplotlib()
    from matplotlib.figure import Figure

    rows = _wrapped(table.rows)
    looks = looks_of(models)
    with matplotlib.rc_context({**RC, "axes.grid.axis": "y"}):
        figure = Figure(figsize=(_WIDTH, 2.5 * len(rows) + 0.4), layout="constrained")
        axes = figure.subplots(len(rows), 1, sharey=True, squeeze=False).flatten()
        for axis, languages in zip(axes, rows, strict=True):
            _draw_row(axis, table, languages, looks)
            axis.set_ylabel(table.group.metric)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=6, frameon=False)
        return to_svg(figure, name)


def draw_differences(table: TaskTable, name: str) -> str:
    """Models by languages, coloured by the difference to the baseline; a star where every interval leaves 0 out.

    Raises:
        InputError: matplotlib is not installed.
    """
    matplotlib = load_matplotlib()
    from matplotlib.figure import Figure

    rows = _wrapped(table.rows)
    span = max([_LEAST_SPAN, *(abs(each.value) for each in table.differences.values())])
    with matplotlib.rc_context({**RC, "axes.grid": False}):
        height = (0.34 * len(table.compared) + 0.42) * len(rows) + 0.15
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.subplots(len(rows), 1, squeeze=False).flatten()
        for axis, languages in zip(axes, rows, strict=True):
            _draw_cells(axis, table, languages, span, matplotlib.colormaps[_DIVERGING])
        return to_svg(figure, name)


def _wrapped(languages: Sequence[str]) -> list[list[str]]:
    """Rows of languages, as even as can be."""
    count = -(-len(languages) // _IN_A_ROW)
    size = -(-len(languages) // count)
    return [list(languages[start : start + size]) for start in range(0, len(languages), size)]


def _draw_row(axis: Axes, table: TaskTable, languages: Sequence[str], looks: dict[str, Any]) -> None:
    step = _SPREAD / len(table.models)
    for number, model in enumerate(table.models):
        look = looks[model]
        places = [at for at, language in enumerate(languages) if (model, language) in table.figures]
        figures = [table.figures[model, languages[at]] for at in places]
        low, high = [], []
        for figure in figures:
            spread = figure.sd or 0.0
            lowest, highest = figure.interval or (figure.mean - spread, figure.mean + spread)
            low.append(max(0.0, figure.mean - lowest))
            high.append(max(0.0, highest - figure.mean))
        shift = (number - (len(table.models) - 1) / 2) * step
        axis.errorbar(
            [at + shift for at in places],
            [figure.mean for figure in figures],
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
    axis.set_xticks(range(len(languages)), _labels(table, languages))
    axis.set_xlim(-0.5, max(len(languages), 4) - 0.5)
    axis.tick_params(axis="x", length=0)


def _draw_cells(axis: Axes, table: TaskTable, languages: Sequence[str], span: float, colours: Any) -> None:
    better = -1.0 if table.lower_is_better else 1.0
    for row, model in enumerate(table.compared):
        for column, language in enumerate(languages):
            difference = table.differences.get((model, language))
            face = colours(0.5 + 0.5 * better * difference.value / span) if difference else _NOTHING
            axis.add_patch(_square(column, row, face))
            star = "*" if difference and difference.clear else ""
            text = signed(difference.value) + star if difference else "–"
            colour = "#ffffff" if _luminance(face) < _DARK else "#1d2127"
            axis.text(column, row, text, ha="center", va="center", fontsize=8.5, color=colour)
    columns = max(len(languages), 8)
    axis.set_xlim(-0.5, columns - 0.5)
    axis.set_ylim(len(table.compared) - 0.5, -0.5)
    axis.set_xticks(range(len(languages)), _labels(table, languages))
    axis.set_yticks(range(len(table.compared)), table.compared)
    axis.tick_params(length=0, labeltop=True, labelbottom=False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _luminance(colour: Sequence[float]) -> float:
    """As the eye weighs red, green and blue (Rec. 709)."""
    red, green, blue = colour[:3]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _square(column: int, row: int, face: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=face, edgecolor="#ffffff", linewidth=1.5)


def _labels(table: TaskTable, languages: Sequence[str]) -> list[str]:
    return [f"average\nof {len(table.common)}" if each == AVERAGE else each for each in languages]
