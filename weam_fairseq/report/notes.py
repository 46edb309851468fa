"""What a reader must be told about a table of scores, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from weam_fairseq.report.figures import AVERAGE, TaskTable
from weam_fairseq.report.item_draws import Draws
from weam_fairseq.report.score_files import ScoreSet
from weam_fairseq.report.signatures import SAID


def remarks_on(table: TaskTable, said: Mapping[str, Sequence[str]], draws: Draws, absent: Sequence[str]) -> list[str]:
    """All remarks on one table.

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
        *_on_intervals(table, draws),
        *(f"The compared differ in {SAID[name]}: {'; '.join(values)}." for name, values in said.items()),
        *_on_counts(table),
    ]


def on_repeated(count: int) -> str:
    """On lines that are in the files more than once; empty for none."""
    lines = (
        "line stood twice, word for word, and counts" if count == 1 else "lines stood twice, word for word, and count"
    )
    return f"{count:,} {lines} once." if count else ""


def checkpoints_of(scores: ScoreSet, model: str) -> str:
    """What a model's ± is over, by its checkpoints."""
    of_seed = scores.checkpoints(model)
    checkpoints = set.union(*of_seed.values())
    if len(checkpoints) == 1:
        which = f"one checkpoint, {next(iter(checkpoints))}"
        return f"{which}; its seeds are of fine-tuning or drawing alone" if len(of_seed) > 1 else which
    parts = "; ".join(f"seed {seed}: {', '.join(sorted(names))}" for seed, names in of_seed.items())
    if scores.mixed(model):
        return f"several checkpoints go by this name for one seed ({parts}): its tables are of different models"
    return f"{len(checkpoints)} checkpoints for {len(of_seed)} seeds, so its ± is over trainings ({parts})"


def _on_seeds(table: TaskTable) -> list[str]:
    notes = [f"Lower is better: a difference below 0 is a gain ({table.group.metric})."] * table.lower_is_better
    if table.seeds == (1, 1):
        notes.append("One seed: a direction, not a result.")
    elif table.seeds[0] == 1:
        notes.append("Figures without ± are of one seed: a direction, not a result.")
    return notes + [note for model in table.models if (note := _on_average(table, model))]


def _on_average(table: TaskTable, model: str) -> str:
    """Where a model's languages have unlike seeds, as while a study is extended."""
    average = table.figures.get((model, AVERAGE))
    of_languages = [set(table.figures[model, language].values) for language in table.common]
    if average is None or all(seeds == set(average.values) for seeds in of_languages):
        return ""
    if not average.values:
        return f"The languages of {model} have no seed in common: its average is the mean of their means."
    seeds = ", ".join(map(str, average.values))
    return f"The languages of {model} have unlike seeds: its average is over those that all have ({seeds})."


def _on_gaps(table: TaskTable, absent: Sequence[str]) -> list[str]:
    notes = [f"No score of {', '.join(absent)}."] if absent else []
    notes += [f"{model} has no score for {', '.join(gaps)}." for model, gaps in table.missing.items()]
    if table.missing and len(table.languages) > 1:
        there = len(table.common) > 1
        notes.append(
            f"The average goes over the languages that all models have: {', '.join(table.common)}."
            if there
            else "No two languages are there for all models, so there is no average."
        )
    return notes


def _on_intervals(table: TaskTable, draws: Draws) -> list[str]:
    if table.baseline is None:
        return ["The baseline has no score here, so there are no differences."] if len(table.models) > 1 else []
    notes = []
    unlike = [(model, each.shared) for (model, _), each in table.differences.items() if not each.all_shared]
    if some := sorted({model for model, shared in unlike if shared}):
        notes.append(
            f"{', '.join(some)} and {table.baseline} have different seeds: a difference is over those that both have, "
            "so it need not be that of the figures shown."
        )
    if apart := sorted({model for model, shared in unlike if not shared}):
        notes.append(
            f"{', '.join(apart)} and {table.baseline} have no seed in common: a difference is of their means, and has "
            "no interval over seeds."
        )
    without = [model for model in table.models if any(name == model for name, _ in draws.without)]
    if not without or not table.differences:
        return notes
    if len(without) == len(table.models):
        return [*notes, "There are no item files, so the intervals are over seeds (two or more in common)."]
    names = ", ".join(without)
    return [
        *notes,
        f"Item files of {names} are not all there: differences of these have intervals over seeds, if any.",
    ]


def _on_counts(table: TaskTable) -> list[str]:
    uneven = [
        language
        for language in table.languages
        if len({n for model in table.models for n in table.decisions(model, language)}) > 1
    ]
    return [f"The number of decisions differs between models or seeds for {', '.join(uneven)}."] if uneven else []
