"""Plain rows of cells as HTML and as Markdown."""

from __future__ import annotations

from weam_fairseq.report import markup
from weam_fairseq.report.pipe_table import escape_text, pipe_table
from weam_fairseq.report.score_table import CellTable
from weam_fairseq.report.table import Cell


def cells_as_html(table: CellTable, caption: str = "") -> str:
    """The best are bold; a cell's note is its tool tip."""
    rows = [[markup.text(row.name), *map(_as_html, row.cells)] for row in table.rows]
    return markup.table_of_cells(table.head, rows, "scores", caption)


def cells_as_markdown(table: CellTable) -> str:
    rows = [[escape_text(row.name), *map(_as_markdown, row.cells)] for row in table.rows]
    return pipe_table([escape_text(cell) for cell in table.head], rows, escape=False)


def _as_html(cell: Cell) -> str:
    title = f' title="{markup.text(cell.note)}"' if cell.note else ""
    tag = "b" if cell.best else "span"
    return f"<{tag}{title}>{markup.text(cell.text)}</{tag}>" if cell.best or cell.note else markup.text(cell.text)


def _as_markdown(cell: Cell) -> str:
    return f"**{escape_text(cell.text)}**" if cell.best else escape_text(cell.text)
