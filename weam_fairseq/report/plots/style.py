"""What all plots share: the interface of a plot, colours and markers, the legend, and SVG.

A plot's file holds its numbers, which go to plots.json, and its drawing. To add a plot to the report of a study, write
such a file, and add a line to `content.PLOTS` and a line to templates/study.html.j2.

The colours of the methods are Okabe and Ito's, which colour-blind readers tell apart. Line styles and markers tell the
methods apart in grey print too. Gains are blue and losses orange.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Self, TypeVar

from weam_fairseq.report.positions import ModelPosition, Positions, StudySetting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 10.4  # inches, as wide as the page
INK, PAPER, SOFT = "#1d2127", "#ffffff", "#777777"
GAIN, LOSS = "#0b5fa5", "#b35806"
TASKS_IN_A_FIGURE = 4
_IN_A_LEGEND_ROW = 6

RC: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "svg.fonttype": "path",  # letters as outlines: no font is looked up where the page is opened
    "text.parse_math": False,  # a name with two dollar signs must not become a formula
    "svg.hashsalt": "weam",  # the same data give the same bytes
}


class Look(NamedTuple):
    colour: str
    line: Any
    marker: str


LOOKS = {
    "base": Look("#000000", "-", "x"),
    "mlm": Look("#56B4E9", (0, (5, 1.5)), "^"),
    "tlm": Look("#009E73", "--", "s"),
    "weam": Look("#D55E00", "-", "o"),
    "shuffled": Look("#CC79A7", ":", "D"),
    "identity": Look("#0072B2", "-.", "v"),
    "sentence": Look("#E69F00", "-", "P"),
    "stranger": Look("#7F7F7F", (0, (1, 1.5)), "*"),
}
_OTHERS = (  # no marker of LOOKS again
    Look("#0072B2", "--", "p"),
    Look("#E69F00", ":", "X"),
    Look("#000000", ":", "h"),
    Look("#56B4E9", "--", "<"),
    Look("#009E73", "-", "H"),
    Look("#CC79A7", "-.", "8"),
    Look("#D55E00", ":", ">"),
    Look("#F0E442", "-", "d"),
)


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """Different looks for up to eight names that LOOKS does not have; then colours repeat before markers do."""
    unknown = [name for name in dict.fromkeys(names) if name not in LOOKS]
    return {**LOOKS, **{name: _OTHERS[number % len(_OTHERS)] for number, name in enumerate(unknown)}}


class Palette(NamedTuple):
    """`looks`: by method. `baseline`: the method whose gain is 0."""

    looks: dict[str, Look]
    baseline: str


class Plot(ABC):
    """One plot: a dataclass of the numbers that go to plots.json, and how they are drawn."""

    meaning = ""  # a sentence for the caption, before the template's own

    @property
    @abstractmethod
    def caption(self) -> str:
        """The start of the caption."""

    def parts(self) -> Iterator[Self]:
        """The figures that this plot is drawn as, each with room on a printed page."""
        yield self

    @abstractmethod
    def draw(self, palette: Palette, name: str) -> str:
        """An `<svg>` element; its ids start with `name`."""


class PanelPlot(Plot):
    """A plot with `panels`, drawn as several figures if it has more than `most_panels`."""

    panels: list[Any]
    most_panels: ClassVar[int]

    def parts(self) -> Iterator[Self]:
        this: Any = self
        for start in range(0, len(self.panels), self.most_panels):
            yield replace(this, panels=self.panels[start : start + self.most_panels])


SomePlot = TypeVar("SomePlot", bound=Plot)
SomePoint = TypeVar("SomePoint")


@dataclass(frozen=True)
class MethodLine(Generic[SomePoint]):
    method: str
    points: list[SomePoint]


def lines_of_methods(
    positions: Positions,
    settings: Iterable[StudySetting],
    point_of: Callable[[ModelPosition], SomePoint | None],
    order: Callable[[SomePoint], float],
) -> list[MethodLine[SomePoint]]:
    """A line for each method; models without a point are left out."""
    lines = []
    for method, models in positions.by_method(settings).items():
        points = [point for each in models if (point := point_of(each)) is not None]
        if points:
            lines.append(MethodLine(method, sorted(points, key=order)))
    return lines


@dataclass(frozen=True)
class Plots(Generic[SomePlot]):
    """All plots of one kind. `left_out`: sentences on missing plots of this kind, and why they are missing."""

    plots: list[SomePlot]
    left_out: list[str]

    def figures(self) -> Iterator[SomePlot]:
        for plot in self.plots:
            yield from plot.parts()


def plots_of_families(
    settings: Iterable[StudySetting],
    name_of: Callable[[StudySetting], str],
    plot_of: Callable[[str, list[StudySetting]], SomePlot | str],
) -> Plots[SomePlot]:
    """One plot for all settings with the same name. `plot_of` returns the plot, or the reason why it is missing."""
    families: dict[str, list[StudySetting]] = {}
    for setting in settings:
        families.setdefault(name_of(setting), []).append(setting)
    plots: list[SomePlot] = []
    left_out: dict[str, list[str]] = {}
    for name, family in families.items():
        found = plot_of(name, family)
        if isinstance(found, str):
            left_out.setdefault(found, []).append(name)
        else:
            plots.append(found)
    return Plots(plots, [f"No plot for {', '.join(names)}: {reason}" for reason, names in left_out.items()])


class Canvas(NamedTuple):
    """`axes` are row by row."""

    figure: Figure
    axes: list[Axes]


@contextmanager
def canvas(
    height: float, rows: int, columns: int, *, settings: Mapping[str, Any] | None = None, **shared: Any
) -> Iterator[Canvas]:
    """An empty figure with rows × columns panels; `shared` are options of matplotlib's `subplots`."""
    import matplotlib
    from matplotlib.figure import Figure

    options: dict[Any, Any] = {**RC, **(settings or {})}
    with matplotlib.rc_context(options):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield Canvas(figure, list(figure.subplots(rows, columns, squeeze=False, **shared).flatten()))


