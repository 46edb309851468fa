"""The report of a study as one HTML page that needs no network."""

from __future__ import annotations

import json
from collections.abc import Sequence

from weam_fairseq import __version__
from weam_fairseq.report import markup, score_words, study_words
from weam_fairseq.report.cell_tables import cells_as_html
from weam_fairseq.report.cost_plot import draw_costs
from weam_fairseq.report.gain_map import draw_map
from weam_fairseq.report.gain_plot import draw_gains
from weam_fairseq.report.gains import AVERAGES, TaskGains
from weam_fairseq.report.looks import looks_of
from weam_fairseq.report.study_content import Content
from weam_fairseq.report.study_costs import base_table, cost_table, machines
from weam_fairseq.report.study_folder import Study
from weam_fairseq.report.study_losses import draw_losses
from weam_fairseq.report.study_points import in_parts
from weam_fairseq.report.study_settings import Places
from weam_fairseq.report.study_tables import (
    cell_table,
    growth_intervals,
    growth_table,
    interval_table,
    language_table,
    seen_table,
    summary_table,
    task_table,
)


def render_study_page(content: Content) -> str:
    """The whole page.

    Raises:
        InputError: matplotlib is missing.
    """
    study = content.study
    sections = {
        "question": ("Question", _question(content)),
        "gains": ("Gains", _gains(content)),
        "languages": ("Gains by language", _maps(content)),
        **{f"task-{number}": (task.title, _task(task, content.places)) for number, task in enumerate(content.tasks)},
        "costs": ("Costs", _costs(content)),
        "losses": ("Loss curves", _losses(content)),
        "cells": ("Cells", _cells(content)),
        "procedure": ("How gains are tested", "".join(map(markup.paragraph, score_words.procedure(content.resamples)))),
        "signatures": ("Signatures", _signatures(study)),
    }
    introduction = study_words.introduction(study.baseline)
    return markup.document(content.title, introduction, sections, f"Written by weam-report {__version__}.")


def _question(content: Content) -> str:
    study = content.study
    hypotheses = "".join(f"<li>{markup.text(each)}</li>" for each in study.hypotheses)
    return "".join(
        [
            markup.paragraph(study.question or "The config names none."),
            f"<h3>Hypotheses</h3><ol>{hypotheses}</ol>" if hypotheses else markup.absent("No hypothesis is named."),
            f"<h3>Decision rule</h3>{markup.paragraph(study.decision_rule or 'The config names none.')}",
            f"<h3>What is there</h3>{markup.paragraph(content.progress[0])}",
            *(markup.paragraph(each, "caution") for each in content.progress[1:]),
        ]
    )


def _gains(content: Content) -> str:
    looks = looks_of(content.places.methods)
    usual = study_words.usual(content.places.usual)
    parts = [cells_as_html(summary_table(content.tasks, content.places), "Averages over all languages")]
    parts += [markup.paragraph(usual, "note")] if usual else []
    parts += [markup.paragraph(score_words.READING, "note"), "<h3>Gain against the number of pairs</h3>"]
    for number, plot in enumerate(in_parts(content.gains.plots, len(AVERAGES))):
        svg = draw_gains(plot, looks, content.study.baseline, f"gain-{number}")
        parts.append(markup.figure(svg, f"{plot.setting}.", study_words.GAINS))
    parts += [*_left_out(content.gains.left_out), "<h3>Does the gain grow?</h3>", *_growth(content)]
    return "".join([*parts, markup.paragraph(f"{study_words.SEEN} {study_words.PLOT_SOURCES}", "note")])


def _growth(content: Content) -> list[str]:
    if not content.growths:
        return [markup.absent(study_words.NO_GROWTH)]
    intervals = cells_as_html(growth_intervals(content.growths))
    return [
        cells_as_html(growth_table(content.growths, content.tasks)),
        markup.paragraph(study_words.GROWTH, "note"),
        f"<details><summary>With both intervals</summary>{intervals}</details>",
    ]


def _maps(content: Content) -> str:
    parts = [
        markup.figure(draw_map(plot, f"map-{number}"), f"{plot.task}.", study_words.MAP)
        for number, plot in enumerate(content.maps.plots)
    ]
    return "".join([*parts, *_left_out(content.maps.left_out)])


def _task(task: TaskGains, places: Places) -> str:
    parts = [cells_as_html(task_table(task, places), "Over all languages")]
    parts += [markup.paragraph(note, "note") for note in task.notes]
    if len(task.languages) > 1:
        parts.append(cells_as_html(seen_table(task, places), "Over seen and over unseen languages"))
    languages = cells_as_html(language_table(task, places), "A dot: the language is in the training pairs")
    intervals = cells_as_html(interval_table(task, places, languages=True))
    return "".join(
        [
            *parts,
            f"<details><summary>Scores by language</summary>{languages}</details>",
            f"<details><summary>Gains with both intervals</summary>{intervals}</details>",
        ]
    )


def _costs(content: Content) -> str:
    looks = looks_of(content.places.methods)
    parts = [
        cells_as_html(cost_table(content.study, content.places), "Continued training"),
        cells_as_html(base_table(content.study, content.places), "Training of the base models, before"),
        markup.paragraph(study_words.COST_TABLE, "note"),
        markup.paragraph(study_words.machines(machines(content.study)), "note"),
        "<h3>Score against cost</h3>",
    ]
    for number, plot in enumerate(in_parts(content.costs.plots, 1)):
        svg = draw_costs(plot, looks, f"cost-{number}")
        parts.append(markup.figure(svg, f"{plot.setting}.", study_words.COSTS))
    return "".join([*parts, *_left_out(content.costs.left_out)])


def _losses(content: Content) -> str:
    looks = looks_of(content.places.methods)
    parts = []
    for plot in content.losses.plots:
        title, meaning = study_words.LOSSES[plot.loss]
        svg = draw_losses(plot, looks, plot.loss)
        parts.append(markup.figure(svg, title, f"{meaning} {study_words.LOSS_LINES}"))
    return "".join([*parts, *_left_out(content.losses.left_out)])


def _cells(content: Content) -> str:
    study = content.study
    pairs = {setting.pairs_name: ", ".join(setting.pairs) for setting in content.places.settings if setting.pairs}
    config = study.config if isinstance(study.config, str) else json.dumps(study.config, ensure_ascii=False, indent=2)
    return "".join(
        [
            cells_as_html(cell_table(study, content.places)),
            markup.table(["pairs", ""], [list(each) for each in pairs.items()], "left"),
            markup.paragraph(f"SHA-256 of the config: {study.config_sha256}", "note"),
            f"<details><summary>The config</summary><pre>{markup.text(config)}</pre></details>",
        ]
    )


def _signatures(study: Study) -> str:
    entries = study.scores.entries
    items = "".join(
        f"<li><b>{markup.text(entry.score.model)}</b> {entry.score.value:.2f} "
        f"<code>{markup.text(entry.score.signature)}</code></li>"
        for entry in entries
    )
    return (
        f"<details><summary>All {len(entries):,} scores with their signatures</summary>"
        f'<ul class="signatures">{items}</ul></details>'
    )


def _left_out(sentences: Sequence[str]) -> list[str]:
    return [markup.absent(each) for each in sentences]
