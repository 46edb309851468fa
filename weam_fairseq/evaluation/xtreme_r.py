"""XTREME-R's overall score (Ruder et al. 2021): the mean of ten benchmark averages, each over all its languages.

Question answering counts as the mean of exact match and F1. UDPOS and PANX count by F1, LAReQA and Mewsli-X by
mAP@20, and the others by accuracy. The languages and metrics are those of XTREME-R's `evaluate.py`. That script
itself cannot compute the overall score: it lists no language for LAReQA and stops without it.

If languages are missing, they are named, and the average and the overall score are `partial`: means over the
available scores, which are not comparable with the benchmark. Scores on a split other than the reported one are named
and not counted. Deviations from XTREME-R are counted, and named beside the figure and in its signature: retrieval
without XTREME-R's fine-tuning for it, other training data, another recipe, another decoding of answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation import benchmarks
from weam_fairseq.evaluation.benchmark import Benchmark
from weam_fairseq.evaluation.fine_tuning.recipe import ANSWER_DECODINGS, PRECISIONS
from weam_fairseq.evaluation.scores import Score


class Counted(NamedTuple):
    """A benchmark of XTREME-R: its figure is the mean of `metrics` on `split`, over all `languages`."""

    task: str
    metrics: tuple[str, ...]
    split: str
    languages: tuple[str, ...]
    record: Benchmark


def _counted() -> Iterator[Counted]:
    records = [benchmark for benchmark in benchmarks.BENCHMARKS if benchmark.xtreme_r is not None]
    for record in sorted(records, key=lambda each: each.xtreme_r.position if each.xtreme_r else 0):
        assert record.xtreme_r is not None
        assert record.languages is not None
        languages = tuple(sorted(record.languages))
        yield Counted(record.name, record.xtreme_r.metrics, record.splits[0], languages, record)


BENCHMARKS = tuple(_counted())


class TaskAverage(NamedTuple):
    """One task's average, 0–100, or None without any language.

    Attributes:
        languages: each counted language's figure (mean over seeds and metrics).
        missing: the languages without a figure.
        seeds: the fewest and the most seeds that a language is averaged over.
        not_counted: scores on another split, as `de (dev)`.
        otherwise: deviations from XTREME-R, as short words for the signature and as sentences.
    """

    task: str
    value: float | None
    languages: dict[str, float]
    missing: tuple[str, ...]
    seeds: tuple[int, int]
    not_counted: tuple[str, ...]
    otherwise: dict[str, str]

    @property
    def marks(self) -> str:
        """Marks after the figure: `*` if languages are missing, `†` if the method deviates from XTREME-R's."""
        return "*" * bool(self.missing) + "†" * bool(self.otherwise)


class Overall(NamedTuple):
    """`value`: the mean of the available task averages, or None; `partial`: a task or language is missing."""

    tasks: tuple[TaskAverage, ...]
    value: float | None
    partial: bool

    @property
    def marks(self) -> str:
        return "*" * self.partial + "†" * any(task.otherwise for task in self.tasks)

    @property
    def signature(self) -> str:
        """`xtreme-r|overall|tasks:10of10|complete|xnli:train=files|lareqa:encoder=as-given|value:50.00`."""
        there = [task for task in self.tasks if task.value is not None]
        parts = [f"{task.task}:{','.join(task.otherwise)}" for task in there if task.otherwise]
        complete = "partial" if self.partial else "complete"
        value = [] if self.value is None else [f"value:{self.value:.2f}"]
        return "|".join(["xtreme-r", "overall", f"tasks:{len(there)}of{len(self.tasks)}", complete, *parts, *value])

    def deviations(self) -> list[str]:
        """Deviations from XTREME-R's method, task by task."""
        return [f"{task.task}: {'; '.join(task.otherwise.values())}" for task in self.tasks if task.otherwise]


def overall(scores: Iterable[Score]) -> Overall:
    """The overall score of one model.

    Raises:
        InputError: the scores are of several models or checkpoints, or one of them is listed twice.
    """
    rows = list(scores)
    models = sorted({(score.model, score.checkpoint) for score in rows})
    if len(models) > 1:
        raise InputError(
            f"an overall score is of one model, but the scores are of {len(models)}: "
            f"{', '.join(f'{model} ({checkpoint})' for model, checkpoint in models)}. Give the scores of one model."
        )
    averages = tuple(_average(benchmark, rows) for benchmark in BENCHMARKS)
    values = [average.value for average in averages if average.value is not None]
    partial = any(average.value is None or average.missing for average in averages)
    return Overall(averages, fmean(values) if values else None, partial)


def overall_by_model(scores: Iterable[Score]) -> dict[str, Overall]:
    """The overall score of each model by its name, in the order in which they come.

    Raises:
        InputError: two checkpoints go by one name, or a score is listed twice.
    """
    by_model: dict[str, list[Score]] = {}
    for score in scores:
        by_model.setdefault(score.model, []).append(score)
    return {model: overall(rows) for model, rows in by_model.items()}


def _average(benchmark: Counted, scores: Sequence[Score]) -> TaskAverage:
    values: dict[str, dict[str, dict[int, float]]] = {}
    elsewhere = set()
    otherwise: dict[str, str] = {}
    for score in scores:
        if score.task != benchmark.task or score.metric not in benchmark.metrics:
            continue
        if score.language not in benchmark.languages:
            continue  # for example MLQA's pairs of two languages
        if score.split != benchmark.split:
            elsewhere.add((score.language, score.split))
            continue
        seeds = values.setdefault(score.language, {}).setdefault(score.metric, {})
        if score.seed in seeds:
            raise InputError(
                f"{score.task} {score.language} {score.metric}, seed {score.seed}, is listed twice for {score.model}."
            )
        seeds[score.seed] = score.value
        otherwise |= _otherwise(score, benchmark)
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
        otherwise=otherwise if counted else {},
    )


def _otherwise(score: Score, benchmark: Counted) -> dict[str, str]:
    """Deviations from XTREME-R's method in a score's signature: short words to sentences."""
    record = benchmark.record
    if record.fine_tuned is None:
        assert record.xtreme_r is not None
        return {
            "encoder=as-given": "retrieval was measured on the encoder as given, without fine-tuning it for retrieval; "
            + record.xtreme_r.not_done
        }
    training = record.fine_tuned.training
    found = {}
    # `multinli:en:<hash>`, then how many examples were drawn (`:1000`) or are left (`:without300`).
    trained_on, *rest = score.trained_on.split(":")
    if trained_on == "files":
        found["train=files"] = f"fine-tuned on files that --train-file named, not on XTREME-R's ({training.name})"
    elif trained_on != training.name or rest[:1] != ["en"]:
        named = ":".join([trained_on, *rest[:1]]) if trained_on else "unnamed"
        found[f"train={named}"] = f"fine-tuned on {named} data, not on XTREME-R's ({training.name}, English)"
    if rest[2:]:
        found["train=part"] = "fine-tuned on a part of the training data"
    recipe = _without_precision(score.parts.get("recipe", ""))
    if recipe and recipe != _without_precision(training.recipe.text):
        found["recipe=other"] = f"fine-tuned with {recipe}, not {_without_precision(training.recipe.text)}"
    if (decoding := score.parts.get("decoding", ANSWER_DECODINGS[0])) != ANSWER_DECODINGS[0]:
        found[f"decoding={decoding}"] = "answers were not read out of the logits as in the official scripts"
    return found


def _without_precision(recipe: str) -> str:
    for precision in PRECISIONS:
        recipe = recipe.removesuffix(f",{precision}")
    return recipe
