"""XTREME-R's overall score of each model, as plain rows, where its tasks are among the scores."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.scores import Score
from weam_fairseq.evaluation.xtreme_r import BENCHMARKS, Overall, TaskAverage, overall_by_model
from weam_fairseq.report.groups import TRANSLATED, group_scores
from weam_fairseq.report.score_files import Entry, ScoreSet
from weam_fairseq.report.score_table import CellTable, plain_table
from weam_fairseq.report.table import MISSING

_HEAD = ["XTREME-R", "counts by", "languages"]


class OverallTable(NamedTuple):
    """Beside the figures `*` marks what is partial, `†` what was measured otherwise than XTREME-R does.

    Attributes:
        notes: what is missing, by model and task.
        otherwise: what was done otherwise, by model and task.
        signatures: of each model's overall score.
        refused: why there is no overall score though its tasks are there; empty otherwise.
    """

    table: CellTable
    notes: list[str]
    otherwise: list[str]
    signatures: dict[str, str]
    refused: str = ""


def overall_table(scores: ScoreSet) -> OverallTable | None:
    """The zero-shot averages and their mean; None where no task of XTREME-R is there on its split."""
    mixed = {model for model in scores.models if scores.mixed(model)}
    rows = [entry.score if entry.score.model in mixed else _one_model(entry) for entry in _zero_shot(scores)]
    try:
        overalls = overall_by_model(rows)
    except InputError as error:
        return OverallTable(CellTable([], []), [], [], {}, f"There is no overall score of XTREME-R: {error}")
    overalls = {model: each for model, each in overalls.items() if each.value is not None}
    if not overalls:
        return None
    body = [
        [task.task, " and ".join(task.metrics), str(len(task.languages)), *_values(overalls, place)]
        for place, task in enumerate(BENCHMARKS)
    ]
    last = ["overall", "mean of the tasks", "", *(_value(each.value, each.marks) for each in overalls.values())]
    notes = [note for model, each in overalls.items() for task in each.tasks for note in _notes(model, task)]
    otherwise = [f"{model}, {each}." for model, overall in overalls.items() for each in overall.deviations()]
    signatures = {model: each.signature for model, each in overalls.items()}
    return OverallTable(plain_table([*_HEAD, *overalls], [*body, last]), notes, otherwise, signatures)


def _zero_shot(scores: ScoreSet) -> list[Entry]:
    groups = group_scores(scores.entries)
    return [entry for group, rows in groups.items() if TRANSLATED not in group.trained_on for entry in rows]


def _one_model(entry: Entry) -> Score:
    """The seeds of one model may be trainings, each with its own checkpoint: the mean goes over them."""
    return replace(entry.score, checkpoint="of all seeds")


def _values(overalls: dict[str, Overall], place: int) -> list[str]:
    return [_value(each.tasks[place].value, each.tasks[place].marks) for each in overalls.values()]


def _value(value: float | None, marks: str) -> str:
    return MISSING if value is None else f"{value:.1f}{marks}"


def _notes(model: str, task: TaskAverage) -> list[str]:
    parts = [f"missing {', '.join(task.missing) if task.languages else 'altogether'}"] if task.missing else []
    parts += [f"not counted, on another split: {', '.join(task.not_counted)}"] if task.not_counted else []
    parts += [f"{task.seeds[0]} to {task.seeds[1]} seeds a language"] if task.seeds[0] != task.seeds[1] else []
    return [f"{model}, {task.task}: {'; '.join(parts)}"] if parts else []
