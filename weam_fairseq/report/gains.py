"""How much better each model of a study is than the baseline of its setting: by language, and averaged over all
languages, over those that its training pairs hold (seen), and over the others (unseen).

All figures, differences and intervals are comparison.compare's, which is asked once for each setting and average. A
gain is a difference turned so that above 0 is better, for error rates as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from weam_fairseq.report.bootstrap import Interval
from weam_fairseq.report.comparison import Comparison, compare
from weam_fairseq.report.figures import AVERAGE, Difference, Figure, TaskTable
from weam_fairseq.report.groups import Group, group_scores
from weam_fairseq.report.score_files import Entry, ScoreSet
from weam_fairseq.report.score_table import summary_row
from weam_fairseq.report.study_folder import Study
from weam_fairseq.report.study_settings import Places, Setting

SEEN, UNSEEN = "seen", "unseen"
AVERAGES = (AVERAGE, SEEN, UNSEEN)

TURNED = "Gains are points less than the baseline's: above 0 is better, as for every other task."

# All languages that every model has, those of them that are seen, the others.
Averaged = dict[str, dict[Group, TaskTable]]


class Gain(NamedTuple):
    """Points better than the baseline.

    Attributes:
        items: the interval over drawn items; None where item files are missing.
        seeds: Student's interval over runs of the same seed; None for fewer than two.
        by_seed: the gain of each seed that both have.
        clear: whether every interval there is leaves 0 out.
    """

    value: float
    items: Interval | None
    seeds: Interval | None
    by_seed: dict[int, float]
    clear: bool

    @property
    def interval(self) -> Interval | None:
        """The one to show: over items where they are there, else over seeds."""
        return self.items or self.seeds

    @property
    def over(self) -> str:
        return "items" if self.items else "seeds" if self.seeds else ""


class Measured(NamedTuple):
    """A model's figure in one language or on average; `over` names the languages that it is the mean of."""

    figure: Figure
    gain: Gain | None
    over: tuple[str, ...]


@dataclass(frozen=True)
class TaskGains:
    """One task and metric.

    Attributes:
        common: the languages that all models have: AVERAGE goes over them.
        cells: by model and language, or model and one of AVERAGES.
        notes: what a reader must know about these figures, in sentences.
    """

    title: str
    group: Group
    languages: list[str]
    common: list[str]
    lower_is_better: bool
    cells: dict[tuple[str, str], Measured]
    notes: list[str]

    def gain(self, model: str, language: str) -> Gain | None:
        cell = self.cells.get((model, language))
        return cell.gain if cell else None


def measure_gains(
    study: Study, places: Places, metrics: Sequence[str], resamples: int, draw_seed: int
) -> list[TaskGains]:
    """All tasks, in the order of their first scores.

    Args:
        metrics: those to show; empty is all.

    Raises:
        InputError: a metric is unknown, or scores cannot be compared.
    """
    # Which tasks there are, what their languages are and whether all may be compared: for this no items are drawn.
    whole = compare(_without_items(study.scores), None, metrics)
    entries = [entry for entry in study.scores.entries if not metrics or entry.score.metric in metrics]
    everywhere = _everywhere(entries, whole)
    by_setting: dict[Setting, Averaged] = {}
    for setting in places.settings:
        names = {place.model for place in places.within(setting)}
        here = [entry for entry in entries if entry.score.model in names]
        slices = {
            AVERAGE: [entry for entry in here if entry.where in everywhere],
            SEEN: [entry for entry in here if setting.has_seen(entry.score.language)],
            UNSEEN: [entry for entry in here if not setting.has_seen(entry.score.language)],
        }
        baseline = places.baselines.get(setting)
        by_setting[setting] = {
            name: _tables(rows, study, baseline, resamples, draw_seed) for name, rows in slices.items()
        }
    return [_task(table, whole, places, by_setting) for table in whole.tables]


def _without_items(scores: ScoreSet) -> ScoreSet:
    entries = [replace(entry, score=replace(entry.score, detail={})) for entry in scores.entries]
    return ScoreSet(entries, scores.files, scores.repeated)


