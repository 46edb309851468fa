"""What the plots of a study show, as plain numbers: drawn in the page, and written to plots.json.

Where too little is there for a plot, a sentence stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from weam_fairseq.report.figures import AVERAGE
from weam_fairseq.report.gains import AVERAGES, SEEN, UNSEEN, Gain, TaskGains
from weam_fairseq.report.study_costs import mean_cost
from weam_fairseq.report.study_folder import Study
from weam_fairseq.report.study_settings import Place, Places, Setting, joined

_TASKS_IN_A_FIGURE = 4

Plot = TypeVar("Plot")
Figure = TypeVar("Figure", "GainPlot", "CostPlot")


@dataclass(frozen=True)
class Plots(Generic[Plot]):
    """Plots of one kind, and in sentences which others of the kind are not there."""

    plots: list[Plot]
    left_out: list[str]


@dataclass(frozen=True)
class GainPoint:
    """A gain in points with its 95 % interval `over` items, or else seeds; `clear`: every interval leaves 0 out."""

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
class GainLine:
    method: str
    points: list[GainPoint]


@dataclass(frozen=True)
class GainPanel:
    """`average`: over all languages, the seen or the unseen ones."""

    task: str
    average: str
    lines: list[GainLine]


@dataclass(frozen=True)
class GainPlot:
    """Gains against the number of pairs, for one architecture; three panels a task, one for each average."""

    setting: str
    panels: list[GainPanel]


@dataclass(frozen=True)
class CostPoint:
    """A score, its standard deviation over seeds, and what the model took, its base's training included."""

    model: str
    arch: str
    parameters: float | None
    seconds: float | None
    pieces: float | None
    score: float
    sd: float | None
    seeds: dict[int, float]


@dataclass(frozen=True)
class CostLine:
    method: str
    points: list[CostPoint]


@dataclass(frozen=True)
class CostPanel:
    task: str
    lower_is_better: bool
    lines: list[CostLine]


@dataclass(frozen=True)
class CostPlot:
    """Scores against parameters, seconds and pieces, for one set of pairs; a panel a task."""

    setting: str
    panels: list[CostPanel]


@dataclass(frozen=True)
class MapCell:
    """`seen`: a training pair holds the language; None for averages. `gain` is None where there is none."""

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
class GainMap:
    """One task's gains by language: `columns` are its languages and then the averages."""

    task: str
    columns: list[str]
    rows: list[MapRow]


def gain_plots(tasks: Sequence[TaskGains], places: Places) -> Plots[GainPlot]:
    """One for each architecture (and unusual options) that has two or more numbers of pairs beside a baseline."""
    plots: list[GainPlot] = []
    left_out: dict[str, list[str]] = {}
    settings = [setting for setting in places.settings if setting.pairs and setting in places.baselines]
    for name, family in _families(settings, lambda setting: joined(setting.arch, setting.options)).items():
        counts = sorted({len(setting.pairs) for setting in family})
        if len(counts) < 2:
            there = "1 pair alone is" if counts[0] == 1 else f"{counts[0]} pairs alone are"
            left_out.setdefault(f"{there} there.", []).append(name)
            continue
        panels = [
            GainPanel(task.title, average, _gain_lines(task, average, family, places))
            for task in tasks
            for average in AVERAGES
        ]
        if any(panel.lines for panel in panels):
            plots.append(GainPlot(name, panels))
        else:
            left_out.setdefault("no method is there beside the baseline.", []).append(name)
    return Plots(plots, _sentences(left_out))


def cost_plots(tasks: Sequence[TaskGains], places: Places, study: Study) -> Plots[CostPlot]:
    """One for each set of pairs (and unusual options) that has two or more architectures."""
    plots: list[CostPlot] = []
    left_out: dict[str, list[str]] = {}
    settings = [setting for setting in places.settings if setting.pairs]
    for name, family in _families(settings, lambda setting: joined(setting.pairs_name, setting.options)).items():
        archs = list(dict.fromkeys(setting.arch for setting in family))
        if len(archs) < 2:
            left_out.setdefault(f"{archs[0]} alone is there.", []).append(name)
            continue
        # Base models that were evaluated as they are belong to every plot of their architecture.
        bases = [each for each in places.settings if not each.pairs and each.arch in archs]
        panels = [
            CostPanel(task.title, task.lower_is_better, _cost_lines(task, [*bases, *family], places, study))
            for task in tasks
        ]
        plots.append(CostPlot(name, [panel for panel in panels if panel.lines]))
    return Plots(plots, _sentences(left_out))


