"""Differences as a heat map: one row for each model, one column for each language.

Blue cells are better than the baseline, orange ones worse. A star marks a difference whose every 95 % interval excludes
0. A dot marks a language that the row's training pairs contain. Every cell shows its number, so that nothing depends on
color alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from weam_fairseq.evaluation.terminal import signed
from weam_fairseq.report.gains import AVERAGES, SEEN, UNSEEN, Results, TaskGains
from weam_fairseq.report.plots.style import GAIN, INK, LOSS, PAPER, Palette, Plot, Plots, canvas, to_svg
from weam_fairseq.report.positions import ModelPosition
from weam_fairseq.report.task_table import AVERAGE, TaskTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_IN_A_ROW = 15  # columns
_NOTHING = (0.96, 0.96, 0.96, 1.0)  # where there is no difference
_MIDDLE = "#f7f7f7"
_LEAST_SPAN = 1.0  # points: the darkest colours mean at least this gain
_REACH = 0.45  # of the colours' two halves: text is hard to read on the darkest
_DARK = 0.21  # luminance below which white text has more contrast than dark one
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # as the eye weighs red, green and blue (Rec. 709)
_GAMMA = 2.2


@dataclass(frozen=True)
class MapCell:
    """`seen`: whether a training pair contains the language; None for averages. `gain` is None if there is none."""

    language: str
    gain: float | None
    clear: bool
    seen: bool | None


@dataclass(frozen=True)
class MapRow:
    method: str
    setting: str
    cells: list[MapCell]


@dataclass(frozen=True)
class GainMap(Plot):
    """One task's gains; `columns` are its languages, then the averages."""

    task: str
    columns: list[str]
    rows: list[MapRow]

    @property
    def caption(self) -> str:
        return f"{self.task}."

    def draw(self, palette: Palette, name: str) -> str:
        rows = [
            _Row(f"{row.method}, {row.setting}", [_Square(c.gain, c.gain, c.clear, bool(c.seen)) for c in row.cells])
            for row in self.rows
        ]
        starts = [at for at, row in enumerate(self.rows) if at and row.method != self.rows[at - 1].method]
        return _draw(self.columns, rows, name, starts)


def gain_by_language(results: Results) -> Plots[GainMap]:
    """One map for each task."""
    positions = results.positions
    plots, left_out = [], []
    for task in results.tasks:
        gains = {name: any(task.gain(each.model, name) for each in positions.compared) for name in AVERAGES}
        averages = [name for name in AVERAGES if len(task.languages) > 1 and gains[name]]
        columns = [*task.languages, *averages]
        rows = [
            MapRow(position.method, position.setting.name, [_map_cell(task, position, name) for name in columns])
            for position in sorted(positions.compared, key=lambda each: positions.methods.index(each.method))
            if any(task.gain(position.model, name) for name in columns)
        ]
        if rows:
            plots.append(GainMap(task.title, columns, rows))
        else:
            left_out.append(f"No map for {task.title}: no model has a gain.")
    return Plots(plots, left_out)


def _map_cell(task: TaskGains, position: ModelPosition, language: str) -> MapCell:
    gain = task.gain(position.model, language)
    seen = None if language in (AVERAGE, SEEN, UNSEEN) else position.setting.has_seen(language)
    return MapCell(language, gain.value if gain else None, bool(gain and gain.clear), seen)


def draw_differences(table: TaskTable, name: str) -> str:
    """The map of a table of scores. The color shows which direction is better; the numbers keep their signs."""
    better = -1.0 if table.lower_is_better else 1.0
    rows = []
    for model in table.compared:
        found = [table.differences.get((model, language)) for language in table.rows]
        squares = [_Square(each.value, better * each.value, each.clear) if each else _Square() for each in found]
        rows.append(_Row(model, squares))
    return _draw([language_label(table, each) for each in table.rows], rows, name)


def language_label(table: TaskTable, language: str) -> str:
    return f"average\nof {len(table.common)}" if language == AVERAGE else language


class _Square(NamedTuple):
    """`gain` is the value, with its sign changed if lower scores are better."""

    value: float | None = None
    gain: float | None = None
    clear: bool = False
    dot: bool = False


class _Row(NamedTuple):
    label: str
    squares: list[_Square]


def _draw(columns: Sequence[str], rows: Sequence[_Row], name: str, lines_above: Sequence[int] = ()) -> str:
    """`lines_above`: the rows that a line separates from the one before."""
    from matplotlib.colors import LinearSegmentedColormap

    blocks = -(-len(columns) // _IN_A_ROW)
    size = -(-len(columns) // blocks)
    span = max([_LEAST_SPAN, *(abs(each.gain) for row in rows for each in row.squares if each.gain is not None)])
    colours = LinearSegmentedColormap.from_list("gains", [LOSS, _MIDDLE, GAIN])
    height = (0.31 * len(rows) + 0.42) * blocks + 0.1
    with canvas(height, blocks, 1, settings={"axes.grid": False}) as (figure, axes):
        for axis, start in zip(axes, range(0, len(columns), size), strict=True):
            here = columns[start : start + size]
            for number, row in enumerate(rows):
                for at, square in enumerate(row.squares[start : start + size]):
                    _draw_square(axis, at, number, square, span, colours)
            for number in lines_above:
                axis.hlines(number - 0.5, -0.5, len(here) - 0.5, color=INK, linewidth=0.8)
            axis.set_xlim(-0.5, max(size, 8) - 0.5)
            axis.set_ylim(len(rows) - 0.5, -0.5)
            axis.set_xticks(range(len(here)), here)
            axis.set_yticks(range(len(rows)), [row.label for row in rows])
            axis.tick_params(length=0, labeltop=True, labelbottom=False)
            for spine in axis.spines.values():
                spine.set_visible(False)
        return to_svg(figure, name)


def _draw_square(axis: Axes, column: int, row: int, square: _Square, span: float, colours: Any) -> None:
    from matplotlib.patches import Rectangle

    face = _NOTHING if square.gain is None else colours(0.5 + _REACH * square.gain / span)
    axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=face, edgecolor=PAPER, linewidth=1.5))
    luminance = sum(weight * part**_GAMMA for weight, part in zip(_LUMINANCE, face[:3], strict=True))
    ink = PAPER if luminance < _DARK else INK
    text = "–" if square.value is None else signed(square.value) + "*" * square.clear
    axis.text(column, row, text, ha="center", va="center", fontsize=8.5, color=ink)
    if square.dot:
        axis.plot(column - 0.38, row, ".", color=ink, markersize=5)
