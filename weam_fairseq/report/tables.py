"""Tables as plain rows, and how a number is written in them. HTML, Markdown and the terminal only draw them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from weam_fairseq.evaluation.bootstrap import OUTSIDE, Difference, Interval
from weam_fairseq.evaluation.terminal import bounds, signed
from weam_fairseq.report.comparison import MeanScore

MISSING = "–"
BOTH_INTERVALS = ["95 % over items", "p over items", "95 % over seeds", "seeds in common"]


class TableCell(NamedTuple):
    """`clear` marks a difference whose intervals all exclude 0: "gain", "loss", or empty. `note` explains the cell."""

    text: str
    clear: str = ""
    note: str = ""


class TableRow(NamedTuple):
    name: str
    cells: list[TableCell]


class Table(NamedTuple):
    """`head` also names the first column."""

    head: list[str]
    rows: list[TableRow]


def plain_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    return Table([*head], [TableRow(first, [TableCell(text) for text in rest]) for first, *rest in rows])


def format_table(table: Table) -> str:
    """For a terminal; clear differences have a star."""
    from tabulate import tabulate

    rows = [[row.name, *(cell.text + "*" * bool(cell.clear) for cell in row.cells)] for row in table.rows]
    aligned = ["left", *["right"] * (len(table.head) - 1)]
    text = tabulate([table.head, *rows], tablefmt="plain", colalign=aligned, disable_numparse=True)
    return "\n".join(line.rstrip() for line in text.splitlines())


def mean_text(score: MeanScore) -> str:
    return f"{score.mean:.1f}" if score.sd is None else f"{score.mean:.1f} ± {score.sd:.1f}"


def interval_text(interval: Interval | None, decimals: int = 1) -> str:
    return MISSING if interval is None else bounds(interval, decimals)


def p_text(interval: Interval | None) -> str:
    """Four decimals, or more if they are needed to show whether p is below 0.05."""
    if interval is None or interval.p is None:
        return MISSING
    text = f"{interval.p:.4f}"
    return text if (float(text) < OUTSIDE) == (interval.p < OUTSIDE) else f"{interval.p:.6f}"


def side_of_zero(interval: Interval | None, lower_is_better: bool = False) -> str:
    """Where an interval lies: "gain", "loss", or empty if it includes 0."""
    if interval is None or not interval.excludes_zero:
        return ""
    return "gain" if (interval.low > 0) != lower_is_better else "loss"


def clear_as(difference: Difference | None, lower_is_better: bool = False) -> str:
    """ "gain" or "loss" for a clear difference, else empty."""
    return side_of_zero(difference.interval, lower_is_better) if difference and difference.clear else ""


def difference_cell(difference: Difference | None, lower_is_better: bool = False) -> TableCell:
    """The difference with one interval, marked `s` if it is over seeds."""
    if difference is None:
        return TableCell(MISSING)
    interval = difference.interval
    if interval is None:
        return TableCell(signed(difference.value), note="no interval: one seed and no item files")
    text = f"{signed(difference.value)} {interval_text(interval)}"
    note = f"95 % over {difference.over}" + ("" if interval.p is None else f", p {p_text(interval)}")
    return TableCell(text if difference.items else f"{text} s", clear_as(difference, lower_is_better), note)


def both_intervals(difference: Difference) -> list[str]:
    """The cells under BOTH_INTERVALS, to two decimals."""
    return [
        interval_text(difference.items, 2),
        p_text(difference.items),
        interval_text(difference.seeds, 2),
        str(len(difference.by_seed)),
    ]
