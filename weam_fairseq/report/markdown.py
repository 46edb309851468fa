"""The report's tables as Markdown, for a place that shows no HTML."""

from __future__ import annotations

from typing import Any

from weam_fairseq.report import words
from weam_fairseq.report.examples import exchanged_with
from weam_fairseq.report.pipe_table import escape_text, pipe_table
from weam_fairseq.report.run_folder import Run
from weam_fairseq.report.table import MainTable, data_table, loss_table, main_table


def render_markdown(run: Run) -> str:
    """Title, main table, losses, data, examples and signatures."""
    table = main_table(run)
    parts = [
        f"# {escape_text(run.title)}",
        words.WHAT_THIS_IS,
        "## Scores",
        words.caution(table.trainings),
        _main_table(table),
        words.MEASURES,
        words.SAMPLING,
        "\n".join(f"- **{name}**: {words.MODELS[name]}" for name in run.models if name in words.MODELS),
    ]
    losses = loss_table(run)
    if losses.rows:
        parts += ["## Losses at the last validation", "Nats per masked piece.", pipe_table(losses.head, losses.rows)]
    if run.manifest is not None:
        data = data_table(run.manifest)
        parts += ["## Training data", pipe_table(data.head, data.rows)]
    if run.examples is not None and run.examples.get("examples"):
        parts += ["## What masked pieces were predicted from", _examples(run.examples)]
    parts += [
        "## Signatures",
        "\n".join(f"- {escape_text(score.model)} {score.value:.2f} `{score.signature}`" for score in run.scores),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _main_table(table: MainTable) -> str:
    head = ["model", *(f"{column.group}: {column.language}" for column in table.columns)]
    rows = [[row.name, *(f"**{cell.text}**" if cell.best else cell.text for cell in row.cells)] for row in table.rows]
    return pipe_table(head, rows, escape=False)


def _examples(examples: dict[str, Any]) -> str:
    rows = []
    for record in examples["examples"]:
        for masked in record["masked"]:
            language = record[masked["side"]]["language"]
            guesses = [" · ".join(masked[name]) for name in ("own_top", "exchanged_top")]
            rows.append([str(record["pair"]), f"{language}: {masked['piece']}", exchanged_with(masked), *guesses])
    return pipe_table(["pair", "masked piece", "exchanged with", "from its own state", "after the exchange"], rows)
