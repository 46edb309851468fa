"""Scores of several models side by side: means over seeds, averages over languages, differences with intervals."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from tqdm import tqdm

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmarks import BENCHMARKS
from weam_fairseq.evaluation.bootstrap import RESAMPLES, Difference, item_interval, percentile_interval, seed_interval
from weam_fairseq.evaluation.items import LanguageEntries, Resamples, by_language_and_model, resample_items
from weam_fairseq.evaluation.scores import Entry
from weam_fairseq.report.groups import Group, check_comparable, group_scores, name_groups
from weam_fairseq.report.notes import checkpoints_of, notes_on
from weam_fairseq.report.score_files import ScoreSet
from weam_fairseq.report.task_table import AVERAGE, MeanScore, TaskTable

USUAL_BASELINE = "tlm"


@dataclass(frozen=True)
class Comparison:
    """All tables of a set of scores. `checkpoints` describes the seeds of each model."""

    models: list[str]
    baseline: str
    tables: list[TaskTable]
    checkpoints: dict[str, str]
    resamples: int


def compare(
    scores: ScoreSet,
    baseline: str | None = None,
    metrics: Sequence[str] = (),
    resamples: int = RESAMPLES,
    seed: int = 1,
    single: bool = False,
    differences: bool = True,
) -> Comparison:
    """Compares every model with the baseline, table by table.

    Args:
        baseline: a model's name; None is `tlm` if it has scores, else the first model.
        single: the baseline is one model for all seeds, such as a published encoder. Where a task draws no random
            numbers, its one score is compared with each seed of the other models.
        differences: False for scores alone, such as those of models whose baseline is not finished.
        metrics: the metrics to show; empty is all.
        seed: draws the items.

    Raises:
        InputError: the baseline or a metric is unknown, or scores of one row cannot be compared.
    """
    models = scores.models
    chosen = _known("--baseline", baseline, models) if baseline is not None else _usual(models)
    entries = _of_metrics(scores.entries, metrics)
    groups = group_scores(entries)
    titles = name_groups(groups)
    columns = {group: by_language_and_model(rows) for group, rows in groups.items()}
    with tqdm(total=sum(map(len, columns.values())), desc="drawing items", unit=" languages", disable=None) as bar:

        def draw(columns: Mapping[str, LanguageEntries]) -> Resamples:
            return resample_items(columns, resamples, seed, bar.update)

        tables = [
            _table(
                *(group, titles[group], each, models, chosen if differences else None),
                *(draw, single and not _draws(group.task)),
            )
            for group, each in columns.items()
        ]
    order = [chosen, *(model for model in models if model != chosen)]
    return Comparison(order, chosen, tables, {model: checkpoints_of(scores, model) for model in order}, resamples)


def _draws(task: str) -> bool:
    return any(benchmark.uses_seed for benchmark in BENCHMARKS if benchmark.name == task)


def _usual(models: Sequence[str]) -> str:
    return USUAL_BASELINE if USUAL_BASELINE in models else models[0]


def _known(option: str, name: str, names: Iterable[str]) -> str:
    there = list(dict.fromkeys(names))
    if name not in there:
        close = difflib.get_close_matches(name, there, n=1, cutoff=0.5)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise InputError(f"{option} {name!r} is in no score. {hint}The scores have {', '.join(there)}.")
    return name


def _of_metrics(entries: Sequence[Entry], metrics: Sequence[str]) -> Sequence[Entry]:
    for metric in metrics:
        _known("--metric", metric, (entry.score.metric for entry in entries))
    return [entry for entry in entries if entry.score.metric in metrics] if metrics else entries


def _table(
    group: Group,
    title: str,
    columns: Mapping[str, LanguageEntries],
    models: Sequence[str],
    baseline: str | None,
    draw: Callable[[Mapping[str, LanguageEntries]], Resamples],
    for_each_seed: bool,
) -> TaskTable:
    here = {model for column in columns.values() for model in column}
    first = [] if baseline is None else [baseline]
    ordered = [model for model in dict.fromkeys([*first, *models]) if model in here]
    said = _check(columns)
    common = [language for language, column in columns.items() if set(column) == here]
    scores = {
        (model, language): _mean_score(entries)
        for language, column in columns.items()
        for model, entries in column.items()
    }
    resampled = draw(columns)
    if len(common) > 1:
        scores |= {(model, AVERAGE): _average([scores[model, each] for each in common]) for model in ordered}
        resampled = resampled.averaged(AVERAGE, ordered, common)
    table = TaskTable(
        group=group,
        title=title,
        models=ordered,
        baseline=baseline if baseline in here else None,
        languages=list(columns),
        common=common,
        missing={model: gaps for model in ordered if (gaps := [x for x in columns if model not in columns[x]])},
        scores=_with_intervals(scores, resampled),
        differences=_differences(scores, baseline, resampled, for_each_seed),
        notes=[],
    )
    return replace(table, notes=notes_on(table, said, resampled, [model for model in models if model not in here]))


def _check(columns: Mapping[str, LanguageEntries]) -> dict[str, list[str]]:
    """The permitted differences of all columns together. Raises InputError for any other difference."""
    said: dict[str, list[str]] = {}
    for column in columns.values():
        for name, values in check_comparable([entry for entries in column.values() for entry in entries]).items():
            said[name] = list(dict.fromkeys([*said.get(name, []), *values]))
    return said


def _with_intervals(
    scores: Mapping[tuple[str, str], MeanScore], resampled: Resamples
) -> dict[tuple[str, str], MeanScore]:
    found = {}
    for cell, score in scores.items():
        drawn = resampled.mean(*cell)
        found[cell] = score if drawn is None else replace(score, interval=percentile_interval(drawn))
    return found


def _mean_score(entries: Sequence[Entry]) -> MeanScore:
    values = {entry.score.seed: entry.score.value for entry in entries}
    n = tuple(sorted({entry.score.n for entry in entries}))
    return MeanScore(dict(sorted(values.items())), fmean(values.values()), n)


def _average(scores: Sequence[MeanScore]) -> MeanScore:
    """The mean over languages, of the seeds that all languages have; without such seeds, the mean of their means."""
    seeds = set.intersection(*(set(score.values) for score in scores))
    by_seed = {seed: fmean(score.values[seed] for score in scores) for seed in sorted(seeds)}
    return MeanScore(by_seed, fmean(by_seed.values() if by_seed else (score.mean for score in scores)))


def _differences(
    scores: Mapping[tuple[str, str], MeanScore], baseline: str | None, resampled: Resamples, for_each_seed: bool
) -> dict[tuple[str, str], Difference]:
    """The mean difference of two runs with the same seed; without common seeds, the difference of the means.

    Args:
        for_each_seed: the baseline's score is the same for each seed.
    """
    differences = {}
    for (model, language), score in scores.items():
        other = None if baseline is None else scores.get((baseline, language))
        if baseline is None or other is None or model == baseline:
            continue
        of_other = dict.fromkeys(score.values, other.mean) if for_each_seed else other.values
        by_seed = {seed: score.values[seed] - of_other[seed] for seed in sorted(set(score.values) & set(of_other))}
        value = fmean(by_seed.values()) if by_seed else score.mean - other.mean
        drawn = resampled.difference(model, baseline, language, for_each_seed=for_each_seed)
        differences[model, language] = Difference(
            value=value,
            items=None if drawn is None else item_interval(drawn),
            seeds=seed_interval(list(by_seed.values())),
            by_seed=by_seed,
            all_shared=set(score.values) == set(of_other),
        )
    return differences
