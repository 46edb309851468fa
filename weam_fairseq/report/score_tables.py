"""Tables of scores, and XTREME-R's overall score, as plain rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.scores import Entry, Score
from weam_fairseq.evaluation.terminal import signed
from weam_fairseq.evaluation.xtreme_r import BENCHMARKS, Overall, overall_by_model
from weam_fairseq.report.comparison import Comparison
from weam_fairseq.report.groups import TRANSLATED, group_scores
from weam_fairseq.report.score_files import ScoreSet
from weam_fairseq.report.tables import (
    BOTH_INTERVALS,
    MISSING,
    Table,
    TableCell,
    TableRow,
    both_intervals,
    difference_cell,
    mean_text,
    plain_table,
    side_of_zero,
)
from weam_fairseq.report.task_table import AVERAGE, TaskTable


def score_table(table: TaskTable) -> Table:
    """One row for each language, one column for each model: mean ± sd."""
    rows = [
        TableRow(
            _name(table, language),
            [
                TableCell(_decisions(table, language)),
                *(TableCell(_mean(table, model, language)) for model in table.models),
            ],
        )
        for language in table.rows
    ]
    seeds = [TableCell(_range(_seed_counts(table, model))) for model in table.models]
    return Table(["", "n", *table.models], [*rows, TableRow("seeds", [TableCell(""), *seeds])])


def gain_table(table: TaskTable) -> Table:
    """One row for each language: the models' differences to the baseline, each with one interval."""
    rows = [
        TableRow(
            _name(table, language),
            [_difference(table, model, language) for model in table.compared],
        )
        for language in table.rows
    ]
    return Table(["", *_minus(table.compared, table.baseline)], rows)


def interval_table(table: TaskTable) -> Table:
    """Every difference with both intervals, one row for each model and language."""
    rows = []
    for model in table.compared:
        for language in table.rows:
            if (model, language) not in table.differences:
                continue
            each = table.differences[model, language]
            sides = (side_of_zero(interval, table.lower_is_better) for interval in (each.items, each.seeds))
            marks = dict(zip(("95 % over items", "95 % over seeds"), sides, strict=True))
            texts = zip(BOTH_INTERVALS, both_intervals(each), strict=True)
            cells = [TableCell(signed(each.value, 2)), *(TableCell(text, marks.get(head, "")) for head, text in texts)]
            rows.append(TableRow(f"{model} − {table.baseline}, {_name(table, language)}", cells))
    return Table(["", "difference", *BOTH_INTERVALS], rows)


def layer_table(table: TaskTable, scores: ScoreSet) -> Table | None:
    """The figure of every layer on the pairs that chose the layer, as the mean of the seeds; None if none was chosen.

    A star marks each layer that a seed chose.
    """
    group = table.group
    rows: dict[tuple[str, str], list[Score]] = {}
    for entry in scores.entries:
        score = entry.score
        is_here = (score.task, score.metric, score.split) == (group.task, group.metric, group.split)
        if is_here and score.language in table.languages and score.detail.get("dev_by_layer"):
            rows.setdefault((score.language, score.model), []).append(score)
    if not rows:
        return None
    cells = {}
    for name, of_seeds in rows.items():
        means = map(fmean, zip(*(score.detail["dev_by_layer"] for score in of_seeds), strict=False))
        chosen = {score.detail.get("layer") for score in of_seeds}
        cells[name] = [f"{mean:.1f}{'*' * (layer in chosen)}" for layer, mean in enumerate(means)]
    layers = max(map(len, cells.values()))
    named = sorted(cells.items(), key=lambda row: (table.languages.index(row[0][0]), table.models.index(row[0][1])))
    body = [[f"{language}, {model}", *found, *[""] * (layers - len(found))] for (language, model), found in named]
    return plain_table(["layer", *map(str, range(layers))], body)


def summary_table(comparison: Comparison) -> Table:
    """One row for each task: each model's average, or its one language."""
    rows = []
    for table in comparison.tables:
        language = table.summary_row
        over = f"{len(table.common)} languages" if language == AVERAGE else language or MISSING
        rows.append(
            TableRow(
                table.heading, [TableCell(over), *(TableCell(_mean(table, m, language)) for m in comparison.models)]
            )
        )
    return Table(["", "over", *comparison.models], rows)


def summary_gains(comparison: Comparison) -> Table:
    """One row for each task: the differences of the same scores to the baseline."""
    compared = [model for model in comparison.models if model != comparison.baseline]
    rows = [
        TableRow(
            table.heading,
            [_difference(table, model, table.summary_row or "") for model in compared],
        )
        for table in comparison.tables
    ]
    return Table(["", *_minus(compared, comparison.baseline)], rows)


