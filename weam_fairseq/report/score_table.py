"""A comparison's tables as plain rows; HTML, Markdown and text only draw them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from weam_fairseq.report.bootstrap import OUTSIDE, Interval
from weam_fairseq.report.comparison import Comparison
from weam_fairseq.report.figures import AVERAGE, Difference, TaskTable
from weam_fairseq.report.table import MISSING, Cell


class CellRow(NamedTuple):
    name: str
    cells: list[Cell]


class CellTable(NamedTuple):
    """`head` names the first column as well; a cell's `best` marks a difference whose intervals all leave 0 out."""

    head: list[str]
    rows: list[CellRow]


def plain_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> CellTable:
    return CellTable([*head], [CellRow(first, [Cell(text) for text in rest]) for first, *rest in rows])


def score_table(table: TaskTable) -> CellTable:
    """Languages by models, mean ± sd."""
    rows = [
        CellRow(
            _name(table, language),
            [Cell(_decisions(table, language)), *(Cell(_mean(table, model, language)) for model in table.models)],
        )
        for language in table.rows
    ]
    seeds = [Cell(_range(_seed_counts(table, model))) for model in table.models]
    return CellTable(["", "n", *table.models], [*rows, CellRow("seeds", [Cell(""), *seeds])])


def gain_table(table: TaskTable) -> CellTable:
    """Languages by the models that are compared: differences to the baseline, each with one interval."""
    rows = [
        CellRow(
            _name(table, language),
            [_difference_cell(table.differences.get((model, language))) for model in table.compared],
        )
        for language in table.rows
    ]
    return CellTable(["", *_minus(table.compared, table.baseline)], rows)


def interval_table(table: TaskTable) -> CellTable:
    """Every difference with both intervals, to two decimals, a row a model and language."""
    head = ["", "difference", "95 % over items", "p over items", "95 % over seeds", "seeds in common"]
    rows = []
    for model in table.compared:
        for language in table.rows:
            if (model, language) not in table.differences:
                continue
            each = table.differences[model, language]
            cells = [
                Cell(signed(each.value, 2)),
                Cell(interval_text(each.items, 2), bool(each.items and each.items.excludes_zero)),
                Cell(p_text(each.items)),
                Cell(interval_text(each.seeds, 2), bool(each.seeds and each.seeds.excludes_zero)),
                Cell(str(each.shared)),
            ]
            rows.append(CellRow(f"{model} − {table.baseline}, {_name(table, language)}", cells))
    return CellTable(head, rows)


def summary_table(comparison: Comparison) -> CellTable:
    """One row a task: each model's average, or its one language."""
    rows = []
    for table in comparison.tables:
        language = summary_row(table)
        over = f"{len(table.common)} languages" if language == AVERAGE else language or MISSING
        rows.append(CellRow(table.title, [Cell(over), *(Cell(_mean(table, m, language)) for m in comparison.models)]))
    return CellTable(["", "over", *comparison.models], rows)


def summary_gains(comparison: Comparison) -> CellTable:
    """One row a task: the differences of the same figures to the baseline."""
    compared = [model for model in comparison.models if model != comparison.baseline]
    rows = [
        CellRow(
            table.title,
            [_difference_cell(table.differences.get((model, summary_row(table) or ""))) for model in compared],
        )
        for table in comparison.tables
    ]
    return CellTable(["", *_minus(compared, comparison.baseline)], rows)


def summary_row(table: TaskTable) -> str | None:
    """AVERAGE, or the one language that all models have; None where there is none."""
    if len(table.common) > 1:
        return AVERAGE
    return table.common[0] if table.common else None


def format_cells(table: CellTable) -> str:
    """For a terminal; what is bold elsewhere is starred."""
    lines = [table.head, *([row.name, *(cell.text + "*" * cell.best for cell in row.cells)] for row in table.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.head))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]).rstrip()
        for line in lines
    )


def signed(value: float, decimals: int = 1) -> str:
    """`+1.2`, `−0.4`, and `0.0` without a sign."""
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def interval_text(interval: Interval | None, decimals: int = 1) -> str:
    if interval is None:
        return MISSING
    return f"[{signed(interval.low, decimals)}, {signed(interval.high, decimals)}]"


def p_text(interval: Interval | None) -> str:
    """To four decimals, or as many as show on which side of 0.05 it is."""
    if interval is None or interval.p is None:
        return MISSING
    text = f"{interval.p:.4f}"
    return text if (float(text) < OUTSIDE) == (interval.p < OUTSIDE) else f"{interval.p:.6f}"


def _difference_cell(difference: Difference | None) -> Cell:
    if difference is None:
        return Cell(MISSING)
    interval = difference.interval
    if interval is None:
        return Cell(signed(difference.value), note="no interval: one seed, and no items")
    text = f"{signed(difference.value)} {interval_text(interval)}"
    note = f"95 % over {difference.over}" + ("" if interval.p is None else f", p {p_text(interval)}")
    return Cell(text if difference.items else f"{text} s", difference.clear, note)


def _minus(models: Sequence[str], baseline: str | None) -> list[str]:
    return [f"{model} − {baseline}" for model in models]


def _mean(table: TaskTable, model: str, language: str | None) -> str:
    figure = table.figures.get((model, language or ""))
    if figure is None:
        return MISSING
    return f"{figure.mean:.1f}" if figure.sd is None else f"{figure.mean:.1f} ± {figure.sd:.1f}"


def _name(table: TaskTable, language: str) -> str:
    return f"average of {len(table.common)}" if language == AVERAGE else language


def _decisions(table: TaskTable, language: str) -> str:
    counts = sorted({n for model in table.models for n in table.decisions(model, language)})
    if not counts:
        return ""
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,}–{counts[-1]:,}"


def _seed_counts(table: TaskTable, model: str) -> set[int]:
    """How many seeds a model's figures are means of."""
    figures = table.figures.items()
    return {len(figure.values) for (name, language), figure in figures if name == model and language != AVERAGE}


def _range(counts: set[int]) -> str:
    if not counts:
        return MISSING
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}–{high}"
