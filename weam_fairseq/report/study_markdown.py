"""The report of a study as Markdown: all its tables; the plots' numbers stand in plots.json."""

from __future__ import annotations

from weam_fairseq.report import score_words, study_words
from weam_fairseq.report.cell_tables import cells_as_markdown
from weam_fairseq.report.gains import TaskGains
from weam_fairseq.report.pipe_table import escape_text, pipe_table
from weam_fairseq.report.study_content import Content
from weam_fairseq.report.study_costs import base_table, cost_table, machines
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


def render_study_markdown(content: Content) -> str:
    """Question, progress, gains, a section a task, costs, cells and the procedure."""
    study, places = content.study, content.places
    pairs = [[setting.pairs_name, ", ".join(setting.pairs)] for setting in places.settings if setting.pairs]
    parts = [
        f"# {escape_text(content.title)}",
        escape_text(study_words.introduction(study.baseline)),
        "## Question",
        escape_text(study.question) or "The config names none.",
        "### Hypotheses",
        "\n".join(f"{number}. {escape_text(each)}" for number, each in enumerate(study.hypotheses, start=1))
        or "No hypothesis is named.",
        "### Decision rule",
        escape_text(study.decision_rule) or "The config names none.",
        "### What is there",
        _list(content.progress),
        "## Gains",
        cells_as_markdown(summary_table(content.tasks, places)),
        escape_text(study_words.usual(places.usual)),
        score_words.READING,
        study_words.SEEN,
        "## Does the gain grow?",
        *_growth(content),
        *(part for task in content.tasks for part in _task(task, places)),
        "## Costs",
        cells_as_markdown(cost_table(study, places)),
        cells_as_markdown(base_table(study, places)),
        study_words.COST_TABLE,
        escape_text(study_words.machines(machines(study))),
        "## Cells",
        cells_as_markdown(cell_table(study, places)),
        pipe_table(["pairs", ""], list(dict.fromkeys(map(tuple, pairs)))),
        f"SHA-256 of the config: `{study.config_sha256}`",
        "## Plots",
        "The plots stand in report.html, their numbers in plots.json. Not there:",
        _list([each for kind in (content.gains, content.maps, content.costs, content.losses) for each in kind.left_out])
        or "- nothing",
        "## How gains are tested",
        *score_words.procedure(content.resamples),
        "Every score stands with its signature in scores.jsonl and in report.html.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _growth(content: Content) -> list[str]:
    if not content.growths:
        return [study_words.NO_GROWTH]
    tables = [growth_table(content.growths, content.tasks), growth_intervals(content.growths)]
    return [study_words.GROWTH, *map(cells_as_markdown, tables)]


def _task(task: TaskGains, places: Places) -> list[str]:
    parts = [f"## {escape_text(task.title)}", cells_as_markdown(task_table(task, places)), _list(task.notes)]
    if len(task.languages) > 1:
        parts += ["Seen and unseen languages:", cells_as_markdown(seen_table(task, places))]
    return [
        *parts,
        "By language (• in the training pairs):",
        cells_as_markdown(language_table(task, places)),
        "Both intervals of the averages:",
        cells_as_markdown(interval_table(task, places, languages=False)),
    ]


def _list(sentences: list[str]) -> str:
    return "\n".join(f"- {escape_text(each)}" for each in sentences)
