"""How much of a study is there, and what is not: in sentences, so that nothing is missing in silence."""

from __future__ import annotations

from weam_fairseq.report.notes import checkpoints_of, on_repeated
from weam_fairseq.report.study_folder import Study
from weam_fairseq.report.study_settings import Places


def progress(study: Study, places: Places) -> list[str]:
    """All sentences; the first counts the cells."""
    there, planned = len(study.cells), study.planned
    return [
        f"{there} of {planned} planned {'cell is' if planned == 1 else 'cells are'} finished.",
        *_missing(study),
        *_without_scores(study),
        *_early(study),
        *_without_baseline(study, places),
        *_one_seed(study),
        *(f"{model}: {checkpoints_of(study.scores, model)}." for model in places.of if study.scores.mixed(model)),
        *([repeated] if (repeated := on_repeated(study.scores.repeated)) else []),
    ]


def _missing(study: Study) -> list[str]:
    finished = {cell.name for cell in study.cells}
    gap = study.planned - len(finished)
    if gap == 0:
        return []
    if gap < 0:
        return [f"These are {-gap} more than study.json counts: it is older than the cells."]
    named = [name for name in study.planned_names if name not in finished] or _holes(study, gap)
    rest = gap - len(named)
    sentences = [f"Missing: {'; '.join(named)}."] if named else []
    if rest > 0:
        more = "more are" if named and rest > 1 else "more is" if named else "are" if rest > 1 else "is"
        sentences.append(f"{rest} {more} missing that the finished cells do not tell of: see the config below.")
    return sentences


def _holes(study: Study, gap: int) -> list[str]:
    """What each group of cells lacks of its models × seeds; nothing where that is more than there can be."""
    holes = []
    for group in dict.fromkeys(cell.group for cell in study.cells):
        here = [cell for cell in study.cells if cell.group == group]
        known = {(cell.model, cell.seed) for cell in here}
        seeds = sorted({cell.seed for cell in here})
        models = dict.fromkeys(cell.model for cell in here)
        holes += [f"{model}, seed {seed}" for model in models for seed in seeds if (model, seed) not in known]
    return holes if len(holes) <= gap else []


def _without_scores(study: Study) -> list[str]:
    scored = {(entry.score.model, entry.score.seed) for entry in study.scores.entries}
    without = [cell.name for cell in study.cells if (cell.model, cell.seed) not in scored]
    return [f"Finished, but without any score: {', '.join(without)}."] if without else []


def _early(study: Study) -> list[str]:
    return [
        f"{count} {'score' if count == 1 else 'scores'} of {model}, seed {seed}, left out: that cell is not finished."
        for (model, seed), count in study.early.items()
    ]


def _without_baseline(study: Study, places: Places) -> list[str]:
    without = [setting.name for setting in places.settings if setting.pairs and setting not in places.baselines]
    return [f"No {study.baseline} yet, and so no gain, for: {'; '.join(without)}."] if without else []


def _one_seed(study: Study) -> list[str]:
    if len({cell.seed for cell in study.cells}) > 1:
        return []
    return ["One seed: a direction, not a result. No figure has a ±, and no plot shows seeds."]