def _difference(table: TaskTable, model: str, language: str) -> TableCell:
    return difference_cell(table.differences.get((model, language)), table.lower_is_better)


def _minus(models: Sequence[str], baseline: str | None) -> list[str]:
    return [f"{model} − {baseline}" for model in models]


def _mean(table: TaskTable, model: str, language: str | None) -> str:
    score = table.scores.get((model, language or ""))
    return MISSING if score is None else mean_text(score)


def _name(table: TaskTable, language: str) -> str:
    return f"average of {len(table.common)}" if language == AVERAGE else language


def _decisions(table: TaskTable, language: str) -> str:
    counts = sorted({n for model in table.models for n in table.decisions(model, language)})
    if not counts:
        return ""
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,}–{counts[-1]:,}"


def _seed_counts(table: TaskTable, model: str) -> set[int]:
    """How many seeds a model's scores are means of."""
    scores = table.scores.items()
    return {len(score.values) for (name, language), score in scores if name == model and language != AVERAGE}


def _range(counts: set[int]) -> str:
    if not counts:
        return MISSING
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}–{high}"


class OverallTable(NamedTuple):
    """`*` marks partial scores, `†` scores that were not measured as XTREME-R does.

    Attributes:
        notes: what is missing of tasks that have scores. Models of which the same is true share a line.
        otherwise: what was not measured as XTREME-R does; again, models may share a line.
        signatures: of each model's overall score.
        partial: a task or a language is missing.
        refused: why there is no overall score although its tasks have scores; else empty.
    """

    table: Table
    notes: list[str]
    otherwise: list[str]
    signatures: dict[str, str]
    partial: bool = False
    refused: str = ""


def overall_table(scores: ScoreSet) -> OverallTable | None:
    """The zero-shot averages and their mean; None without a score of an XTREME-R task on its split."""
    mixed = {model for model in scores.models if scores.mixed(model)}
    rows = [entry.score if entry.score.model in mixed else _one_model(entry) for entry in _zero_shot(scores)]
    try:
        overalls = overall_by_model(rows)
    except InputError as error:
        return OverallTable(Table([], []), [], [], {}, refused=f"XTREME-R has no overall score here: {error}")
    overalls = {model: each for model, each in overalls.items() if each.value is not None}
    if not overalls:
        return None
    body = [
        [task.task, " and ".join(task.metrics), str(len(task.languages)), *_values(overalls, place)]
        for place, task in enumerate(BENCHMARKS)
    ]
    last = ["overall", "mean of the tasks", "", *(_value(each.value, each.marks) for each in overalls.values())]
    notes = _shared({model: _notes(each) for model, each in overalls.items()})
    otherwise = _shared({model: each.deviations() for model, each in overalls.items()})
    signatures = {model: each.signature for model, each in overalls.items()}
    table = plain_table(["XTREME-R", "counts by", "languages", *overalls], [*body, last])
    return OverallTable(table, notes, otherwise, signatures, any(each.partial for each in overalls.values()))


def _zero_shot(scores: ScoreSet) -> list[Entry]:
    groups = group_scores(scores.entries)
    return [entry for group, rows in groups.items() if TRANSLATED not in group.trained_on for entry in rows]


def _one_model(entry: Entry) -> Score:
    """The mean over seeds, each of which may be a training with its own checkpoint."""
    return replace(entry.score, checkpoint="of all seeds")


def _values(overalls: dict[str, Overall], place: int) -> list[str]:
    return [_value(each.tasks[place].value, each.tasks[place].marks) for each in overalls.values()]


def _value(value: float | None, marks: str) -> str:
    return MISSING if value is None else f"{value:.1f}{marks}"


def _notes(overall: Overall) -> list[str]:
    """What is missing of each task. A task without any score is a dash in the table."""
    notes = []
    for task in overall.tasks:
        parts = [f"missing {', '.join(task.missing)}"] if task.missing and task.languages else []
        parts += [f"not counted, on another split: {', '.join(task.not_counted)}"] if task.not_counted else []
        parts += [f"{task.seeds[0]} to {task.seeds[1]} seeds a language"] if task.seeds[0] != task.seeds[1] else []
        notes += [f"{task.task}: {'; '.join(parts)}"] if parts else []
    return notes


def _shared(sentences: dict[str, list[str]]) -> list[str]:
    """Sentences `task: what` of each model. What is true of several models comes once: `udpos of tlm, weam: what.`"""
    models: dict[tuple[str, str], list[str]] = {}
    for model, of_model in sentences.items():
        for sentence in of_model:
            task, _, what = sentence.partition(": ")
            models.setdefault((task, what), []).append(model)
    return [f"{task} of {', '.join(names)}: {what}." for (task, what), names in models.items()]
