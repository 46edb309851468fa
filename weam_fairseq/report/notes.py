"""Sentences that a reader needs beside the tables: what is missing, what differs, how far a number can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from weam_fairseq.evaluation.items import Resamples
from weam_fairseq.report.groups import SAID
from weam_fairseq.report.positions import Positions
from weam_fairseq.report.score_files import ScoreSet
from weam_fairseq.report.study_folder import Study
from weam_fairseq.report.task_table import AVERAGE, TaskTable


def notes_on(
    table: TaskTable, said: Mapping[str, Sequence[str]], resampled: Resamples, absent: Sequence[str]
) -> list[str]:
    """All notes on one table.

    Args:
        said: what differs between the signatures and may, by the part's name.
        absent: models of the set that have no score here.
    """
    group = table.group
    trained = f", trained on {group.trained_on}" if group.trained_on else ""
    return [
        f"Split {group.split}{trained}.",
        *_on_seeds(table),
        *_on_gaps(table, absent),
        *_on_intervals(table, resampled),
        *(f"The compared models differ in {SAID[name]}: {'; '.join(values)}." for name, values in said.items()),
        *_on_counts(table),
    ]


def on_repeated(count: int) -> str:
    """A sentence on lines that occur more than once; empty if none does."""
    lines = "line is repeated and counts" if count == 1 else "lines are repeated and count"
    return f"{count:,} {lines} once." if count else ""


def checkpoints_of(scores: ScoreSet, model: str) -> str:
    """Which runs a model's ± is over, by its checkpoints."""
    of_seed = scores.checkpoints(model)
    checkpoints = set.union(*of_seed.values())
    if len(checkpoints) == 1:
        which = f"one checkpoint, {next(iter(checkpoints))}"
        return f"{which}; its seeds differ only in fine-tuning or in the drawing of data" if len(of_seed) > 1 else which
    parts = "; ".join(f"seed {seed}: {', '.join(sorted(names))}" for seed, names in of_seed.items())
    if scores.mixed(model):
        return f"several checkpoints have this name and the same seed ({parts}): its tables mix different models"
    return f"{len(checkpoints)} checkpoints for {len(of_seed)} seeds, so ± is over trainings ({parts})"


def _on_seeds(table: TaskTable) -> list[str]:
    notes = []
    if table.seeds == (1, 1):
        notes.append("One seed: a hint, not a result.")
    elif table.seeds[0] == 1:
        notes.append("Scores without ± come from one seed: a hint, not a result.")
    return notes + [note for model in table.models if (note := _on_average(table, model))]


def _on_average(table: TaskTable, model: str) -> str:
    """Notes on models whose languages have different seeds, for example while a study is extended."""
    average = table.scores.get((model, AVERAGE))
    of_languages = [set(table.scores[model, language].values) for language in table.common]
    if average is None or all(seeds == set(average.values) for seeds in of_languages):
        return ""
    if not average.values:
        return f"The languages of {model} share no seed: its average is the mean of their means."
    seeds = ", ".join(map(str, average.values))
    return f"The languages of {model} have different seeds: its average is over those that all have ({seeds})."


def _on_gaps(table: TaskTable, absent: Sequence[str]) -> list[str]:
    notes = [f"No scores of {', '.join(absent)}."] if absent else []
    notes += [f"{model} has no score for {', '.join(gaps)}." for model, gaps in table.missing.items()]
    if table.missing and len(table.languages) > 1:
        there = len(table.common) > 1
        notes.append(
            f"The average is over the languages that all models have: {', '.join(table.common)}."
            if there
            else "All models share fewer than two languages, so there is no average."
        )
    return notes


def _on_intervals(table: TaskTable, resampled: Resamples) -> list[str]:
    if table.baseline is None:
        return ["The baseline has no score here, so there are no differences."] if len(table.models) > 1 else []
    notes = []
    unlike = [(model, len(each.by_seed)) for (model, _), each in table.differences.items() if not each.all_shared]
    if some := sorted({model for model, shared in unlike if shared}):
        notes.append(
            f"{', '.join(some)} and {table.baseline} have different seeds: a difference is over the seeds that both "
            "have, so it may not equal the difference of the scores shown."
        )
    if apart := sorted({model for model, shared in unlike if not shared}):
        notes.append(
            f"{', '.join(apart)} and {table.baseline} share no seed: a difference is between their means and has "
            "no interval over seeds."
        )
    without = [model for model in table.models if any(name == model for name, _ in resampled.missing_items)]
    if not without or not table.differences:
        return notes
    if len(without) == len(table.models):
        return [*notes, "Without item files, intervals are over seeds (if two or more are shared)."]
    names = ", ".join(without)
    return [
        *notes,
        f"Some item files of {names} are missing: their differences have intervals over seeds, if any.",
    ]


def _on_counts(table: TaskTable) -> list[str]:
    uneven = [
        language
        for language in table.languages
        if len({n for model in table.models for n in table.decisions(model, language)}) > 1
    ]
    return [f"Models or seeds differ in their number of decisions for {', '.join(uneven)}."] if uneven else []


def progress(study: Study, positions: Positions) -> list[str]:
    """How much of a study is finished and what is missing. The first sentence counts the cells."""
    there, planned = len(study.cells), len(study.planned)
    return [
        f"{there} of {planned} planned {'cell is' if planned == 1 else 'cells are'} finished.",
        *_missing_cells(study),
        *_without_scores(study),
        *_early(study),
        *_without_baseline(study, positions),
        *_one_seed(study),
        *(f"{model}: {checkpoints_of(study.scores, model)}." for model in positions.of if study.scores.mixed(model)),
        *([repeated] if (repeated := on_repeated(study.scores.repeated)) else []),
    ]


_MOST_NAMED = 6  # cells in a sentence


def _missing_cells(study: Study) -> list[str]:
    finished = {cell.name for cell in study.cells}
    missing = [name for name in study.planned if name not in finished]
    if not missing:
        return []
    shown = missing if len(missing) <= _MOST_NAMED else missing[: _MOST_NAMED - 1]
    further = f" and {len(missing) - len(shown)} more (weam-study --list names them)" if shown != missing else ""
    return [f"Missing: {'; '.join(shown)}{further}."]


def _without_scores(study: Study) -> list[str]:
    scored = {(entry.score.model, entry.score.seed) for entry in study.scores.entries}
    without = [cell.name for cell in study.cells if (cell.model, cell.seed) not in scored]
    return [f"Finished, but without scores: {', '.join(without)}."] if without else []


def _early(study: Study) -> list[str]:
    return [
        f"{count} {'score' if count == 1 else 'scores'} of {model}, seed {seed}, left out: the cell is not finished."
        for (model, seed), count in study.early.items()
    ]


def _without_baseline(study: Study, positions: Positions) -> list[str]:
    without = [setting.name for setting in positions.settings if setting.pairs and setting not in positions.baselines]
    return [f"No {study.baseline} model yet, so no gain, for: {'; '.join(without)}."] if without else []


def _one_seed(study: Study) -> list[str]:
    if len({cell.seed for cell in study.cells}) > 1:
        return []
    return ["One seed: a hint, not a result. Scores have no ±, and plots show no seeds."]
