"""The report as one HTML page that needs no network: style, drawings and curves stand inside it."""

from __future__ import annotations

from typing import Any

from weam_fairseq import __version__
from weam_fairseq.report import markup, words
from weam_fairseq.report.examples import render_examples
from weam_fairseq.report.plots import base_panels, draw_panels, has_curves, loss_panels
from weam_fairseq.report.run_folder import Run
from weam_fairseq.report.table import Cell, MainTable, Row, data_table, loss_table, main_table

LOSSES = {
    "mp_loss": ("Multilingual prediction (mp_loss)", "Masked pieces from their own states."),
    "cp_loss": ("Cross-lingual prediction (cp_loss)", "The same pieces, after linked states were exchanged."),
}
PARTS = {"valid": "validation", "train": "training"}
# What a figure needs said that its title does not say.
REMARKS = {
    ("cp_loss", "valid"): " Through the right links, whatever the model was trained with.",
    ("cp_loss", "train"): " Through the links that the model was trained with: wrong ones for shuffled.",
}
BASE = "base"
MADE_BY = ("aligner", "tokenizer")  # the manifest's entries that are shown


def render_page(run: Run) -> str:
    """The whole page.

    Raises:
        InputError: matplotlib is missing, or the examples are not whole.
    """
    sections = {
        "scores": ("Scores", _scores(run)),
        "curves": ("Loss curves", _curves(run)),
        "data": ("Training data", _data(run)),
        "examples": ("Sentences and their links", _examples(run)),
        "settings": ("Settings", _settings(run)),
        "signatures": ("Signatures", _signatures(run)),
    }
    return markup.document(run.title, words.WHAT_THIS_IS, sections, f"Written by weam-report {__version__}.")


def _scores(run: Run) -> str:
    table = main_table(run)
    return "".join(
        [
            markup.paragraph(words.caution(table.trainings), "caution"),
            _render_main_table(table),
            markup.paragraph(words.MEASURES, "note"),
            markup.paragraph(words.SAMPLING, "note"),
            _render_models(run.models),
        ]
    )


