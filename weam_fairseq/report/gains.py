"""How much better each model of a study is than the baseline of its setting, and whether this gain grows.

Gains are measured by language, and averaged over all languages, over those that the model's training pairs contain
(seen) and over the others (unseen). All scores, differences and intervals come from `comparison.compare`, called once
for each setting and average. A gain is a difference whose sign makes above 0 better, for error rates too.

Growth is a method's gain with the most pairs minus its gain with the fewest, and its gain in the largest architecture
minus that in the smallest. Two gains that both exclude 0 do not show which is larger, and the intervals of two gains on
the same items may overlap although their difference excludes 0. So the difference of the gains is resampled itself,
with all four models on the same items.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import NamedTuple

from weam_fairseq.evaluation.bootstrap import Difference, Interval, item_interval, seed_interval
from weam_fairseq.evaluation.items import resample_items
from weam_fairseq.evaluation.scores import Entry
from weam_fairseq.report.comparison import Comparison, compare
from weam_fairseq.report.groups import Group, group_scores
from weam_fairseq.report.positions import BASE, ModelPosition, Positions, StudySetting, joined
from weam_fairseq.report.score_files import ScoreSet
from weam_fairseq.report.study_folder import Study
from weam_fairseq.report.task_table import AVERAGE, MeanScore, TaskTable

SEEN, UNSEEN = "seen", "unseen"
AVERAGES = (AVERAGE, SEEN, UNSEEN)

# Results without a model in a score's detail: the name of a row, and the detail's key.
BOUNDS = {"shared pieces alone": "shared_pieces", "unigram bound": "unigram_bound"}

TURNED = "Gains are points below the baseline, so above 0 is better, as for every other task."

# By AVERAGES: the tables over the languages that every model has, over the seen and over the unseen ones.
Averaged = dict[str, dict[Group, TaskTable]]


class ScoreAndGain(NamedTuple):
    """A model's score in one language or on average; `over` names the languages that it is the mean of."""

    score: MeanScore
    gain: Difference | None
    over: tuple[str, ...]


@dataclass(frozen=True)
class TaskGains:
    """One task and metric.

    Attributes:
        common: the languages for which all models have scores. AVERAGE is over them.
        cells: by model and language, or model and one of AVERAGES.
        notes: sentences that a reader of these scores needs.
        bounds: by name and language, what is reached without a model: the highest that any score's detail names.
    """

    title: str
    group: Group
    languages: list[str]
    common: list[str]
    lower_is_better: bool
    cells: dict[tuple[str, str], ScoreAndGain]
    notes: list[str]
    bounds: dict[str, dict[str, float]] = field(default_factory=dict)

    def gain(self, model: str, language: str) -> Difference | None:
        cell = self.cells.get((model, language))
        return cell.gain if cell else None


@dataclass(frozen=True)
class Results:
    """A study's comparisons, from which its plots are made."""

    study: Study
    positions: Positions
    tasks: list[TaskGains]


def measure_gains(
    study: Study, positions: Positions, metrics: Sequence[str], resamples: int, draw_seed: int
) -> list[TaskGains]:
    """All tasks, in the order of their first scores.

    Args:
        metrics: those to show; empty is all.

    Raises:
        InputError: a metric is unknown, or scores cannot be compared.
    """
    # This step needs no items: tasks, their languages, and whether all scores may be compared.
    overview = compare(_without_items(study.scores), None, metrics)
    entries = [entry for entry in study.scores.entries if not metrics or entry.score.metric in metrics]
    everywhere = _everywhere(entries, overview)
    by_setting: dict[StudySetting, Averaged] = {}
    for setting in positions.settings:
        names = {position.model for position in positions.within(setting)} | {positions.baselines.get(setting)}
        here = [entry for entry in entries if entry.score.model in names]
        slices = {
            AVERAGE: [entry for entry in here if entry.where in everywhere],
            SEEN: [entry for entry in here if setting.has_seen(entry.score.language)],
            UNSEEN: [entry for entry in here if not setting.has_seen(entry.score.language)],
        }
        baseline = positions.baselines.get(setting)
        by_setting[setting] = {
            name: _tables(rows, study, baseline, resamples, draw_seed) for name, rows in slices.items()
        }
    groups = group_scores(entries)
    return [_task(table, positions, by_setting, groups[table.group]) for table in overview.tables]