def gain_maps(tasks: Sequence[TaskGains], places: Places) -> Plots[GainMap]:
    """One a task."""
    plots, left_out = [], []
    for task in tasks:
        averages = [name for name in AVERAGES if len(task.languages) > 1 and _any_gain(task, places, name)]
        columns = [*task.languages, *averages]
        rows = [
            MapRow(place.method, place.setting.name, [_map_cell(task, place, name) for name in columns])
            for place in sorted(places.compared, key=lambda place: places.methods.index(place.method))
            if any(task.gain(place.model, name) for name in columns)
        ]
        if rows:
            plots.append(GainMap(task.title, columns, rows))
        else:
            left_out.append(f"No map for {task.title}: there is no gain.")
    return Plots(plots, left_out)


def in_parts(plots: Sequence[Figure], panels_a_task: int) -> Iterator[Figure]:
    """The same plots in parts of a few tasks, so that each has room on a printed page."""
    size = _TASKS_IN_A_FIGURE * panels_a_task
    for plot in plots:
        for start in range(0, len(plot.panels), size):
            yield replace(plot, panels=plot.panels[start : start + size])


def _families(settings: Iterable[Setting], name_of: Callable[[Setting], str]) -> dict[str, list[Setting]]:
    families: dict[str, list[Setting]] = {}
    for setting in settings:
        families.setdefault(name_of(setting), []).append(setting)
    return families


def _sentences(left_out: dict[str, list[str]]) -> list[str]:
    """`left_out`: what has no plot, by the reason."""
    return [f"No plot for {', '.join(names)}: {reason}" for reason, names in left_out.items()]


def _by_method(family: Sequence[Setting], places: Places) -> dict[str, list[Place]]:
    return {
        method: found
        for method in places.methods
        if (found := [place for setting in family for place in places.within(setting) if place.method == method])
    }


def _gain_lines(task: TaskGains, average: str, family: Sequence[Setting], places: Places) -> list[GainLine]:
    lines = []
    for method, models in _by_method(family, places).items():
        points = [
            _gain_point(place, gain, len(task.cells[place.model, average].over))
            for place in models
            if (gain := task.gain(place.model, average))
        ]
        if points:
            lines.append(GainLine(method, sorted(points, key=lambda point: point.pairs)))
    return lines


def _gain_point(place: Place, gain: Gain, languages: int) -> GainPoint:
    low, high = (gain.interval.low, gain.interval.high) if gain.interval else (None, None)
    pairs = len(place.setting.pairs)
    return GainPoint(place.model, pairs, gain.value, low, high, gain.over, gain.clear, gain.by_seed, languages)


def _cost_lines(task: TaskGains, settings: Sequence[Setting], places: Places, study: Study) -> list[CostLine]:
    lines = []
    for method, models in _by_method(settings, places).items():
        points = [_cost_point(task, place, study) for place in models if (place.model, AVERAGE) in task.cells]
        if points:
            lines.append(CostLine(method, sorted(points, key=lambda point: point.parameters or 0.0)))
    return lines


def _cost_point(task: TaskGains, place: Place, study: Study) -> CostPoint:
    cost = mean_cost(study.of_model(place.model))
    figure = task.cells[place.model, AVERAGE].figure
    return CostPoint(
        model=place.model,
        arch=place.setting.arch,
        parameters=cost.parameters,
        seconds=_sum(cost.seconds, cost.base_seconds),
        pieces=_sum(cost.pieces, cost.base_pieces),
        score=figure.mean,
        sd=figure.sd,
        seeds=figure.values,
    )


def _sum(own: float | None, base: float | None) -> float | None:
    return None if own is None or base is None else own + base


def _any_gain(task: TaskGains, places: Places, name: str) -> bool:
    return any(task.gain(place.model, name) for place in places.compared)


def _map_cell(task: TaskGains, place: Place, language: str) -> MapCell:
    gain = task.gain(place.model, language)
    seen = None if language in (AVERAGE, SEEN, UNSEEN) else place.setting.has_seen(language)
    return MapCell(language, gain.value if gain else None, bool(gain and gain.clear), seen)
