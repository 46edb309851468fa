"""A study's tables as plain rows; HTML, Markdown and text only draw them."""

from __future__ import annotations

from collections.abc import Sequence

from weam_fairseq.report.figures import AVERAGE, Figure
from weam_fairseq.report.gains import AVERAGES, SEEN, UNSEEN, Gain, TaskGains
from weam_fairseq.report.growth import Growth
from weam_fairseq.report.score_table import CellRow, CellTable, interval_text, p_text, plain_table, signed
from weam_fairseq.report.study_folder import Study
from weam_fairseq.report.study_settings import Place, Places, joined
from weam_fairseq.report.table import MISSING, Cell

_WHERE = ["pairs", "architecture"]
_BOTH = ["gain", "95 % over items", "p over items", "95 % over seeds", "seeds in common"]


def summary_table(tasks: Sequence[TaskGains], places: Places) -> CellTable:
    """Every compared model's gain in every task, over all languages."""
    rows = [
        CellRow(_named(place), [*_where(place), *(_gain(task.gain(place.model, AVERAGE)) for task in tasks)])
        for place in places.compared
    ]
    return CellTable(["gain", *_WHERE, *(task.title for task in tasks)], rows)


def task_table(task: TaskGains, places: Places) -> CellTable:
    """Every model's figure and gain over all languages, with both intervals."""
    rows = []
    for place in _measured(task, places, AVERAGE):
        measured = task.cells[place.model, AVERAGE]
        gain = measured.gain
        cells = [
            *_where(place),
            Cell(str(len(measured.figure.values))),
            Cell(_figure(measured.figure)),
            Cell(MISSING if gain is None else signed(gain.value), bool(gain and gain.clear)),
            Cell(interval_text(gain.items) if gain else MISSING),
            Cell(_p(gain)),
            Cell(interval_text(gain.seeds) if gain else MISSING),
        ]
        rows.append(CellRow(_named(place), cells))
    head = ["", *_WHERE, "seeds", "score", "gain", "95 % over items", "p", "95 % over seeds"]
    return CellTable(head, rows)


def seen_table(task: TaskGains, places: Places) -> CellTable:
    """Figures and gains over the languages of the training pairs, and over the others; in brackets how many."""
    rows = []
    for place in places.of.values():
        cells = []
        for name in (SEEN, UNSEEN):
            measured = task.cells.get((place.model, name))
            if measured is None:
                cells += [Cell(MISSING), Cell(MISSING)]
            else:
                figure = f"{_figure(measured.figure)} ({len(measured.over)})"
                cells += [Cell(figure, note=", ".join(measured.over)), _gain(measured.gain)]
        if any(cell.text != MISSING for cell in cells):
            rows.append(CellRow(_named(place), [*_where(place), *cells]))
    head = [f"{name}: {part}" for name in (SEEN, UNSEEN) for part in ("score (languages)", "gain")]
    return CellTable(["", *_WHERE, *head], rows)


def language_table(task: TaskGains, places: Places) -> CellTable:
    """Every model's figure in every language; a dot marks a language that its training pairs hold."""
    rows = []
    for place in places.of.values():
        cells = []
        for language in task.languages:
            measured = task.cells.get((place.model, language))
            dot = " •" if place.setting.has_seen(language) else ""
            cells.append(Cell(_figure(measured.figure) + dot if measured else MISSING))
        if any(cell.text != MISSING for cell in cells):
            rows.append(CellRow(_named(place), [*_where(place), *cells]))
    return CellTable(["", *_WHERE, *task.languages], rows)


def interval_table(task: TaskGains, places: Places, languages: bool) -> CellTable:
    """Every gain with both intervals, to two decimals; the averages only, or each language as well."""
    rows = []
    for place in places.compared:
        for name in [*AVERAGES, *(task.languages if languages else [])]:
            gain = task.gain(place.model, name)
            if gain is None:
                continue
            what = "all" if name == AVERAGE else name
            rows.append(CellRow(f"{place.method}, {place.setting.name}: {what}", _both(gain)))
    return CellTable(["", *_BOTH], rows)


def growth_table(growths: Sequence[Growth], tasks: Sequence[TaskGains]) -> CellTable:
    """How much larger gains are with more pairs, or in a larger architecture."""
    rows = [
        CellRow(f"{growth.method}, {growth.what}", [_gain(growth.gains.get(task.title)) for task in tasks])
        for growth in growths
    ]
    return CellTable(["gain minus gain", *(task.title for task in tasks)], rows)


def growth_intervals(growths: Sequence[Growth]) -> CellTable:
    """The same with both intervals, to two decimals, a row a task."""
    rows = [
        CellRow(f"{growth.method}, {growth.what}: {title}", _both(gain))
        for growth in growths
        for title, gain in growth.gains.items()
    ]
    return CellTable(["", *_BOTH], rows)


def cell_table(study: Study, places: Places) -> CellTable:
    """What is finished: a row a model, with its seeds and the number of its scores."""
    rows = []
    for place in places.of.values():
        cells = study.of_model(place.model)
        scores = sum(entry.score.model == place.model for entry in study.scores.entries)
        seeds = ", ".join(str(cell.seed) for cell in cells)
        facts = [place.method, place.setting.name, cells[0].group, seeds, str(scores)]
        rows.append(CellRow(place.model, [Cell(each) for each in facts]))
    return CellTable(["model", "method", "setting", "group", "seeds", "scores"], rows)


def pairs_table(places: Places) -> CellTable:
    """The pairs behind each name of a set of pairs."""
    sets = {setting.pairs_name: ", ".join(setting.pairs) for setting in places.settings if setting.pairs}
    return plain_table(["pairs", ""], sets.items())


def _measured(task: TaskGains, places: Places, language: str) -> list[Place]:
    return [place for place in places.of.values() if (place.model, language) in task.cells]


def _named(place: Place) -> str:
    """The method, and what is unusual about its setting."""
    return joined(place.method, place.setting.options)


def _where(place: Place) -> list[Cell]:
    """`3 b` for the second set of 3 pairs."""
    setting = place.setting
    letter = setting.pairs_name.rpartition(" ")[2]
    return [Cell(f"{len(setting.pairs)} {letter}".removesuffix(" pairs").removesuffix(" pair")), Cell(setting.arch)]


def _figure(figure: Figure) -> str:
    return f"{figure.mean:.1f}" if figure.sd is None else f"{figure.mean:.1f} ± {figure.sd:.1f}"


def _gain(gain: Gain | None) -> Cell:
    """With one interval, marked `s` where it is over seeds."""
    if gain is None:
        return Cell(MISSING)
    if gain.interval is None:
        return Cell(signed(gain.value), note="no interval: one seed, and no items")
    text = f"{signed(gain.value)} {interval_text(gain.interval)}"
    note = f"95 % over {gain.over}" + (f", p {_p(gain)}" if gain.items else "")
    return Cell(text if gain.items else f"{text} s", gain.clear, note)


def _both(gain: Gain) -> list[Cell]:
    return [
        Cell(signed(gain.value, 2), gain.clear),
        Cell(interval_text(gain.items, 2)),
        Cell(_p(gain)),
        Cell(interval_text(gain.seeds, 2)),
        Cell(str(len(gain.by_seed))),
    ]


def _p(gain: Gain | None) -> str:
    return p_text(gain.items if gain else None)