def _everywhere(entries: Sequence[Entry], whole: Comparison) -> set[str]:
    """Where the scores stand whose languages all models of the task have."""
    common = {table.group: set(table.common) for table in whole.tables}
    groups = group_scores(entries)
    return {entry.where for group, rows in groups.items() for entry in rows if entry.score.language in common[group]}


def _tables(
    rows: list[Entry], study: Study, baseline: str | None, resamples: int, draw_seed: int
) -> dict[Group, TaskTable]:
    scores = ScoreSet(rows, study.scores.files, 0)
    if not rows:
        return {}
    chosen = baseline if baseline in scores.models else None
    return {table.group: table for table in compare(scores, chosen, (), resamples, draw_seed).tables}


def _task(table: TaskTable, whole: Comparison, places: Places, by_setting: dict[Setting, Averaged]) -> TaskGains:
    cells: dict[tuple[str, str], Measured] = {}
    notes: dict[Setting, list[str]] = {}
    for setting, averaged in by_setting.items():
        baseline = places.baselines.get(setting)
        for name in AVERAGES:
            part = averaged[name].get(table.group)
            if part is None:
                continue
            if name == AVERAGE:
                notes[setting] = part.notes
            else:
                cells |= _cells(part, baseline, {language: language for language in part.languages})
            if row := summary_row(part):
                cells |= _cells(part, baseline, {row: name})
    return TaskGains(
        title=table.title,
        group=table.group,
        languages=table.languages,
        common=table.common,
        lower_is_better=table.lower_is_better,
        cells=cells,
        notes=[*_together(notes, places), *[TURNED] * table.lower_is_better, *_on_gaps(table)],
    )


def _cells(table: TaskTable, baseline: str | None, named: dict[str, str]) -> dict[tuple[str, str], Measured]:
    """The table's rows under the names that they have in the study."""
    cells = {}
    for model in table.models:
        for row, name in named.items():
            if figure := table.figures.get((model, row)):
                difference = table.differences.get((model, row)) if table.baseline == baseline else None
                over = tuple(table.common) if row == AVERAGE else (row,)
                gain = (
                    None if difference is None or baseline is None else _gain(table, difference, model, baseline, row)
                )
                cells[model, name] = Measured(figure, gain, over)
    return cells


def _gain(table: TaskTable, difference: Difference, model: str, baseline: str, row: str) -> Gain:
    sign = -1.0 if table.lower_is_better else 1.0
    one, other = table.figures[model, row].values, table.figures[baseline, row].values
    return Gain(
        value=sign * difference.value,
        items=_turned(difference.items, sign),
        seeds=_turned(difference.seeds, sign),
        by_seed={seed: sign * (one[seed] - other[seed]) for seed in one if seed in other},
        clear=difference.clear,
    )


def _turned(interval: Interval | None, sign: float) -> Interval | None:
    if interval is None or sign > 0:
        return interval
    return Interval(-interval.high, -interval.low, interval.p)


def _together(notes: dict[Setting, list[str]], places: Places) -> list[str]:
    """What holds for every setting with a baseline stands alone, the rest after the names of its settings."""
    settings: dict[str, list[Setting]] = {}
    for setting, each in notes.items():
        for note in each:
            settings.setdefault(note, []).append(setting)
    compared = {setting for setting in notes if setting in places.baselines}
    return [
        note if compared <= set(where) else f"{'; '.join(setting.name for setting in where)}: {note}"
        for note, where in settings.items()
    ]


def _on_gaps(table: TaskTable) -> list[str]:
    """The average is the same for all settings, so it goes over what all of them have."""
    notes = [f"{model} has no score for {', '.join(gaps)}." for model, gaps in table.missing.items()]
    if notes and len(table.common) > 1:
        notes.append(f"Averages over all languages go over those that all models have: {', '.join(table.common)}.")
    elif notes:
        notes.append("No two languages are there for all models, so there is no average over all languages.")
    return notes