def _without_items(scores: ScoreSet) -> ScoreSet:
    entries = [replace(entry, score=replace(entry.score, detail={})) for entry in scores.entries]
    return ScoreSet(entries, scores.files, scores.repeated)


def _everywhere(entries: Sequence[Entry], overview: Comparison) -> set[str]:
    """The places (`Entry.where`) of the scores whose languages all models of the task have."""
    common = {table.group: set(table.common) for table in overview.tables}
    groups = group_scores(entries)
    return {entry.where for group, rows in groups.items() for entry in rows if entry.score.language in common[group]}


def _tables(
    rows: list[Entry], study: Study, baseline: str | None, resamples: int, draw_seed: int
) -> dict[Group, TaskTable]:
    scores = ScoreSet(rows, study.scores.files, 0)
    if not rows:
        return {}
    chosen = baseline if baseline in scores.models else None
    single = is_single_base(study, chosen)
    compared = compare(scores, chosen, (), resamples, draw_seed, single, differences=chosen is not None)
    return {table.group: table for table in compared.tables}


def is_single_base(study: Study, model: str | None) -> bool:
    """Whether a model is one base of models with several seeds: a published encoder, or one that was trained once."""
    return [cell.objective for cell in study.cells if cell.model == model] == [BASE]


def _task(
    table: TaskTable, positions: Positions, by_setting: dict[StudySetting, Averaged], entries: Sequence[Entry]
) -> TaskGains:
    cells: dict[tuple[str, str], ScoreAndGain] = {}
    notes: dict[StudySetting, list[str]] = {}
    for setting, averaged in by_setting.items():
        baseline = positions.baselines.get(setting)
        for name in AVERAGES:
            part = averaged[name].get(table.group)
            if part is None:
                continue
            if name == AVERAGE:
                notes[setting] = part.notes
            else:
                cells |= _cells(part, baseline, {language: language for language in part.languages})
            if row := part.summary_row:
                cells |= _cells(part, baseline, {row: name})
    return TaskGains(
        title=table.title,
        group=table.group,
        languages=table.languages,
        common=table.common,
        lower_is_better=table.lower_is_better,
        cells=cells,
        notes=[*_together(notes, positions), *[TURNED] * table.lower_is_better, *_on_gaps(table)],
        bounds=_bounds(entries),
    )


def _bounds(entries: Sequence[Entry]) -> dict[str, dict[str, float]]:
    """The highest of the details. They differ if the models' vocabularies differ."""
    bounds: dict[str, dict[str, float]] = {}
    for entry in entries:
        for name, key in BOUNDS.items():
            if isinstance(value := entry.score.detail.get(key), int | float):
                highest = bounds.setdefault(name, {})
                highest[entry.score.language] = max(value, highest.get(entry.score.language, value))
    return bounds


def _cells(table: TaskTable, baseline: str | None, named: dict[str, str]) -> dict[tuple[str, str], ScoreAndGain]:
    """The table's cells; `named` maps its rows to their names in the study."""
    cells = {}
    for model in table.models:
        for row, name in named.items():
            if score := table.scores.get((model, row)):
                difference = table.differences.get((model, row)) if table.baseline == baseline else None
                over = tuple(table.common) if row == AVERAGE else (row,)
                gain = difference.turned() if difference and table.lower_is_better else difference
                cells[model, name] = ScoreAndGain(score, gain, over)
    return cells


def _together(notes: dict[StudySetting, list[str]], positions: Positions) -> list[str]:
    """Each note once. Names the settings of a note that does not hold for all settings with a baseline."""
    settings: dict[str, list[StudySetting]] = {}
    for setting, each in notes.items():
        for note in each:
            settings.setdefault(note, []).append(setting)
    compared = {setting for setting in notes if setting in positions.baselines}
    return [
        note if compared <= set(where) else f"{'; '.join(setting.name for setting in where)}: {note}"
        for note, where in settings.items()
    ]


