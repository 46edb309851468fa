"""XTREME-R's overall score (Ruder et al. 2021): the mean of ten task averages, each over all languages of its task.

Question answering counts as the mean of exact match and F1; UDPOS and PANX count by F1, LAReQA and Mewsli-X by mAP@20,
the others by accuracy. XTREME-R's own `evaluate.py` cannot give this figure: it has no language for LAReQA, and stops
without it. Languages and metrics are otherwise that script's.

What is missing is named and makes an average, and the overall, `partial`: it is then a mean over what is there and no
figure of the benchmark. Scores on another split than the one that the benchmark reports are named and never counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.scores import Score

EXACT_AND_F1 = ("exact_match", "f1")


class Benchmark(NamedTuple):
    """A row of the table: a task counts by the mean of its `metrics` on `split`."""

    task: str
    metrics: tuple[str, ...]
    split: str
    languages: tuple[str, ...]


def _languages(text: str) -> tuple[str, ...]:
    return tuple(sorted(text.split()))


_UDPOS = (
    "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh lt pl uk wo ro"
)
_PANX = (
    "ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw yo my zh kk tr et "
    "fi hu qu pl uk az lt pa gu ro"
)
_TATOEBA = (
    "ar he vi id jv tl eu ml ta te af nl de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw zh kk tr et fi hu az lt "
    "pl uk ro"
)

BENCHMARKS = (
    Benchmark("xnli", ("accuracy",), "test", _languages("ar bg de el en es fr hi ru sw th tr ur vi zh")),
    Benchmark("xcopa", ("accuracy",), "test", _languages("et ht id it qu sw ta th tr vi zh")),
    Benchmark("udpos", ("f1",), "test", _languages(_UDPOS)),
    Benchmark("panx", ("f1",), "test", _languages(_PANX)),
    Benchmark("xquad", EXACT_AND_F1, "test", _languages("en es de el ru tr ar vi th zh hi ro")),
    Benchmark("mlqa", EXACT_AND_F1, "test", _languages("en es de ar hi vi zh")),
    # TyDiQA's own test set is secret; XTREME reports the published dev set.
    Benchmark("tydiqa", EXACT_AND_F1, "dev", _languages("en ar bn fi id ko ru sw te")),
    Benchmark("lareqa", ("map@20",), "test", _languages("ar de el en es hi ru th tr vi zh")),
    Benchmark("mewslix", ("map@20",), "test", _languages("ar de en es fa ja pl ro ta tr uk")),
    Benchmark("tatoeba", ("accuracy",), "test", _languages(_TATOEBA)),
)


class TaskAverage(NamedTuple):
    """One task's average, 0–100, or None where no language is there.

    Attributes:
        languages: each language's figure (mean over seeds and metrics), those that count.
        missing: the languages without one.
        seeds: over how many seeds a language is averaged, the fewest and the most.
        not_counted: what is there on another split, as `de (dev)`.
    """

    task: str
    value: float | None
    languages: dict[str, float]
    missing: tuple[str, ...]
    seeds: tuple[int, int]
    not_counted: tuple[str, ...]


class Overall(NamedTuple):
    """`value`: the mean of the task averages that are there, None without any; `partial`: something is missing."""

    tasks: tuple[TaskAverage, ...]
    value: float | None
    partial: bool


def overall(scores: Iterable[Score]) -> Overall:
    """The overall score of one model.

    Raises:
        InputError: the scores are of several models or checkpoints, or one of them stands there twice.
    """
    rows = list(scores)
    models = sorted({(score.model, score.checkpoint) for score in rows})
    if len(models) > 1:
        raise InputError(
            f"an overall score is of one model, but the scores are of {len(models)}: "
            f"{', '.join(f'{model} ({checkpoint})' for model, checkpoint in models)}. Score each apart."
        )
    averages = tuple(_average(benchmark, rows) for benchmark in BENCHMARKS)
    values = [average.value for average in averages if average.value is not None]
    partial = any(average.value is None or average.missing for average in averages)
    return Overall(averages, fmean(values) if values else None, partial)


def overall_by_model(scores: Iterable[Score]) -> dict[str, Overall]:
    """The overall score of each model by its name, in the order in which they come.

    Raises:
        InputError: two checkpoints go by one name, or a score stands there twice.
    """
    by_model: dict[str, list[Score]] = {}
    for score in scores:
        by_model.setdefault(score.model, []).append(score)
    return {model: overall(rows) for model, rows in by_model.items()}


def render_markdown(overalls: Mapping[str, Overall]) -> str:
    """A table of tasks and models, then what is missing. A partial average carries an asterisk."""
    names = list(overalls)
    lines = [
        "| XTREME-R | counts by | languages | " + " | ".join(names) + " |",
        "| --- | --- | ---: | " + " | ".join("---:" for _ in names) + " |",
    ]
    for place, benchmark in enumerate(BENCHMARKS):
        cells = [_cell(each.tasks[place].value, bool(each.tasks[place].missing)) for each in overalls.values()]
        metrics = " and ".join(benchmark.metrics)
        lines.append(f"| {benchmark.task} | {metrics} | {len(benchmark.languages)} | " + " | ".join(cells) + " |")
    cells = [_cell(each.value, each.partial) for each in overalls.values()]
    lines.append("| **overall** | mean of the tasks | | " + " | ".join(cells) + " |")
    notes = [line for name, each in overalls.items() for line in _notes(name, each)]
    if notes:
        lines += ["", r"\* partial: a mean over what is there, and no figure of XTREME-R.", "", *notes]
    return "\n".join(lines) + "\n"


def _average(benchmark: Benchmark, scores: Sequence[Score]) -> TaskAverage:
    values: dict[str, dict[str, dict[int, float]]] = {}
    elsewhere = set()
    for score in scores:
        if score.task != benchmark.task or score.metric not in benchmark.metrics:
            continue
        if score.language not in benchmark.languages:
            continue  # MLQA's pairs of two languages, for one, are no part of XTREME-R
        if score.split != benchmark.split:
            elsewhere.add((score.language, score.split))
            continue
        seeds = values.setdefault(score.language, {}).setdefault(score.metric, {})
        if score.seed in seeds:
            raise InputError(
                f"{score.task} {score.language} {score.metric}, seed {score.seed}, stands twice for {score.model}."
            )
        seeds[score.seed] = score.value
    counted = {
        language: fmean(fmean(by_metric[metric].values()) for metric in benchmark.metrics)
        for language in benchmark.languages
        if len(by_metric := values.get(language, {})) == len(benchmark.metrics)
    }
    seeds_used = [len(seeds) for language in counted for seeds in values[language].values()]
    return TaskAverage(
        task=benchmark.task,
        value=fmean(counted.values()) if counted else None,
        languages=counted,
        missing=tuple(language for language in benchmark.languages if language not in counted),
        seeds=(min(seeds_used, default=0), max(seeds_used, default=0)),
        not_counted=tuple(f"{language} ({split})" for language, split in sorted(elsewhere)),
    )


def _cell(value: float | None, partial: bool) -> str:
    mark = r"\*" if partial else ""
    return "–" if value is None else f"{value:.1f}{mark}"


def _notes(name: str, each: Overall) -> list[str]:
    notes = []
    for average in each.tasks:
        what = f"missing {', '.join(average.missing)}" if average.languages else "nothing is there"
        if not average.missing:
            what = "whole"
        if average.not_counted:
            what += f"; not counted, because of another split: {', '.join(average.not_counted)}"
        if average.seeds[0] != average.seeds[1]:
            what += f"; {average.seeds[0]} to {average.seeds[1]} seeds a language"
        if average.missing or average.not_counted or average.seeds[0] != average.seeds[1]:
            notes.append(f"- {name}, {average.task}: {what}")
    return notes
