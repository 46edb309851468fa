"""The report on scores as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from weam_fairseq.report import overall_table, score_words
from weam_fairseq.report.comparison import Comparison
from weam_fairseq.report.figures import TaskTable
from weam_fairseq.report.overall_table import OverallTable
from weam_fairseq.report.pipe_table import escape_text, pipe_table
from weam_fairseq.report.score_files import ScoreSet
from weam_fairseq.report.score_table import CellTable, interval_table, score_table, summary_gains, summary_table


def render_score_markdown(title: str, comparison: Comparison, overall: OverallTable | None, scores: ScoreSet) -> str:
    """Summary, overall, a section a table, the procedure and the signatures."""
    parts = [f"# {escape_text(title)}", score_words.INTRODUCTION, "## Summary", _cells(summary_table(comparison))]
    parts += [_cells(summary_gains(comparison))] if len(comparison.models) > 1 else []
    parts += [score_words.READING, _models(comparison), score_words.repeated(scores.repeated)]
    if overall is not None:
        parts += ["## XTREME-R", _overall(overall)]
    for table in comparison.tables:
        parts += [f"## {escape_text(table.title)}", _task(table)]
    parts += ["## How differences are tested", *score_words.procedure(comparison.resamples), "## Signatures"]
    parts.append(
        "\n".join(
            f"- {escape_text(each.score.model)} {each.score.value:.2f} `{each.score.signature}`"
            for each in scores.entries
        )
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _models(comparison: Comparison) -> str:
    return "\n".join(
        f"- **{escape_text(model)}**{' (baseline)' if model == comparison.baseline else ''}: {escape_text(what)}"
        for model, what in comparison.checkpoints.items()
    )


def _overall(overall: OverallTable) -> str:
    if overall.refused:
        return escape_text(overall.refused)
    parts = [pipe_table(overall.head, overall.rows)]
    if overall.otherwise:
        parts += [overall_table.OTHERWISE, _list(overall.otherwise)]
    if overall.notes:
        parts += [escape_text(overall_table.PARTIAL), _list(overall.notes)]
    signatures = "\n".join(f"- {escape_text(model)} `{each}`" for model, each in overall.signatures.items())
    return "\n\n".join([*parts, "Signatures of the overall scores:", signatures])


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {escape_text(each)}" for each in sentences)


def _task(table: TaskTable) -> str:
    parts = [_cells(score_table(table)), "\n".join(f"- {escape_text(note)}" for note in table.notes)]
    if table.differences:
        parts += [f"Differences to {escape_text(str(table.baseline))}:", _cells(interval_table(table))]
    return "\n\n".join(part for part in parts if part)


def _cells(table: CellTable) -> str:
    rows = [
        [
            escape_text(row.name),
            *(f"**{escape_text(cell.text)}**" if cell.best else escape_text(cell.text) for cell in row.cells),
        ]
        for row in table.rows
    ]
    return pipe_table([escape_text(cell) for cell in table.head], rows, escape=False)
