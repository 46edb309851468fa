"""The tables of a report as plain rows; HTML, Markdown and text only draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

from weam_fairseq.evaluation.scores import Score
from weam_fairseq.report.run_folder import Run

# The figures of the main table and their headings; a task that is not named here comes after these.
HEADINGS = {
    ("sentence-retrieval", "accuracy@1"): "Sentence retrieval, accuracy@1",
    ("word-retrieval", "precision@1"): "Word retrieval, precision@1",
    ("masked-pieces", "accuracy@5"): "Masked pieces, top-5 accuracy",
}
# Beside a main figure of the same task; all scores are listed further down the page.
SECONDARY = {("masked-pieces", "accuracy@1")}

# Rows for what is reached without a model, by the name of the scores' detail.
WITHOUT_A_MODEL = {"shared pieces alone": "shared_pieces", "unigram bound": "unigram_bound"}

COMPARISONS = (("weam", "tlm"), ("weam", "shuffled"))

MISSING = "–"


class Column(NamedTuple):
    """One figure: `group` is its heading, `language` a language or a pair."""

    group: str
    language: str
    scores: list[Score]


class Cell(NamedTuple):
    text: str
    best: bool = False
    note: str = ""


class Row(NamedTuple):
    """`kind` is `model`, or `bound`, `difference`, `size` for the rows under the models."""

    name: str
    kind: str
    cells: list[Cell]


class MainTable(NamedTuple):
    columns: list[Column]
    rows: list[Row]
    trainings: int


def main_table(run: Run) -> MainTable:
    """Models by figures, the best of each column marked; below, what the figures must be read against."""
    columns = _columns(run.scores)
    rows = _model_rows(run.models, columns)
    for name, key in WITHOUT_A_MODEL.items():
        bounds = [_highest(column, key) for column in columns]
        if any(bound is not None for bound in bounds):
            rows.append(Row(name, "bound", [Cell(_one_decimal(bound)) for bound in bounds]))
    rows += [
        Row(f"{first} − {second}", "difference", [Cell(_difference(column, first, second)) for column in columns])
        for first, second in COMPARISONS
        if {first, second} <= set(run.models)
    ]
    rows.append(Row("decisions (n)", "size", [Cell(_sizes(column)) for column in columns]))
    rows.append(Row("sampling error, 95 %", "size", [Cell(f"± {_sampling_error(column):.1f}") for column in columns]))
    return MainTable(columns, rows, _trainings(run.scores))


def format_text(table: MainTable) -> str:
    """The main table for a terminal, the best of each column starred."""
    groups = list(dict.fromkeys(column.group for column in table.columns))
    legend = [f"  {chr(65 + number)}  {group}" for number, group in enumerate(groups)]
    head = ["", *(f"{chr(65 + groups.index(column.group))} {column.language} " for column in table.columns)]
    body = [[row.name, *(cell.text + ("*" if cell.best else " ") for cell in row.cells)] for row in table.rows]
    widths = [max(len(line[number]) for line in [head, *body]) for number in range(len(head))]
    lines = []
    for line in [head, *body]:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        lines.append("  ".join([line[0].ljust(widths[0]), *cells]).rstrip())
    return "\n".join([*lines, "", *legend, "  *  the best of its column"])


class DataTable(NamedTuple):
    head: list[str]
    rows: list[list[str]]


def data_table(manifest: dict[str, Any]) -> DataTable:
    """What preprocessing kept, dropped and linked, a row a pair."""
    pairs: dict[str, dict[str, Any]] = manifest["pairs"]
    reasons = list(dict.fromkeys(reason for pair in pairs.values() for reason in pair.get("dropped", {})))
    rows = []
    for name, pair in pairs.items():
        dropped = pair.get("dropped", {})
        rows.append(
            [
                name,
                *(_count(pair.get(key)) for key in ("read", "train", "valid")),
                *(_count(dropped.get(reason, 0)) for reason in reasons),
                *(_count(pair.get(key)) for key in ("word_links", "piece_links")),
                ", ".join(f"{side} {share:.1%}" for side, share in pair.get("linked_pieces", {}).items()) or MISSING,
            ]
        )
    head = ["pair", "read", "train", "valid", *(f"dropped: {reason}" for reason in reasons)]
    return DataTable([*head, "word links", "piece links", "pieces with a link"], rows)


def loss_table(run: Run) -> DataTable:
    """Validation losses (nats per masked piece) at the last validation of each model."""
    rows = []
    for name, log in run.logs.items():
        if log.valid:
            last = log.valid[max(log.valid)]
            losses = [last.get(f"{pair}:{loss}") for pair in run.pairs for loss in ("mp_loss", "cp_loss")]
            rows.append([name, f"{max(log.valid):,}", *(MISSING if x is None else f"{x:.3f}" for x in losses)])
    head = [f"{pair} {loss}" for pair in run.pairs for loss in ("mp", "cp")]
    return DataTable(["model", "updates", *head], rows)


def _trainings(scores: Sequence[Score]) -> int:
    """How many checkpoints each model has at least: seeds of the evaluation alone make no second training."""
    checkpoints: dict[str, set[str]] = {}
    for score in scores:
        checkpoints.setdefault(score.model, set()).add(score.checkpoint)
    return min(len(each) for each in checkpoints.values())


def _columns(scores: Sequence[Score]) -> list[Column]:
    figures = list(HEADINGS)
    figures += [key for score in scores if (key := (score.task, score.metric)) not in {*figures, *SECONDARY}]
    columns = []
    for task, metric in dict.fromkeys(figures):
        chosen = [score for score in scores if (score.task, score.metric) == (task, metric)]
        for language in dict.fromkeys(score.language for score in chosen):
            group = HEADINGS.get((task, metric), f"{task}, {metric}")
            columns.append(Column(group, language, [score for score in chosen if score.language == language]))
    return columns


def _model_rows(models: Sequence[str], columns: Sequence[Column]) -> list[Row]:
    """Figures that look the same are equally good: the best are compared as printed."""
    texts = [[_one_decimal(_value(column, model)) for model in models] for column in columns]
    best = [_one_decimal(max(_value(column, model) or 0.0 for model in models)) for column in columns]
    return [
        Row(
            model,
            "model",
            [
                Cell(texts[at][number], texts[at][number] == best[at], _note(column, model))
                for at, column in enumerate(columns)
            ],
        )
        for number, model in enumerate(models)
    ]


def _of(column: Column, model: str) -> list[Score]:
    return [score for score in column.scores if score.model == model]


def _value(column: Column, model: str) -> float | None:
    """The mean over seeds."""
    values = [score.value for score in _of(column, model)]
    return fmean(values) if values else None


def _difference(column: Column, first: str, second: str) -> str:
    one, other = _value(column, first), _value(column, second)
    if one is None or other is None:
        return MISSING
    return f"{round(one - other, 1) or 0.0:+.1f}".replace("+0.0", "0.0").replace("-", "−")


def _highest(column: Column, key: str) -> float | None:
    """The highest of the details, which differ where the models' vocabularies do."""
    bounds = [score.detail[key] for score in column.scores if key in score.detail]
    return max(bounds) if bounds else None


def _sizes(column: Column) -> str:
    sizes = sorted({score.n for score in column.scores})
    return "–".join(f"{size:,}" for size in (sizes if len(sizes) == 1 else [sizes[0], sizes[-1]]))


def _sampling_error(column: Column) -> float:
    """Half the 95 % interval of one figure, as if its n decisions were independent; the widest of the column."""
    return max(1.96 * math.sqrt(score.value * (100 - score.value) / score.n) for score in column.scores)


def _note(column: Column, model: str) -> str:
    scores = _of(column, model)
    if not scores:
        return "not measured"
    detail = scores[0].detail
    parts = [f"{name} {value:.1f}" for name, value in detail.get("directions", {}).items()]
    parts += [f"layer {detail['layer']}"] if "layer" in detail else []
    return ", ".join([*parts, f"n {scores[0].n:,}"])


def _one_decimal(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1f}"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else MISSING