def _render_main_table(table: MainTable) -> str:
    starts = _group_starts(table)
    spans = [end - start for start, end in zip(starts, [*starts[1:], len(table.columns)], strict=True)]
    groups = "".join(
        f'<th scope="colgroup" colspan="{span}" class="first">{markup.text(table.columns[start].group)}</th>'
        for start, span in zip(starts, spans, strict=True)
    )
    languages = "".join(
        f'<th scope="col"{_first(at, starts)}>{markup.text(column.language)}</th>'
        for at, column in enumerate(table.columns)
    )
    rows = "".join(
        _render_row(row, starts, after=number > 0 and row.kind != table.rows[number - 1].kind)
        for number, row in enumerate(table.rows)
    )
    return (
        f'<div class="wide"><table class="main"><thead><tr class="groups"><td></td>{groups}</tr>'
        f'<tr><th scope="col">model</th>{languages}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _render_row(row: Row, starts: list[int], after: bool) -> str:
    cells = "".join(
        f"<td{_first(at, starts)}{_title(cell)}>{_figure_text(cell)}</td>" for at, cell in enumerate(row.cells)
    )
    return f'<tr class="{row.kind}{" after" if after else ""}"><th scope="row">{markup.text(row.name)}</th>{cells}</tr>'


def _figure_text(cell: Cell) -> str:
    return f"<b>{markup.text(cell.text)}</b>" if cell.best else markup.text(cell.text)


def _group_starts(table: MainTable) -> list[int]:
    groups = [column.group for column in table.columns]
    return [at for at, group in enumerate(groups) if at == 0 or group != groups[at - 1]]


def _first(at: int, starts: list[int]) -> str:
    return ' class="first"' if at in starts else ""


def _title(cell: Cell) -> str:
    return f' title="{markup.text(cell.note)}"' if cell.note else ""


def _render_models(models: list[str]) -> str:
    known = [(name, words.MODELS[name]) for name in models if name in words.MODELS]
    items = "".join(f"<dt>{name}</dt><dd>{markup.text(what)}</dd>" for name, what in known)
    return f'<dl class="models">{items}</dl>'


def _curves(run: Run) -> str:
    missing = [name for name in run.models if name not in run.logs]
    parts = [markup.absent(f"No train.log is there for: {', '.join(missing)}.")] if missing else []
    if not run.logs or not run.pairs:
        return "".join(parts) or markup.absent("The logs hold no losses by pair.")
    continued = {name: log for name, log in run.logs.items() if name != BASE}
    for loss, (name, meaning) in LOSSES.items():
        for part, part_name in PARTS.items():
            panels = loss_panels(continued, run.pairs, part, loss)
            if has_curves(panels):
                svg = draw_panels(panels, f"{loss}-{part}", markers=part == "valid", y_label="nats per masked piece")
                parts.append(markup.figure(svg, f"{name}, {part_name}.", meaning + REMARKS.get((loss, part), "")))
    if BASE in run.logs and has_curves(panels := base_panels(run.logs[BASE], run.pairs)):
        svg = draw_panels(panels, "base", markers=False, y_label="nats per masked piece")
        parts.append(markup.figure(svg, "The base model (mp_loss).", "Before the others go on from it."))
    return "".join([*parts, _last_losses(run)])


def _last_losses(run: Run) -> str:
    last = loss_table(run)
    caption = "Losses at the last validation, nats per masked piece"
    return markup.table(last.head, last.rows, "unbroken", caption) if last.rows else ""


def _data(run: Run) -> str:
    corpus = run.settings.get("corpus")
    parts = []
    if run.manifest is None:
        parts.append(markup.absent("data-bin/manifest.json is not there: nothing is known of kept and dropped pairs."))
    else:
        data = data_table(run.manifest)
        parts.append(markup.table(data.head, data.rows, caption="Pairs and links, as preprocessing counted them"))
        made_by = {key: _plain_values(run.manifest[key]) for key in MADE_BY if key in run.manifest}
        parts += [f"<h3>{key.capitalize()}</h3>{markup.facts(values)}" for key, values in made_by.items()]
    if corpus:
        parts.append("<h3>Sources and licences</h3>" + markup.facts(corpus.get("sources", corpus)))
    return "".join(parts)


def _plain_values(described: dict[str, Any]) -> dict[str, Any]:
    """Without lists of ids and hashes of files, which are for machines."""
    return {name: value for name, value in described.items() if not isinstance(value, dict | list)}


def _examples(run: Run) -> str:
    if run.examples is None:
        return markup.absent("examples.json is not there: no sentences were written for this run.")
    models = ", ".join(str(name) for name in run.examples.get("models", []))
    explanation = (
        "Links as the training saw them; words without one are grey. Highlighted pieces were masked. The guesses are "
        f"those of {models or 'the model'}: first from the masked piece's own state, then after states were exchanged; "
        "a tick marks the right one."
    )
    return markup.paragraph(explanation, "note") + render_examples(run.examples)


def _settings(run: Run) -> str:
    settings = run.settings
    parts = []
    if seconds := settings.get("seconds"):
        parts.append("<h3>Time</h3>" + _seconds(seconds))
    if versions := settings.get("versions"):
        parts.append("<h3>Versions</h3>" + markup.facts(versions))
    if options := settings.get("options"):
        parts.append("<h3>Options</h3>" + markup.facts(options))
    if commands := settings.get("commands"):
        parts.append(f"<details><summary>Commands</summary>{markup.commands(commands)}</details>")
    return "".join(parts) or markup.absent("settings.json names none.")


def _seconds(seconds: dict[str, Any]) -> str:
    """Seconds by kind of step, which is the first word of a stage's name, and folded away, by stage."""
    stages = {stage: float(value) for stage, value in seconds.items() if isinstance(value, int | float)}
    steps: dict[str, float] = {}
    for stage, value in stages.items():
        steps[stage.split()[0]] = steps.get(stage.split()[0], 0.0) + value
    together = markup.facts(_with_unit({**steps, "together": sum(stages.values())}))
    return f"{together}<details><summary>By stage</summary>{markup.facts(_with_unit(stages))}</details>"


def _with_unit(seconds: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:,.1f} s" for name, value in seconds.items()}


def _signatures(run: Run) -> str:
    items = "".join(
        f"<li><b>{markup.text(score.model)}</b> {score.value:.2f} <code>{markup.text(score.signature)}</code></li>"
        for score in run.scores
    )
    return (
        f"<details><summary>All {len(run.scores)} scores with their signatures</summary>"
        f'<ul class="signatures">{items}</ul></details>'
    )