def draw_line(
    axis: Axes,
    look: Look,
    order: int,
    places: Sequence[float],
    values: Sequence[float],
    bounds: Iterable[tuple[float | None, float | None]],
    *,
    joined: bool,
    full: Sequence[bool] | None = None,
) -> None:
    """Draws a method's markers and intervals; `full`: which markers are filled (default: all)."""
    if joined:
        axis.plot(places, values, color=look.colour, linestyle=look.line, linewidth=1.3, zorder=order)
    for number, (x, y, (low, high)) in enumerate(zip(places, values, bounds, strict=True)):
        face = look.colour if full is None or full[number] else PAPER
        marker: dict[str, Any] = {"marker": look.marker, "markersize": 6, "markerfacecolor": face}
        if low is not None and high is not None:
            axis.vlines(x, low, high, color=look.colour, linewidth=1.3, zorder=order)
        axis.plot(x, y, color=look.colour, markeredgewidth=1.3, zorder=order + 0.5, **marker)


def method_handles(panels: Iterable[Any], palette: Palette) -> dict[str, Any]:
    """Legend entries for the methods of the panels' lines."""
    from matplotlib.lines import Line2D

    looks = {line.method: palette.looks[line.method] for panel in panels for line in panel.lines}
    return {
        method: Line2D([], [], color=look.colour, linestyle=look.line, marker=look.marker)
        for method, look in looks.items()
    }


def labelled(axes: Iterable[Axes]) -> dict[str, Any]:
    """Legend entries for everything that was drawn with a label, each once."""
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    return handles


def add_legend(figure: Figure, handles: Mapping[str, Any]) -> None:
    """One legend for all panels, above them, in rows of similar length."""
    if not handles:
        return
    rows = -(-len(handles) // _IN_A_LEGEND_ROW)
    columns = -(-len(handles) // rows)
    place: dict[str, Any] = {"loc": "outside upper left", "ncols": columns, "frameon": False, "handlelength": 3.2}
    figure.legend(handles.values(), handles.keys(), **place)


def to_svg(figure: Figure, name: str) -> str:
    """Without the XML head and the metadata, which contain network addresses; ids are unique in the page."""
    file = StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    return re.sub(r"url\(#", f"url(#{name}-", svg)
