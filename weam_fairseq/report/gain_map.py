"""Gains by language as SVG: a row a method and setting, a column a language, every cell with its number.

Brown is worse than the baseline, purple better; a dot marks a language that the row's training pairs hold, and a star a
gain whose every 95 % interval leaves 0 out: nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weam_fairseq.report.gain_plot import WIDTH
from weam_fairseq.report.score_table import signed
from weam_fairseq.report.study_points import GainMap, MapCell, MapRow
from weam_fairseq.report.svg import RC, load_matplotlib, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_IN_A_ROW = 15  # columns
_DIVERGING = "PuOr"  # ColorBrewer: orange and brown to purple, safe for colour-blind readers
_NOTHING = (0.96, 0.96, 0.96, 1.0)  # where there is no gain
_LEAST_SPAN = 1.0  # points: the colours never stand for less
_REACH = 0.45  # of the colours' two halves: the darkest leave no room for text
_DARK = 0.21  # luminance below which white text has more contrast than dark one
_INK, _PAPER = "#1d2127", "#ffffff"
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # as the eye weighs red, green and blue (Rec. 709)
_GAMMA = 2.2


def draw_map(map_: GainMap, name: str) -> str:
    """Draws one task's map.

    Raises:
        InputError: matplotlib is not installed.
    """
    matplotlib = load_matplotlib()
    from matplotlib.figure import Figure

    blocks = -(-len(map_.columns) // _IN_A_ROW)
    size = -(-len(map_.columns) // blocks)
    starts = range(0, len(map_.columns), size)
    gains = [abs(cell.gain) for row in map_.rows for cell in row.cells if cell.gain is not None]
    span = max([_LEAST_SPAN, *gains])
    with matplotlib.rc_context({**RC, "axes.grid": False}):
        height = (0.31 * len(map_.rows) + 0.42) * blocks + 0.1
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots(blocks, 1, squeeze=False).flatten()
        for axis, start in zip(axes, starts, strict=True):
            _draw_block(axis, map_, start, size, span, matplotlib.colormaps[_DIVERGING])
        return to_svg(figure, name)


def _draw_block(axis: Axes, map_: GainMap, start: int, size: int, span: float, colours: Any) -> None:
    columns = map_.columns[start : start + size]
    for number, row in enumerate(map_.rows):
        for at, cell in enumerate(row.cells[start : start + size]):
            _draw_cell(axis, at, number, cell, span, colours)
    for number in _method_starts(map_.rows)[1:]:
        axis.hlines(number - 0.5, -0.5, len(columns) - 0.5, color=_INK, linewidth=0.8)
    axis.set_xlim(-0.5, max(size, 8) - 0.5)
    axis.set_ylim(len(map_.rows) - 0.5, -0.5)
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(map_.rows)), [f"{row.method}, {row.setting}" for row in map_.rows])
    axis.tick_params(length=0, labeltop=True, labelbottom=False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _draw_cell(axis: Axes, column: int, row: int, cell: MapCell, span: float, colours: Any) -> None:
    from matplotlib.patches import Rectangle

    face = _NOTHING if cell.gain is None else colours(0.5 + _REACH * cell.gain / span)
    axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=face, edgecolor=_PAPER, linewidth=1.5))
    luminance = sum(weight * part**_GAMMA for weight, part in zip(_LUMINANCE, face[:3], strict=True))
    ink = _PAPER if luminance < _DARK else _INK
    text = "–" if cell.gain is None else signed(cell.gain) + ("*" if cell.clear else "")
    axis.text(column, row, text, ha="center", va="center", fontsize=8.5, color=ink)
    if cell.seen:
        axis.plot(column - 0.38, row, ".", color=ink, markersize=5)


def _method_starts(rows: Sequence[MapRow]) -> list[int]:
    return [at for at, row in enumerate(rows) if at == 0 or row.method != rows[at - 1].method]