def _on_gaps(table: TaskTable) -> list[str]:
    """The average is over the same languages in all settings: those that all models have."""
    notes = [f"{model} has no score for {', '.join(gaps)}." for model, gaps in table.missing.items()]
    if notes and len(table.common) > 1:
        notes.append(f"Averages over all languages are over those that all models have: {', '.join(table.common)}.")
    elif notes:
        notes.append("All models share fewer than two languages, so there is no average over all languages.")
    return notes


# What both ends share, how an end is named, and what must differ (two sets with the same number of pairs do not).
_KINDS: list[tuple[Callable[[StudySetting], str], Callable[[StudySetting], str], Callable[[StudySetting], object]]] = [
    (lambda setting: joined(setting.arch, setting.options), lambda setting: setting.pairs_name, lambda s: len(s.pairs)),
    (lambda setting: joined(setting.pairs_name, setting.options), lambda setting: setting.arch, lambda s: s.arch),
]


@dataclass(frozen=True)
class Growth:
    """`gains`: by task, how much larger the gain is at the second end of `what`, averaged over all languages."""

    method: str
    what: str
    gains: dict[str, Difference]


def measure_growth(
    study: Study, positions: Positions, tasks: Sequence[TaskGains], resamples: int, draw_seed: int
) -> list[Growth]:
    """With the number of pairs for each architecture, then with the architecture for each set of pairs."""
    found = []
    for what, less, more in _ends(positions):
        gains = {
            task.title: gain
            for task in tasks
            if (gain := _difference(study, positions, task, less, more, resamples, draw_seed)) is not None
        }
        if gains:
            found.append(Growth(more.method, what, gains))
    return found


def _ends(positions: Positions) -> list[tuple[str, ModelPosition, ModelPosition]]:
    """Each with a description: `weam_mini: 14 pairs − 1 pair`."""
    ends = []
    for same, other, size in _KINDS:
        lines: dict[tuple[str, str], list[ModelPosition]] = {}
        for position in positions.compared:  # small architectures and few pairs come first
            if position.setting.pairs:
                lines.setdefault((same(position.setting), position.method), []).append(position)
        for (name, _), line in lines.items():
            less, more = line[0], line[-1]
            if size(less.setting) != size(more.setting):
                ends.append((f"{name}: {other(more.setting)} − {other(less.setting)}", less, more))
    return ends


def _difference(
    study: Study,
    positions: Positions,
    task: TaskGains,
    less: ModelPosition,
    more: ModelPosition,
    resamples: int,
    draw_seed: int,
) -> Difference | None:
    one, other = task.gain(more.model, AVERAGE), task.gain(less.model, AVERAGE)
    if one is None or other is None:
        return None
    by_seed = {seed: one.by_seed[seed] - other.by_seed[seed] for seed in one.by_seed if seed in other.by_seed}
    value = fmean(by_seed.values()) if by_seed else one.value - other.value
    four = [position.model for position in (more, less)] + [
        positions.baselines[position.setting] for position in (more, less)
    ]
    items = _over_items(study, task, by_seed, four, resamples, draw_seed) if one.items and other.items else None
    seeds = seed_interval(list(by_seed.values()))
    return Difference(value, items, seeds, by_seed)


def _over_items(
    study: Study,
    task: TaskGains,
    seeds: Collection[int],
    four: Sequence[str],
    resamples: int,
    draw_seed: int,
) -> Interval | None:
    """The interval of a growth.

    Args:
        seeds: those that the difference is over.
        four: the model with more, that with less, and their baselines in the same order.
    """
    languages = task.cells[four[0], AVERAGE].over
    rows = group_scores(study.scores.entries)[task.group]
    columns: dict[str, dict[str, list[Entry]]] = {language: {model: [] for model in four} for language in languages}
    for entry in rows:
        if entry.score.language in columns and entry.score.model in columns[entry.score.language]:
            columns[entry.score.language][entry.score.model].append(entry)
    resampled = resample_items(columns, resamples, draw_seed, None)
    resampled = resampled.averaged(AVERAGE, list(dict.fromkeys(four)), languages)
    more, less = (
        resampled.difference(four[at], four[at + 2], AVERAGE, seeds or None, is_single_base(study, four[at + 2]))
        for at in (0, 1)
    )
    if more is None or less is None:
        return None
    sign = -1.0 if task.lower_is_better else 1.0
    return item_interval(sign * (more - less))
