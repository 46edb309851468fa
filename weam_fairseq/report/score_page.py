"""The report on scores as one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Sequence

from weam_fairseq import __version__
from weam_fairseq.report import markup, overall_table, score_words
from weam_fairseq.report.comparison import Comparison
from weam_fairseq.report.figures import TaskTable
from weam_fairseq.report.overall_table import OverallTable
from weam_fairseq.report.score_files import ScoreSet
from weam_fairseq.report.score_plots import draw_differences, draw_figures
from weam_fairseq.report.score_table import (
    CellTable,
    gain_table,
    interval_table,
    score_table,
    summary_gains,
    summary_table,
)
from weam_fairseq.report.table import Cell


def render_score_page(title: str, comparison: Comparison, overall: OverallTable | None, scores: ScoreSet) -> str:
    """The whole page.

    Raises:
        InputError: matplotlib is missing.
    """
    sections = {"summary": ("Summary", _summary(comparison, scores))}
    if overall is not None:
        sections["xtreme-r"] = ("XTREME-R", _overall(overall))
    for number, table in enumerate(comparison.tables):
        sections[f"table-{number}"] = (table.title, _task(table, comparison.models, f"t{number}"))
    sections["procedure"] = ("How differences are tested", _procedure(comparison))
    sections["signatures"] = ("Signatures", _signatures(scores))
    return markup.document(title, score_words.INTRODUCTION, sections, f"Written by weam-report {__version__}.")


def _summary(comparison: Comparison, scores: ScoreSet) -> str:
    items = "".join(
        f"<dt>{markup.text(model)}{' (baseline)' if model == comparison.baseline else ''}</dt>"
        f"<dd>{markup.text(what)}</dd>"
        for model, what in comparison.checkpoints.items()
    )
    mixed = [model for model in comparison.models if scores.mixed(model)]
    cautions = [markup.paragraph(f"{model}: {comparison.checkpoints[model]}.", "caution") for model in mixed]
    repeated = score_words.repeated(scores.repeated)
    return "".join(
        [
            *cautions,
            _cells(summary_table(comparison)),
            _cells(summary_gains(comparison)) if len(comparison.models) > 1 else "",
            markup.paragraph(score_words.READING, "note"),
            markup.paragraph(repeated, "note") if repeated else "",
            f'<dl class="models">{items}</dl>',
        ]
    )


def _overall(overall: OverallTable) -> str:
    if overall.refused:
        return markup.absent(overall.refused)
    parts = [markup.table(overall.head, overall.rows, "unbroken")]
    if overall.otherwise:
        parts += [markup.paragraph(overall_table.OTHERWISE, "caption"), _list(overall.otherwise)]
    if overall.notes:
        parts.append(markup.paragraph(overall_table.PARTIAL, "caption"))
        parts.append(f"<details><summary>What is missing</summary>{_list(overall.notes)}</details>")
    signatures = "".join(
        f"<li><b>{markup.text(model)}</b> <code>{markup.text(each)}</code></li>"
        for model, each in overall.signatures.items()
    )
    return "".join([*parts, f'<ul class="signatures">{signatures}</ul>'])


def _list(sentences: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{markup.text(each)}</li>' for each in sentences)}</ul>"


def _task(table: TaskTable, models: list[str], name: str) -> str:
    notes = [markup.paragraph(note, "note") for note in table.notes]
    plot = draw_figures(table, models, f"{name}-figures")
    parts = [_cells(score_table(table)), *notes, markup.figure(plot, "All models.", score_words.PLOT)]
    if table.differences:
        heat_map = draw_differences(table, f"{name}-differences")
        parts += [
            _cells(gain_table(table), f"Differences to {table.baseline}"),
            markup.figure(heat_map, f"Difference to {table.baseline}.", score_words.HEAT_MAP),
            f"<details><summary>Differences with both intervals</summary>{_cells(interval_table(table))}</details>",
        ]
    return "".join(parts)


def _cells(table: CellTable, caption: str = "") -> str:
    rows = [[markup.text(row.name), *(_cell(cell) for cell in row.cells)] for row in table.rows]
    return markup.table_of_cells(table.head, rows, "unbroken scores", caption)


def _cell(cell: Cell) -> str:
    title = f' title="{markup.text(cell.note)}"' if cell.note else ""
    tag = "b" if cell.best else "span"
    return f"<{tag}{title}>{markup.text(cell.text)}</{tag}>" if cell.best or cell.note else markup.text(cell.text)


def _procedure(comparison: Comparison) -> str:
    return "".join(markup.paragraph(step) for step in score_words.procedure(comparison.resamples))


def _signatures(scores: ScoreSet) -> str:
    items = "".join(
        f"<li><b>{markup.text(entry.score.model)}</b> {entry.score.value:.2f} "
        f"<code>{markup.text(entry.score.signature)}</code></li>"
        for entry in scores.entries
    )
    return (
        f"<details><summary>All {len(scores.entries):,} scores with their signatures</summary>"
        f'<ul class="signatures">{items}</ul></details>'
    )
